"""Replies, tests and frames of every shape: what is found in them, and what none of them can do."""

import json
import textwrap
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards.code import Grader
from rewards.code.answer import blocks, code_of
from rewards.code.forms import BadTests, job_of, of_row
from rewards.code.output import lines, same
from rewards.code.sandbox import Limits
from rewards.extract import THINKING

F = frozenset({"f"})
PROSE = st.text(st.characters(blacklist_characters="`~\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=40).filter(
    lambda text: "def f" not in text and not any(tag.lower() in text.lower() for pair in THINKING for tag in pair)
)
LANGUAGES = st.sampled_from(["python", "py", "Python3", "PYTHON", "python title=a.py", "{.python}", "", "python:a.py"])
FENCES = st.builds(lambda mark, size: mark * size, st.sampled_from("`~"), st.integers(3, 6))
BODIES = st.sampled_from(
    [
        "return n",
        "x = [n]\n\n\nreturn x[0]",
        "text = '''\n~~ ``\n'''\nreturn n if text else 0",
        "if True:\n\treturn n\nreturn 0",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "fn args expected stdin stdout input output inputs outputs fn_name test_list type testtype test_cases entry_point "
    "test tests metadata prompt".split()
)


@st.composite
def replies(draw: st.DrawFn) -> tuple[str, int]:
    """A completion that holds f(n) in one of its fences, and the n of the last of them."""
    parts, number = [draw(PROSE)], 0
    for number in range(1, draw(st.integers(1, 3)) + 1):
        code = f"def f(n={number}):\n{textwrap.indent(draw(BODIES), '    ')}"
        fence, indent = draw(FENCES), draw(st.sampled_from(["", "   ", "> ", "1. ", "- "]))
        inner = {"1. ": "   ", "- ": "  "}.get(indent, indent)
        block = [indent + fence + draw(LANGUAGES), *(inner + line for line in code.split("\n")), inner + fence]
        parts += ["\n".join(block), draw(PROSE)]
    thinking = draw(st.sampled_from(["", "<think>```python\ndef f(): return 99\n```</think>"]))
    return thinking + "\n".join(parts), number


@given(replies())
def test_the_last_definition_is_found_however_it_is_fenced(reply: tuple[str, int]) -> None:
    text, number = reply
    space: dict = {}
    exec(code_of(text, F) or "", space)
    assert space["f"]() == number, (code_of(text, F), list(blocks(text)))


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    for one in (text, f"```python\n{text}", f"~~~\n{text}\n~~~"):
        found = code_of(one, F)
        assert found is None or found in f"{one}\n\n{one}" or len(found) <= len(one)


@given(
    JSON | st.dictionaries(FIELDS, JSON, max_size=6) | st.lists(st.dictionaries(FIELDS, JSON, max_size=5), max_size=3),
    JSON,
)
def test_tests_of_any_shape_are_run_or_refused(tests: object, entry: object) -> None:
    for one in (tests, json.dumps(tests)):
        try:
            job = job_of(one, entry, None)  # type: ignore[arg-type]
        except BadTests as error:
            assert str(error) and "\n" not in str(error)
        else:
            assert job.total >= 1 and job.asked | {job.kind}
    if isinstance(tests, dict):
        of_row(tests)


@given(st.text(max_size=60), st.text(max_size=60))
def test_an_output_is_the_same_as_itself_and_as_nothing_of_another_shape(one: str, other: str) -> None:
    assert same(one, one)
    if len(lines(one)) != len(lines(other)):
        assert not same(one, other)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    ours = Grader(1, Limits(seconds=5.0))
    yield ours
    ours.close()


KINDS = st.sampled_from(["ready", "value", "raise", "large", "bad", "call", "correct", "passed"])
TAGS = st.sampled_from(
    ["l", "t", "d", "s", "i", "f", "b", "D", "F", "T", "ref", "name", "it", "dd", "dq", "...", "keys", "r", "c"]
)
FORMS = st.recursive(JSON, lambda inner: st.tuples(TAGS, inner).map(list) | st.lists(inner, max_size=3), max_leaves=8)
NAMES = st.fixed_dictionaries({"f": st.sampled_from(["callable", "value", "module os", 5])})
FRAMES = st.tuples(KINDS, FORMS, FORMS).map(list) | FORMS | st.tuples(st.just("ready"), NAMES).map(list)


@pytest.mark.integration
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, min_size=1, max_size=5))
def test_whatever_a_candidate_says_it_neither_passes_nor_is_let_off(grader: Grader, frames: list) -> None:
    """The answer asked for is a text that no strategy makes."""
    code = (
        "import json, os, struct\n"
        f"frames = json.loads({json.dumps(frames)!r})\n"
        "for fd in range(3, 10):\n"
        "    for frame in frames:\n"
        "        body = json.dumps(frame).encode()\n"
        "        try: os.write(fd, struct.pack('!I', len(body)) + body)\n"
        "        except OSError: pass\n"
        "os._exit(0)\n"
    )
    wanted = "a text that nobody would say by chance"
    for tests in (
        [{"fn": "f", "args": [], "expected": wanted}],
        [f"x = f()\nassert x == {wanted!r}"],
        "r = f(f)\n" * 2 + "assert r == 5**77",
    ):
        result = grader.grade(code, tests)
        assert result.correct is False, result
