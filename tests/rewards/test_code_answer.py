"""The code in a completion: fences of every kind, several blocks, and texts made to keep a grader busy."""

# ruff: noqa: E501

import pytest

from rewards.code.answer import blocks, code_of

F = frozenset({"f"})


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("1. First:\n   ```python\n   def f(a):\n       return a\n   ```\n", "def f(a):\n    return a"),
        ("- ```python\n  def f(a):\n      return a\n  ```\n", "def f(a):\n    return a"),
        ("> ```py\n> def f(a):\n>     return a\n> ```\nso", "def f(a):\n    return a"),
        ("~~~python\ndef f(): return 1\n~~~", "def f(): return 1"),
        ("```Python3\ndef f(): return 1\n```", "def f(): return 1"),
        ("```PYTHON title=x\ndef f(): return 1\n```", "def f(): return 1"),
        ("```{.python}\ndef f(): return 1\n```", "def f(): return 1"),
        ("```solution\ndef f(): return 1\n```", "def f(): return 1"),
        ("````python\ndef f():\n    '''\n```\n'''\n````", "def f():\n    '''\n```\n'''"),
        ("```python\r\ndef f():\r\n    return 1\r\n```\r\n", "def f():\n    return 1"),
        ("```python\ndef f(): return 1\n```\nOutput:\n```\nf = 3\n```", "def f(): return 1"),
        ("```python\ndef h(): return 1\n```\nthen\n```python\ndef f(): return h()\n```",
         "def h(): return 1\n\ndef f(): return h()"),
        ("```python\nimport math\n```\n```python\ndef f(): return math.pi\n```\n```python\nprint(f())\n```",
         "import math\n\ndef f(): return math.pi"),
        ("```python\ndef f(): return 0\ndef h(): return 2\n```\n```python\ndef f(): return h()\n```",
         "def f(): return h()"),
        ("```python\nf: int = 3", "f: int = 3"),
        ("Answer: ```python\ndef f(): return 1\n```", "def f(): return 1"),
        ("```python\ndef f(): return 1```\nThat is all.", "def f(): return 1"),
        ("Use ``` for fences.\n```python\ndef f(): return 1\n```", "def f(): return 1"),
        ("```python\n>>> def f():\n...     return 1\n...\n>>> f()\n1\n```", "def f():\n    return 1\n\nf()"),
        ("```pycon\n>>> def f(): return 1\n```", "def f(): return 1"),
        ('```python\ndef f():\n    "\\n>>> f()"\n```', 'def f():\n    "\\n>>> f()"'),
        ("```bash\nls\n```", None),
        ("```f(1)```", None),
    ],
)  # fmt: skip
def test_code_is_found_in_fences_of_every_kind(completion: str, expected: str | None) -> None:
    assert code_of(completion, F) == expected


def test_a_program_is_the_last_python_block() -> None:
    assert code_of("```python\nprint(3)\n```\nOutput:\n```\n3\n```", frozenset()) == "print(3)"
    assert code_of("```\nprint(3)\n```", frozenset()) == "print(3)"
    assert code_of("print(3)", frozenset()) == "print(3)"


@pytest.mark.parametrize(
    "unit",
    [
        "-", "`", "~", "> ", "```\n", "```python\n", "```python\ndef a(): b\n```\n", "def f\n", "async def ", "- ", "1. ",
        "f ", "f\n", "import a,", "A", " ", "\t\n", "~~~\n```\n", "\\boxed{", "<think>", "def f(",
    ],
)  # fmt: skip
def test_a_text_made_to_keep_the_grader_busy_does_not(unit: str) -> None:
    """What takes time that grows with the square of the text would not come back from this."""
    text = "```python " + unit * (200_000 // len(unit))
    assert code_of(text, F) is None or len(code_of(text, F) or "") <= len(text)


def test_blocks_have_their_language() -> None:
    assert [block.language for block in blocks("```c++\n```\n~~~ js\n~~~\n```\n")] == ["c++", "js", ""]
