"""What counts as an answer, and how samples are described."""

import asyncio

import pytest

from rewards.dispatch import Graders
from rewards.verdict import Verdict
from srm_ray.evaluation.evaluator import Evaluator
from srm_ray.evaluation.grading import bare, last_number_of
from srm_ray.evaluation.suites import SUITES, Item
from srm_ray.inference.completers import ChatCompletion, Sampling

ITEM = Item(0, "q", answer="1234")


@pytest.fixture(scope="module")
def graders():
    made = Graders(1)
    yield made
    made.close()


class Said:
    """A model whose completions are given."""

    def __init__(self, *texts: str, prompt: str = "<think>\n", truncated: bool = False) -> None:
        self.completions = [ChatCompletion(prompt, text, 1, truncated, 0) for text in texts]

    async def prepare(self) -> None:
        """Nothing to prepare."""

    async def answer(self, messages, seeds, sampling) -> list[ChatCompletion]:
        assert len(seeds) == len(self.completions)
        return self.completions


def samples_of(graders, model: Said, *, suite: str, item: Item, extract: str = "final"):
    evaluator = Evaluator(graders, Sampling(), seed=0, samples=len(model.completions), extract=extract)
    return asyncio.run(evaluator.answer(SUITES[suite], item, model))


def grade(graders, text: str, *, suite: str = "gsm8k", item: Item = ITEM, truncated: bool = False, extract="final"):
    model = Said(text, truncated=truncated)
    return samples_of(graders, model, suite=suite, item=item, extract=extract)[0]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "correct", "reason"),
    [
        (r"a</think>\boxed{1{,}234}", True, "correct"),
        ("a</think>That is 1,234 in all", True, "correct"),  # gsm8k takes the last number
        (r"\boxed{1234}", False, "no_answer"),  # inside the thinking alone
        (r"a</think>\boxed{1233}", False, "wrong"),
    ],
)
def test_final_answers(graders, text: str, correct: bool, reason: str) -> None:
    sample = grade(graders, text)
    assert (sample.verdict.correct, sample.verdict.reason) == (correct, reason)


def test_last_number_only_where_the_suite_allows_it(graders) -> None:
    assert grade(graders, "a</think>That is 1234", suite="math500").verdict.reason == "no_answer"


def test_truncated_is_never_correct_but_flexibly(graders) -> None:
    sample = grade(graders, r"a</think>\boxed{1234} and", truncated=True)
    assert (sample.verdict.correct, sample.verdict.reason, sample.finished, sample.boxed) == (
        False,
        "truncated",
        False,
        True,
    )
    assert grade(graders, "so $1,234.", truncated=True, extract="flexible").verdict.correct is True
    assert grade(graders, r"a</think>\boxed{1234}", suite="svamp", extract="flexible").verdict.correct is True


class Asked:
    """A grader that finds "yes" right and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked, self.compared = [], []

    async def grade(self, problem, question, text, *, truncated=False, last_number=False) -> Verdict:
        self.asked.append((problem.answer, question, text, truncated, last_number))
        return Verdict("yes" in text, "correct" if "yes" in text else "wrong", "text", text.lower())

    async def same(self, one: str, other: str) -> bool:
        self.compared.append((one, other))
        return one.split()[-1] == other.split()[-1]


def test_whoever_grades_is_asked_the_same_and_decides() -> None:
    """In-process graders and reward workers are met through one protocol: what is on record is their word."""
    grader = Asked()
    model = Said("a yes", "b yes", "b no", prompt="Q<think>\n", truncated=True)
    samples = samples_of(grader, model, suite="gsm8k", item=ITEM)
    opened = "<think>"
    assert grader.asked == [("1234", "q", f"{opened}{text}", True, True) for text in ("a yes", "b yes", "b no")]
    assert [sample.verdict.correct for sample in samples] == [True, True, False]
    assert [sample.verdict.kind for sample in samples] == ["text"] * 3
    assert [sample.group for sample in samples] == [0, 0, 1]
    assert (f"{opened}a yes", f"{opened}b yes") in {tuple(sorted(pair)) for pair in grader.compared}


@pytest.mark.integration
def test_the_question_reaches_the_math_grader(graders) -> None:
    sum_of_three, share = Item(0, "What is 47+36+29?", answer="112"), Item(0, "What percentage is red?", answer="60")
    assert (
        grade(graders, r"</think>\boxed{47+36+29}", suite="math500", item=sum_of_three).verdict.reason == "unevaluated"
    )
    assert grade(graders, r"</think>\boxed{60\%}", suite="math500", item=share).verdict.correct is True


@pytest.mark.integration
def test_equal_answers_of_several_samples_are_one_class(graders) -> None:
    item = Item(0, "q", answer=r"\frac{1}{2}")
    texts = [r"</think>\boxed{0.5}", r"</think>\boxed{2}", "cut", r"</think>\boxed{\frac{1}{2}}"]
    samples = samples_of(graders, Said(*texts), suite="math500", item=item)
    assert [sample.group for sample in samples] == [0, 1, None, 0]
    assert [sample.verdict.correct for sample in samples] == [True, False, False, True]


TEXTS = ["it is $1,234.56.", "4 and -7", "none", "#### 72", "price: $.50", "12,000,", "x = 3.", "1 2 30"]


def test_flexible_extract_is_the_harnesss() -> None:
    """Against the harness's own filter and metric of gsm8k."""
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'srm-ray[eval]'")
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    take = RegexFilter(regex_pattern="(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
    for text in TEXTS:
        (found,) = take.apply([[text]], [{}])[0]
        assert (last_number_of(text) or "[invalid]") == found, text
        for gold in ("1234.56", "7", "72", ".50", "12000", "3", "30"):
            theirs = exact_match_hf_evaluate(
                predictions=[found],
                references=[gold],
                regexes_to_ignore=[",", r"\$", r"(?s).*#### ", r"\.$"],
                ignore_case=True,
            )["exact_match"]
            assert float(bare(found) == bare(gold)) == theirs, (text, gold)
