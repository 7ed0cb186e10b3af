"""Generated word problems: right, sensible, in English, and of situations that stay apart."""

import re
from collections import Counter

import pytest

from srm_ray.data import word_problems
from srm_ray.data.arithmetic import SUPERVISED_FROM
from srm_ray.data.held_out_situations import HELD_OUT
from srm_ray.data.word_problems import (
    HE,
    SHE,
    SITUATIONS,
    TRAIN,
    Split,
    WordProblem,
    conversation,
    plural,
    problem,
    problems,
)

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)$")
NUMBER = re.compile(r"\d+")
SPLITS: tuple[Split, ...] = ("train", "held_out")


@pytest.fixture(scope="module", params=SPLITS)
def many(request: pytest.FixtureRequest) -> list[WordProblem]:
    return [problem(1, index, request.param) for index in range(3000)]


def test_the_gold_follows_from_the_numbers_that_are_told(many: list[WordProblem]) -> None:
    """The equations are worked out anew; each number in them was told, or is an earlier result; all that was told is
    used; results are whole and above zero."""
    for one in many:
        told = [int(number) for number in NUMBER.findall(one.question)]
        known, results, used = set(told), [], []
        for line in one.reasoning.split("\n"):
            found = EQUATION.search(line)
            assert found, line
            left, right, result = int(found[1]), int(found[3]), int(found[4])
            assert {left, right} <= known | set(results), one
            used += [left, right]
            assert result == {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[found[2]], one
            assert result > 0
            results.append(result)
        assert one.answer == str(results[-1])
        assert set(told) <= set(used), one
        assert 1 <= len(results) <= 2 and all(number <= 3000 for number in results)


def test_numbers_of_a_text_are_at_least_two(many: list[WordProblem]) -> None:
    """So a noun behind a number is a plural."""
    assert min(int(number) for one in many for number in NUMBER.findall(one.question)) >= 2


def test_english(many: list[WordProblem]) -> None:
    for one in many:
        text = f"{one.question} {one.reasoning}"
        assert "{" not in text and "  " not in text and " ," not in text, text
        assert not re.search(r"\ba (?:[aeio]|hour\b)", text), text
        assert not re.search(r"\ban (?!hour\b)[^aeiou]", text), text
        assert one.question[0].isupper() or one.question[0].isdigit()
        assert one.question.endswith("?") and one.question.count("?") == 1
        assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in re.split(r"[.?] ", one.question))
        people = {name for name in HE + SHE if re.search(rf"\b{name}\b", one.question)}
        assert len(people) <= 2
        if len(people) == 1:
            other = {"he", "his", "him", "He"} if people <= set(SHE) else {"she", "her", "She"}
            assert not other & set(re.findall(r"\w+", text)), text


def test_nouns_behind_numbers_are_plurals(many: list[WordProblem]) -> None:
    singular = set()
    for situation in (TRAIN | HELD_OUT).values():
        singular |= {noun for _, noun in word_problems.SLOT.findall(situation.text) if noun and noun != "item"}
        singular |= set(situation.items)
    unchanged = {noun for noun in singular if plural(noun) == noun}
    assert unchanged == {"sheep", "goldfish"}
    for one in many:
        for number, noun in re.findall(r"(\d+) (\w+(?: \w+)?)", one.question):
            assert noun not in singular - unchanged and noun.split()[0] not in singular - unchanged, (number, noun)


@pytest.mark.parametrize(
    ("noun", "wanted"),
    [
        ("apple", "apples"), ("box", "boxes"), ("bench", "benches"), ("glass", "glasses"), ("candy", "candies"),
        ("day", "days"), ("leaf", "leaves"), ("child", "children"), ("pine cone", "pine cones"), ("sheep", "sheep"),
        ("domino", "dominoes"), ("photo", "photos"), ("toy truck", "toy trucks"), ("strawberry", "strawberries"),
    ],
)  # fmt: skip
def test_plurals(noun: str, wanted: str) -> None:
    assert plural(noun) == wanted


def skeleton(text: str) -> str:
    return re.sub(r"\s+", " ", word_problems.SLOT.sub("#", text).lower())


def test_situations_are_many_and_none_is_told_twice() -> None:
    assert len(TRAIN) >= 60 and len(HELD_OUT) >= 15
    assert not set(TRAIN) & set(HELD_OUT)
    texts = Counter(skeleton(situation.text) for situation in (TRAIN | HELD_OUT).values())
    assert max(texts.values()) == 1
    nouns = [frozenset(word_problems.SLOT.findall(one.text)) | set(one.items) for one in (TRAIN | HELD_OUT).values()]
    told = Counter(zip(nouns, [one.steps for one in (TRAIN | HELD_OUT).values()], strict=True))
    assert max(told.values()) == 1
    for situations in SITUATIONS.values():
        steps = Counter(len(one.steps) for one in situations.values())
        assert set(steps) == {1, 2} and min(steps.values()) >= 8


def test_held_out_situations_are_told_of_in_no_training_text() -> None:
    trained = {problem(seed, index).situation for seed in range(3) for index in range(2000)}
    measured = {one.situation for one in problems(0, 1000, "held_out")}
    assert trained == set(TRAIN) and measured == set(HELD_OUT)
    content = {word for one in HELD_OUT.values() for word in re.findall(r"[a-z]{4,}", skeleton(one.text))}
    assert content  # whole questions, not single words, are kept apart
    questions = {skeleton(one.text) for one in TRAIN.values()}
    assert not questions & {skeleton(one.text) for one in HELD_OUT.values()}


def test_streams_follow_seed_and_index() -> None:
    first = [problem(1, index) for index in range(50)]
    assert first == [problem(1, index) for index in range(50)]
    assert first != [problem(2, index) for index in range(50)]
    assert len({one.question for one in problems(1, 1500)}) == 1500


def test_an_example_to_learn_from() -> None:
    asked, answered = conversation(3, 7)
    found = problem(3, SUPERVISED_FROM + 7)
    assert asked == {"role": "user", "content": found.question}
    assert answered["content"] == f"<think>\n{found.reasoning}\n</think>\n\\boxed{{{found.answer}}}"


# Where commands take them


def test_prompts_and_suite_are_made_of_them() -> None:
    from srm_ray.config.data import DataConfig
    from srm_ray.data.prompts import open_generator
    from srm_ray.evaluation import suites

    tasks = open_generator(DataConfig(generator="word_problems"), 5, "words")
    assert tasks is not None
    task, made = tasks.task(3), problem(5, 3)
    assert (task.messages[0]["content"], task.answer) == (made.question, made.answer)
    asked = {task.messages[0]["content"] for task in tasks.held_out(50)}
    assert len(asked) == 50
    items = suites.load(suites.SUITES["word_problems"], "", 50)
    assert {item.question for item in items} == asked


def test_options_and_names_that_there_are_not() -> None:
    from srm_ray.config.command_line import parse
    from srm_ray.config.data import DataConfig
    from srm_ray.config.stages import SftConfig
    from srm_ray.data.prompts import open_generator
    from srm_ray.errors import UserError
    from srm_ray.sft import check_data

    with pytest.raises(UserError, match="word_problems has no options"):
        open_generator(DataConfig(generator="word_problems", options={"steps": 2}), 1, "words")
    with pytest.raises(UserError, match="the built-in ones are arithmetic, word_problems"):
        open_generator(DataConfig(generator="word_problem"), 1, "words")
    check_data(parse(SftConfig, ["--data.generator", "word_problems"], stage="sft"))
    with pytest.raises(UserError, match="the generators are: arithmetic, word_problems"):
        check_data(parse(SftConfig, ["--data.generator", "words"], stage="sft"))


def test_graders_take_what_is_to_be_learned_from() -> None:
    from rewards.math.grader import score

    for index in range(20):
        assert score(conversation(4, index)[1]["content"], problem(4, SUPERVISED_FROM + index).answer).correct
