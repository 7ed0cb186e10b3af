"""Generated sums: right, reproducible, and the held-out ones never trained on."""

from srm_ray.data import arithmetic


def test_answers_and_reasoning_are_right() -> None:
    for index in range(500):
        problem = arithmetic.problem(1, index)
        assert int(problem.answer) == sum(problem.operands)
        for step in problem.reasoning.split(", "):
            left, right = step.split("=")
            assert sum(map(int, left.split("+"))) == int(right)


def test_streams_follow_the_seed() -> None:
    first = [arithmetic.problem(1, index) for index in range(50)]
    assert first == [arithmetic.problem(1, index) for index in range(50)]
    assert first != [arithmetic.problem(2, index) for index in range(50)]


def test_splits_are_disjoint_in_any_order_of_the_operands() -> None:
    train = {tuple(sorted(arithmetic.problem(1, index).operands)) for index in range(20_000)}
    held_out = {tuple(sorted(problem.operands)) for problem in arithmetic.problems(2, 1000, "held_out")}
    assert not train & held_out


def test_no_training_text_holds_a_held_out_problem() -> None:
    held_out = {problem.question for problem in arithmetic.problems(99, 1000, "held_out")}
    for index in range(5000):
        assert arithmetic.document(5, index)[0] not in held_out
        assert arithmetic.conversation(5, index)[0]["content"] not in held_out


def test_mixture_has_its_share_of_reasoning() -> None:
    said = [arithmetic.conversation(7, index)[1]["content"] for index in range(4000)]
    thinking = sum("<think>\n\n</think>" not in text for text in said) / len(said)
    assert abs(thinking - arithmetic.THINKING_SHARE) < 0.03


def test_words() -> None:
    assert arithmetic.in_words(112) == "one hundred and twelve"
    assert arithmetic.in_words(45) == "forty-five"
