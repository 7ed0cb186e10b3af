"""Thinking told from answer, history, and what happens when the context is full."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from srm_ray.data.rendering import render_conversation, render_prompt
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from srm_ray.inference.conversation import Conversation, Piece, ThinkingSplitter
from srm_ray.inference.engine import open_engine
from srm_ray.model import tokenization
from srm_ray.model.chat_template import stop_ids

SAID = "a < b\n</think>\nso <think>again</think> it is"


def joined(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Neighbours of one kind put together."""
    found: list[tuple[str, str]] = []
    for piece in pieces:
        if found and found[-1][0] == piece.kind:
            found[-1] = (piece.kind, found[-1][1] + piece.text)
        else:
            found.append((piece.kind, piece.text))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pieces_do_not_depend_on_how_the_text_arrives(size: int) -> None:
    splitter, found = ThinkingSplitter(inside=True), []
    for start in range(0, len(SAID), size):
        found += splitter.push(SAID[start : start + size])
    found += splitter.close()
    wanted = [("thinking", "a < b\n"), ("answer", "\nso "), ("thinking", "again"), ("answer", " it is")]
    assert joined(found) == wanted


def test_a_beginning_that_becomes_no_tag_is_given_back() -> None:
    splitter = ThinkingSplitter(inside=False)
    assert list(splitter.push("1 <thi")) == [Piece("answer", "1 ")]
    assert list(splitter.push("ng>")) == [Piece("answer", "<thing>")]
    assert list(splitter.push(" </")) == [Piece("answer", " </")]  # an answer cannot end thinking
    assert list(splitter.push("<")) == []
    assert list(splitter.close()) == [Piece("answer", "<")]


class Echo:
    """An engine that answers with fixed text, and keeps what it was asked."""

    def __init__(self, folder: Path, text: str, context: int = 512) -> None:
        self.tokenizer, self.context, self.about = tokenization.load(folder), context, "echo"
        self.stop_ids = stop_ids(self.tokenizer)
        self.ids = self.tokenizer.backend_tokenizer.encode(text).ids
        self.asked: list[list[int]] = []
        self.seeds: list[int] = []

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        self.asked.append(list(prompt_ids))
        self.seeds.append(seed)
        yield from self.ids[: min(sampling.max_new_tokens, self.context - len(prompt_ids))]

    def logits(self, ids: Sequence[int]) -> object:
        raise NotImplementedError


SAMPLING = Sampling(temperature=0.1, max_new_tokens=64)


def test_history_is_rendered_as_in_training(tiny_model: Path) -> None:
    engine = Echo(tiny_model, "hm 😀\n</think>\nyes")
    conversation = Conversation(engine, SAMPLING, system="Be brief.")
    assert joined(list(conversation.ask("one?"))) == [("thinking", "hm 😀\n"), ("answer", "\nyes")]
    list(conversation.ask("two?"))
    before, _ = render_conversation(
        engine.tokenizer,
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one?"},
            {"role": "assistant", "content": "<think>\nhm 😀\n</think>\nyes"},
        ],
    )
    assert engine.asked[1][: len(before)] == before
    assert engine.seeds[0] != engine.seeds[1]
    conversation.reset()
    list(conversation.ask("one?"))
    assert engine.asked[2] == engine.asked[0]


def test_without_thinking_the_answer_begins_at_once(tiny_model: Path) -> None:
    engine = Echo(tiny_model, "yes")
    conversation = Conversation(engine, SAMPLING, thinking=False)
    assert joined(list(conversation.ask("one?"))) == [("answer", "yes")]
    messages = [{"role": "user", "content": "one?"}, {"role": "assistant", "content": "yes"}]
    trained_on, _ = render_conversation(engine.tokenizer, messages)
    assert trained_on[: len(engine.asked[0])] == engine.asked[0]
    assert engine.asked[0][: len(with_thinking(engine))] == with_thinking(engine)


def with_thinking(engine: Echo) -> list[int]:
    return render_prompt(engine.tokenizer, [{"role": "user", "content": "one?"}])


def test_what_was_said_until_a_stop_is_kept(tiny_model: Path) -> None:
    conversation = Conversation(Echo(tiny_model, "a long thought that goes on</think>end"), SAMPLING)
    pieces = conversation.ask("one?")
    for _ in range(3):
        next(pieces)
    pieces.close()
    assert conversation.last and conversation.last.thinking and not conversation.last.text
    assert conversation.history[1]["reasoning_content"] == conversation.last.thinking
    assert len(conversation.history) == 2


def test_the_oldest_turns_go_when_the_context_is_full(tiny_model: Path) -> None:
    engine = Echo(tiny_model, "1\n</think>\n2", context=160)
    conversation = Conversation(engine, SAMPLING)
    for turn in range(12):
        list(conversation.ask(f"question number {turn}?"))
        assert len(engine.asked[-1]) + int(0.25 * engine.context) <= engine.context
    assert conversation.last and conversation.last.dropped_turns
    assert conversation.history[0]["role"] == "user"
    assert len(conversation.history) < 24
    with pytest.raises(UserError, match="too long for a context of 160"):
        list(conversation.ask("x " * 400))
    assert conversation.history[0]["role"] == "user"


def test_cut_answers_say_so(tiny_model: Path) -> None:
    conversation = Conversation(Echo(tiny_model, "a very long thought"), Sampling(0.0, 3))
    list(conversation.ask("one?"))
    assert conversation.last and conversation.last.truncated and conversation.last.tokens == 3


def test_transformers_engine_repeats_itself_and_ends_by_itself(trained_model: Path) -> None:
    engine = open_engine(str(trained_model), threads=1)
    prompt = render_prompt(engine.tokenizer, [{"role": "user", "content": "What is 47+36+29?"}])
    greedy = list(engine.stream(prompt, Sampling(0.0, 100)))
    assert greedy and len(greedy) < 100, "it stops by itself"
    assert not set(greedy) & set(engine.stop_ids)
    once, again, other = (list(engine.stream(prompt, Sampling(1.5, 40), seed)) for seed in (1, 1, 2))
    assert once == again != other
    # The cache gives what a pass over everything gives.
    argmax = engine.logits(prompt + greedy).argmax(-1)[len(prompt) - 1 :].tolist()
    assert argmax[:-1] == greedy and argmax[-1] in engine.stop_ids


def test_what_a_template_does_with_a_first_message_is_known_before_it(tiny_model: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content }}\n{% endfor %}")
    bare = Path(shutil.copytree(tiny_model, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    brief = Sampling(0.0, 8)
    with pytest.raises(UserError, match="has no chat template: give --chat_template chatml"):
        Conversation(open_engine(str(bare)), brief).check()
    engine = open_engine(str(bare), chat_template=str(template))
    assert Conversation(engine, brief).check() == []
    assert Conversation(engine, brief, system="Be short.").check() == [
        "the chat template leaves the system message out"
    ]


def test_what_there_is_nothing_to_talk_to(tmp_path: Path) -> None:
    (tmp_path / "run" / "final").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no model in it.*did you mean .*run/final"):
        open_engine(str(tmp_path / "run"))
    with pytest.raises(UserError, match="no such file"):
        open_engine(str(tmp_path / "x.gguf"))
    with pytest.raises(UserError, match="not a model folder"):
        open_engine(str(tmp_path / "nowhere"))


def test_what_a_model_says_is_shown_and_not_obeyed() -> None:
    """OSC 52 writes the clipboard, CSI moves the cursor: neither reaches the terminal, however it is cut in pieces."""
    import io

    from srm_ray.inference.conversation import Piece
    from srm_ray.inference.terminal import Terminal

    target = io.StringIO()
    terminal, shown = Terminal(io.StringIO(), target), ""
    for text in ("a\x1b", "]52;c;cm0=\x07b", "\x9b2J", "é\n1\t2"):
        shown = terminal._show(Piece("answer", text), shown)
    assert target.getvalue() == "a\\x1b]52;c;cm0=\\x07b\\x9b2Jé\n1\t2"
