"""What fits a contract, and one clear line for what does not."""

import pytest

from srm_ray.environments.contract import BadEnvironment, Contract, load
from srm_ray.environments.process import Player

HERE = "tests.environments.samples:"


def test_a_class_of_tools() -> None:
    found = load(HERE + "Counter", (HERE + "add",)).contract
    assert found.kind == "tools" and found.rewards and found.any_column
    assert set(found.names) == {"increment", "slowly", "fail", "die", "grow", "speak", "add"}
    increment = next(tool["function"] for tool in found.tools if tool["function"]["name"] == "increment")
    assert increment["parameters"]["properties"] == {"by": {"type": "integer", "description": "how far"}}
    assert found.needs == ("goal",)
    assert Contract.of(found.plain()) == found


def test_a_class_of_turns() -> None:
    found = load(HERE + "Guess", ()).contract
    assert (found.kind, found.tools, found.takes, found.rewards) == ("turns", (), ("seed",), True)
    assert found.arguments({}, 5) == {"seed": 5}
    assert found.arguments({"seed": 7, "other": 1}, 5) == {"seed": 7}


def test_functions_alone() -> None:
    found = load("", (HERE + "add",)).contract
    assert (found.kind, found.names, found.rewards) == ("tools", ("add",), False)


@pytest.mark.parametrize(
    ("name", "tools", "said"),
    [
        ("NoReset", (), "has no reset"),
        ("NothingToDo", (), "has neither tools"),
        ("UntypedTool", (), "UntypedTool.tool: its argument 'a' has no type annotation"),
        ("WantsArguments", (), "cannot be made without arguments"),
        ("Guess", ("add",), "takes no tools"),
        ("Absent", (), "has no Absent"),
        ("add", (), "is not a class"),
        ("", ("untyped",), "argument 'a' has no type annotation"),
        ("", ("undescribed",), "no description for the argument 'a'"),
        ("", ("silent",), "has no docstring"),
        ("", ("Counter",), "is not a function"),
    ],
)
def test_what_fits_no_contract(name: str, tools: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadEnvironment, match=said) as caught:
        load(name and HERE + name, tuple(HERE + tool for tool in tools))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("nocolon", "not of the form"), ("no.such.module:X", "there is no module no"), ("json:Nothing", "has no Nothing")],
)
def test_names_that_lead_nowhere(name: str, said: str) -> None:
    with pytest.raises(BadEnvironment, match=said):
        load(name, ())


def test_columns() -> None:
    contract = load(HERE + "Columns", ()).contract
    contract.check_columns({"first", "second", "prompt", "answer"})
    contract.check_columns({"first"})
    with pytest.raises(BadEnvironment, match="wants the column 'first'; the rows have second"):
        contract.check_columns({"second"})
    with pytest.raises(BadEnvironment, match=r"does not take the column 'third' \(it takes first, second\)"):
        contract.check_columns({"first", "third"})


def player(name: str, limit: int = 100) -> Player:
    return Player(load(HERE + name, ()), limit)


def test_calls_that_the_model_gets_wrong_are_answers() -> None:
    one = player("Counter")
    assert one.reset({"goal": 3}, 0) == " Count to 3."
    assert one.call("increment", {"by": 2}) == ("2", False)
    assert one.call("increment", {"by": "1"}) == ("3", False)
    assert one.call("slowly", {"seconds": 0}) == ("done", False)
    assert one.reward() == (1.0, None)
    for name, arguments, said in [
        ("decrement", {}, "there is no tool 'decrement'"),
        ("reset", {"goal": 0}, "there is no tool 'reset'"),
        ("increment", {}, "missing a required argument"),
        ("increment", {"by": 1, "to": 2}, "unexpected keyword"),
        ("increment", {"by": "far"}, "by: Input should be a valid integer"),
        ("fail", {}, "RuntimeError: broken"),
    ]:
        text, error = one.call(name, arguments)
        assert error and text.startswith("Error: ") and said in text
    assert one.call("speak", {"length": 101}) == ("x" * 100 + "\n[cut: 100 of 101 characters]", False)
    assert one.object.value == 3


def test_a_step_is_checked() -> None:
    one = player("BadStep")
    one.reset({}, 0)
    with pytest.raises(TypeError, match=r"step must return \(observation, reward, done\)"):
        one.step("x")


def test_chance_follows_the_seed() -> None:
    secrets = []
    for seed in (1, 1, 2, 3, 4):
        one = player("Guess")
        one.reset({}, seed)
        secrets.append(one.object.secret)
    assert secrets[0] == secrets[1] and len(set(secrets)) > 1
    assert one.step(str(secrets[-1])) == {"observation": "right", "reward": 1.0, "done": True}
    assert one.reward() == (1.0, None)
