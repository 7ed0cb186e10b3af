"""Format and length rewards, and where the final answer is found."""

import pytest

from rewards import extract, format, length

PROMPT = "<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n<think>\n"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("because</think>\n5", 1.0),
        ("because</think>5", 1.0),
        ("because</think>\n5<|im_end|>", 1.0),
        ("because\n5", 0.0),  # thinking that does not end
        ("</think>5", 0.0),  # no thinking
        (" \n</think>5", 0.0),
        ("because</think>", 0.0),  # no answer
        ("because</think> \n", 0.0),
        ("because</think>5</think>6", 0.0),  # closed twice
        ("a<think>b</think>5", 0.0),  # opened twice
        ("a</think>5<think>", 0.0),
        ("", 0.0),
        ("a</think><|im_start|>assistant\n<think>b</think>5", 0.0),  # a turn of its own
        ("a</think>5<|im_end|>\n<|im_start|>user", 0.0),
    ],
)
def test_format(completion: str, expected: float) -> None:
    assert format.score_completion(PROMPT, completion) == expected
    if "<|im_start|>" not in completion:
        assert format.score(PROMPT + completion) == expected


def test_format_without_a_chat_template_and_without_an_opened_think() -> None:
    assert format.score("<think>a</think>b") == 1.0
    assert format.score("x<think>a</think>b") == 0.0
    assert format.score_completion("<|im_start|>assistant\n", "<think>a</think>b") == 1.0
    assert format.score_completion("<|im_start|>assistant\n", "a</think>b") == 0.0


GENERATION_PROMPTS = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<bos><start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n",
    "<s>[INST] {} [/INST]",
    "<|user|>\n{}<|end|>\n<|assistant|>\n",
    "<｜begin▁of▁sentence｜><｜User｜>{}<｜Assistant｜>",
    "<|start_of_role|>user<|end_of_role|>{}<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
)


@pytest.mark.parametrize("template", GENERATION_PROMPTS)
@pytest.mark.parametrize("question", ["Q", "Begin with <think> please.", "Use <think> and </think>."])
def test_format_with_the_templates_of_other_models(template: str, question: str) -> None:
    prompt, good = template.format(question), "<think>\n3*14=42\n</think>\n\\boxed{42}"
    assert format.score_completion(prompt, good) == format.score(prompt + good) == 1.0
    assert format.score_completion(prompt + "<think>\n", good.removeprefix("<think>\n")) == 1.0
    assert format.score_completion(prompt, "42") == format.score_completion(prompt, f"So {good}") == 0.0
    assert format.score_completion(prompt + "<think>\n\n</think>\n\n", "\\boxed{42}") == 0.0, "no thinking"
    opening_of_a_turn = template.format("").rsplit("\n\n")[0][-12:].lstrip()
    mark = format.MARK.search(opening_of_a_turn) or format.MARK.search(template)
    assert mark and format.score_completion(prompt, f"{good}{mark[0]}x") == 0.0, "a turn of its own"


@pytest.mark.parametrize("tags", extract.THINKING)
def test_an_answer_stands_after_the_thinking_of_any_family(tags: tuple[str, str]) -> None:
    begin, close = tags
    thought = "is it \\boxed{41}?"
    assert extract.opened_thinking(f"Think.\n{begin}\n") == begin
    for text in (f"{begin}{thought}{close}\\boxed{{42}}", f"{thought}{close} The answer is 42."):
        assert extract.final_answers(text) == ["42"]
    assert extract.final_answers(f"{begin}{thought}") == []
    assert extract.final_answers(f"{begin}a{close} so \\boxed{{42}}, or {begin}{thought}") == []
    assert extract.final_answers(f"<think>{thought} {close if close != '</think>' else ''} \\boxed{{42}}") == []


@pytest.mark.parametrize("tags", extract.THINKING)
def test_format_with_other_tags_that_the_prompt_asks_for(tags: tuple[str, str]) -> None:
    begin, close = tags
    prompt = f"<|im_start|>system\nThink between {begin} and {close}.<|im_end|>\n<|im_start|>assistant\n"
    assert format.score_completion(prompt, f"{begin}a{close}b") == 1.0
    assert format.score_completion(prompt + begin, f"a{close}b") == 1.0
    assert format.score_completion(prompt, f"{begin}a{close}") == format.score_completion(prompt, "a b") == 0.0


def test_a_tag_that_a_message_spells_opens_no_thinking() -> None:
    assert extract.opened_thinking("<|im_start|>user\nBegin with <think>.<|im_end|>\n<|im_start|>assistant\n") == ""
    assert extract.opened_thinking(PROMPT) == "<think>"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (0, 0.0),
        (100, 0.0),
        (150, 0.0),
        (151, -0.02),
        (175, -0.5),
        (199, -0.98),
        (200, -1.0),
        (201, -1.0),
        (10_000, -1.0),
    ],
)
def test_soft_overlong_penalty(tokens: int, expected: float) -> None:
    assert length.score(tokens, l_max=200, l_cache=50) == pytest.approx(expected)


def test_overlong_edges() -> None:
    assert length.score(200, 200, 0) == 0.0 and length.score(201, 200, 0) == -1.0
    assert length.score(0, 200, 200) == 0.0 and length.score(100, 200, 200) == pytest.approx(-0.5)
    for wrong in ((-1, 200, 50), (1, 50, 200), (1, 200, -1)):
        with pytest.raises(ValueError, match="l_cache"):
            length.score(*wrong)


@pytest.mark.parametrize(
    ("completion", "last_number", "expected"),
    [
        (r"so \boxed{5}", False, ["5"]),
        (r"\boxed{\frac{1}{2}}.", False, [r"\frac{1}{2}"]),
        (r"\boxed{\text{a}\{b\}}", False, [r"\text{a}\{b\}"]),
        (r"\boxed 5 and", False, ["5"]),
        (r"\fbox{7}", False, ["7"]),
        (r"\boxed{\boxed{5}}", False, [r"\boxed{5}"]),
        (r"\boxed{5} then \boxed{6}", False, ["5", "6"]),
        (r"\boxed{5", False, []),
        (r"\boxed{5} and \boxed{6", False, ["5"]),
        (r"\boxed{\{1, 2\}}", False, [r"\{1, 2\}"]),
        (r"<think>\boxed{5}</think>", False, []),
        (r"<think>\boxed{5}</think>\boxed{6}", False, ["6"]),
        (r"<think>\boxed{5}", False, []),
        (r"a</think>\boxed{5}</think>\boxed{6}", False, ["6"]),
        (r"\boxed{5}<think>", False, []),
        ("The answer is 42.", False, ["42"]),
        ("The answer is 4.2 m.", False, ["4.2 m"]),
        ("the final answer is $x=2$. I hope it is correct.", False, ["x=2"]),
        ("**Final Answer:** 72", False, ["72"]),
        ("**Final Answer**\n72", False, ["72"]),
        ("Final Answer: The largest $n$ is 34.", False, ["34"]),
        ("Answer: (C)", False, ["(C)"]),
        ("#### 1,234", False, ["1,234"]),
        ("The answer is 5. No, the answer is 6.", False, ["6"]),
        (r"The answer is 5. \boxed{6}", False, ["6"]),
        ("We get 3, then 4.5 apples", False, []),
        ("We get 3, then 4.5 apples", True, ["4.5"]),
        ("So 1,000 of them", True, ["1,000"]),
        ("half: 1/2", True, ["1/2"]),
        ("nothing", True, []),
        ("", True, []),
    ],
)  # fmt: skip
def test_final_answers(completion: str, last_number: bool, expected: list[str]) -> None:
    assert extract.final_answers(completion, last_number) == expected
