"""Options in YAML, from wherever: one clear line, in bounded time and memory, and plain values alone."""

import pytest

from srm_ray.errors import UserError, one_line
from srm_ray.files import yaml_file

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
HOSTILE = {
    "aliases of aliases": BOMB,
    "an alias of itself": "a: &a [*a]\n",
    "deep": "[" * 10_000,
    "an object": "a: !!python/object/apply:os.system ['touch owned']\n",
    "a module": "a: !!python/module:os\n",
    "a list": "- 1\n",
    "a text": "just words",
    "a control character": "a: \x1b[2J\n",
    "not finished": "a: [1, 2\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a long number": "a: " + "9" * 10_000 + "\n",
    "long": "a: " + "x" * (5 << 20),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path, monkeypatch, text) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"--config .*config\.yaml: ") as raised:
        yaml_file.read(tmp_path / "config.yaml", "--config")
    assert "\x1b" not in one_line(raised.value) and not (tmp_path / "owned").exists()


def test_what_configs_are_written_with_is_read(tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("base: &base {a: 1}\nrun:\n  <<: *base\n  b: [1, null, 0.5]\n")
    assert yaml_file.read(path)["run"] == {"a": 1, "b": [1, None, 0.5]}
    path.write_text("")
    assert yaml_file.read(path) == {}
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        yaml_file.read(path)
    with pytest.raises(UserError, match="No such file"):
        yaml_file.read(tmp_path / "none.yaml")
