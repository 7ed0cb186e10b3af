"""The environments that come with the project."""

from pathlib import Path

import pytest

from srm_ray.environments import calculator
from srm_ray.environments.contract import load
from srm_ray.environments.guess import Guess
from srm_ray.environments.process import Player
from srm_ray.environments.retrieval import Retrieval

HERE = "srm_ray.environments."


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1 + 2", "3"),
        ("(12 + 7) * -3", "-57"),
        ("123456789 * 987654321", "121932631112635269"),
        ("0.1 + 0.2", "0.3"),
        ("1/4", "0.25"),
        ("1/3", "1/3 = 0.333333333333"),
        ("2^10", "1024"),
        ("2 ** -2", "0.25"),
        ("7 // 2", "3"),
        ("-7 % 3", "2"),
        ("1,000 × 3 ÷ 2", "1500"),
    ],
)
def test_the_calculator_is_right(expression: str, result: str) -> None:
    assert calculator.calculate(expression) == result


@pytest.mark.parametrize(
    "expression",
    ["", "x", "__import__('os')", "9**9**9", "(10**300)**300", "10**10**10", "1/0", "1 +", "'a'*3", "f(1)", "1" * 501,
     "2**0.5", "True", "1 < 2", "(" * 200 + "1" + ")" * 200],
)  # fmt: skip
def test_the_calculator_refuses_the_rest_at_once(expression: str) -> None:
    one = Player(load("", (HERE + "calculator:calculate",)), 1000)
    one.reset({}, 0)
    result, error = one.call("calculate", {"expression": expression})
    assert error or result == "1", result


def test_a_number_is_found_by_halving_and_not_by_luck() -> None:
    for seed in range(20):
        game, low, high = Guess(), 1, 31
        assert game.reset(seed).endswith(" 1 to 31.")
        won = False
        while not won:
            guess = (low + high) // 2
            said, reward, done = game.step(f"<think>\nmaybe 3</think>\n{guess}")
            won = reward == 1.0
            assert done == won, "five guesses are enough"
            low, high = (guess + 1, high) if said.startswith("Higher") else (low, guess - 1)
            assert won or said.endswith(f" {low} to {high}."), "it says what is left"
    secrets = []
    for _ in range(2):
        game = Guess()
        game.reset(5)
        secrets.append(game.secret)
    assert secrets[0] == secrets[1]


def test_a_game_is_lost_after_its_guesses() -> None:
    game = Guess()
    game.reset(3, guesses=2)
    assert game.step("I do not know.") == ("That is no number: 1 to 31.", 0.0, False)
    assert game.step("<think>\n" + str(game.secret)) == (f"It was {game.secret}.", 0.0, True)


def test_passages_are_found_by_their_words(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "birds.md").write_text("The wren is small.\n\n" + "Filler about nothing. " * 60)
    (tmp_path / "rivers.txt").write_text("The Danube is long.\n\nIt ends in the Black Sea.")
    (tmp_path / "other.bin").write_bytes(b"\x00wren")
    one = Retrieval()
    one.reset(str(tmp_path))
    found = one.search("where does the danube end?")
    assert found.startswith("[rivers.txt#0] The Danube is long. It ends in the Black Sea.")
    assert one.search("zeppelin") == "Nothing found."
    assert one.read("deep/birds.md#0").count("[deep/birds.md#") == 2
    assert one.read("nowhere#1") == "There is no passage nowhere#1."
    with pytest.raises(FileNotFoundError, match="holds no text"):
        Retrieval().reset(str(tmp_path / "empty"))


def test_each_fits_its_contract() -> None:
    kinds = {
        "guess:Guess": ("turns", (), True),
        "retrieval:Retrieval": ("tools", ("read", "search"), False),
        "python:Python": ("tools", ("python",), False),
    }
    for name, (kind, tools, rewards) in kinds.items():
        found = load(HERE + name, ()).contract
        assert (found.kind, tuple(sorted(found.names)), found.rewards) == (kind, tools, rewards), name


@pytest.mark.integration
def test_python_is_a_session_in_the_sandbox() -> None:
    from srm_ray.environments.python import Python

    one = Python()
    one.reset()
    try:
        assert one.python("x = 6 * 7\nprint('made')") == "made\n"
        assert one.python("x") == "42\n"
        assert one.python("1 / 0") == "Error: ZeroDivisionError: division by zero"
        assert one.python("y = ").startswith("Error: SyntaxError")
        assert "Error" in one.python("open('/etc/passwd').read()")
        assert one.python("import socket; socket.socket()").startswith("Error: ")
        assert one.python("x + 1") == "43\n", "what failed leaves nothing behind"
        assert one.python("while True: print('x' * 1000)").endswith("Error: the program printed more than 65536 bytes")
        other = Python()
        other.reset()
        assert other.python("x").startswith("Error: NameError")
        other.close()
    finally:
        one.close()
