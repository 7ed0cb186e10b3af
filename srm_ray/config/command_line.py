"""`--config FILE` and `--a.b value` to a typed config; `--help` from the same definitions.

Order of precedence, later wins: the class's defaults, the YAML file, the command line. Which came
from where stays with the config (`Section.origins`). Imports nothing heavier than pydantic, so that
`--help` answers at once.
"""

import difflib
import re
import sys
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from srm_ray.config.base import COMMAND_LINE, CONFIGS, Section, flatten, shipped, to_plain
from srm_ray.config.endpoints import SECRET
from srm_ray.config.lora import times
from srm_ray.console import output
from srm_ray.errors import UserError, printable
from srm_ray.files import yaml_file
from srm_ray.files.atomic import write_atomically

ConfigT = TypeVar("ConfigT", bound=BaseModel)


DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """A command's options. source: the file whose options apply, "" for none. named: the first option that names
    a model or data, for which the demo's recipe is not."""

    values: dict[str, Any]
    origins: dict[str, str]
    source: str
    named: str


def parse(config_class: type[ConfigT], argv: list[str], *, stage: str, default: str = "", about: str = "") -> ConfigT:
    """Build the config of a stage from its command line.

    `default` names the shipped config of the demo ("" for none): it is used where neither a `--config` nor a
    model nor data is named (`Section.subject`). `--help` prints and exits 0. Raises `UserError` naming the option
    at fault.
    """
    words = [word for word in argv if word not in ("--help", "-h")]
    if len(words) < len(argv):
        text = help_text(config_class, stage=stage, default=default, about=about, argv=words)
        print(printable(text), file=output.out())  # values of a config from elsewhere stand in it
        sys.exit(0)
    parsed = given(config_class, words, default)
    return build(config_class, parsed.values, parsed.origins)


def given(config_class: type[BaseModel], words: list[str], default: str = "") -> Given:
    """Values of the file that applies and of the command line, and where each comes from."""
    file, overrides = _split(config_class, words)
    own: dict[str, Any] = {}
    for key, value in overrides:
        _assign(config_class, own, key, value)
    subject = getattr(config_class, "subject", ())
    named = next((key for key, value in flatten(own).items() if value and _within(key, subject)), "")
    source = file or ("" if named else default)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if source:
        path = config_file(source)
        values = read_yaml(path)
        check_keys(config_class, values, where=source)
        shown = f"configs/{path.relative_to(CONFIGS)}" if path.is_relative_to(CONFIGS) else str(path)
        origins = dict.fromkeys(flatten(values), shown)
    filed = flatten(values)
    for key, value in overrides:
        _assign(config_class, values, key, value)
    given = flatten(own)
    kept = {key: origin for key, origin in origins.items() if not _within(key, given) and not _contains(key, given)}
    for key, (switch, factor) in getattr(config_class, "scaled", {}).items():
        value = filed.get(key)
        if key in kept and isinstance(value, float | int) and _is_on(given, switch) and not _is_on(filed, switch):
            _assign(config_class, values, key, times(value, factor))
            kept[key] = f"{kept[key]} x {factor:g}, as {switch} is given"
    return Given(values, kept | dict.fromkeys(given, COMMAND_LINE), source, named)


def _is_on(values: dict[str, Any], option: str) -> bool:
    return str(values.get(option, 0)) != "0"


def _contains(key: str, names: Iterable[str]) -> bool:
    return any(name.startswith(f"{key}.") for name in names)


def _within(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def build(config_class: type[ConfigT], values: dict[str, Any], origins: dict[str, str] | None = None) -> ConfigT:
    """Validate; every problem that pydantic finds becomes one clear `UserError` line, which says of the options that
    it names where their values come from."""
    check_keys(config_class, values, where="")
    try:
        config = config_class(**values)
    except ValidationError as error:
        problems: list[str] = []
        seen: set[str] = set()
        for issue in error.errors():
            # In a union pydantic names the alternative that it tried, by its type; options have no such names.
            where = ".".join(str(part) for part in issue["loc"] if str(part).replace("_", "").isalnum())
            if where in seen and where:
                continue
            seen.add(where)
            hidden = isinstance(issue["input"], dict | BaseModel) or issue["type"] == SECRET
            got = "" if hidden else f" (got {issue['input']!r})"
            message = issue["msg"].removeprefix("Value error, ")
            problems.append(f"--{where}: {message}{got}" if where else message)
        raise UserError("; ".join([*problems, *_sources(config_class, problems, origins or {})])) from None
    config.__dict__["origins"] = origins or {}
    return config


def _sources(config_class: type[BaseModel], problems: list[str], origins: dict[str, str]) -> list[str]:
    """Where the options come from that contradict each other, unless all stand in the command itself."""
    words = {word for problem in problems for word in re.findall(r"[\w.]*\w", problem)}
    named = {key: origins.get(key, DEFAULT) for key in keys(config_class) if key in words}
    if len(named) < 2 or set(named.values()) == {COMMAND_LINE}:
        return []
    from_where = {COMMAND_LINE: "from the command line", DEFAULT: "the default"}
    return [", ".join(f"{key} is {from_where.get(at, f'from {at}')}" for key, at in named.items())]


def read_yaml(path: Path) -> dict[str, Any]:
    return yaml_file.read(path, "--config")


def config_file(name: str) -> Path:
    """A path as given, else a config that ships with the project (`grpo/tiny`, `configs/grpo/tiny.yaml`)."""
    for candidate in (Path(name), shipped(name), shipped(name.removeprefix("configs/"))):
        if candidate.is_file():
            return candidate
    raise UserError(f"--config {name}: no such file (shipped ones: {', '.join(shipped_names())})")


def shipped_names() -> list[str]:
    return sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))


def save(config: BaseModel, path: Path) -> None:
    write_atomically(path, yaml.safe_dump(to_plain(config), sort_keys=False))


# Command line to (key, value) pairs


def _split(config_class: type[BaseModel], argv: list[str]) -> tuple[str, list[tuple[str, Any]]]:
    file, pairs = "", []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise UserError(f"unexpected {word!r}: options are written --name value")
        name, has_value, text = word[2:].partition("=")
        name = name.replace("-", "_")
        if not has_value:
            flag = name != "config" and _is_flag(config_class, name)
            if words and not (words[0].startswith("--") or (flag and words[0].lower() not in ("true", "false"))):
                text = words.pop(0)
            elif flag:
                text = "true"
            else:
                if name != "config":
                    _check_path(config_class, name.split("."), given=f"--{name}")
                raise UserError(f"--{name} needs a value")
        if name == "config":
            file = text
        else:
            pairs.append((name, text))
    return file, pairs


def _is_flag(config_class: type[BaseModel], key: str) -> bool:
    return field_type(config_class, key.split(".")) is bool


def _assign(config_class: type[BaseModel], values: dict[str, Any], key: str, text: str | float) -> None:
    """Set the dotted `key` in nested `values`; lists and mappings are read as YAML."""
    path = key.split(".")
    _check_path(config_class, path, given=f"--{key}")
    annotation = field_type(config_class, path)
    value: Any = text
    if isinstance(text, str) and text[:1] in "[{" and annotation is not str:
        try:
            value = yaml_file.parse(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UserError(f"--{key}: not a YAML value: {text}") from None
    elif text == "null":
        value = None
    section = _section(annotation)
    if section is not None and isinstance(value, str) and not takes_plain_value(annotation):
        if section.shorthand is None:
            raise UserError(f"--{key} is a group of options; name one, e.g. --{key}.{next(iter(section.model_fields))}")
        path.append(section.shorthand)
    node = values
    for part in path[:-1]:
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    node[path[-1]] = value


# Walking the config classes


def _section(annotation: Any) -> type[Section] | None:
    """The `Section` inside an annotation (`X`, `X | None`), if there is one."""
    options = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    for option in options:
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def takes_plain_value(annotation: Any) -> bool:
    """Whether an option is a group or one value: `--rollout.workers 2`, `--rollout.workers.max 8`."""
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    return _is_union(annotation) and any(_section(option) is None for option in options)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def field_type(config_class: type[BaseModel], path: list[str]) -> Any:
    """Annotation of a dotted option; None where there is none (or inside a free mapping)."""
    field = config_class.model_fields.get(path[0])
    if field is None:
        return None
    if len(path) == 1:
        return field.annotation
    section = _section(field.annotation)
    return field_type(section, path[1:]) if section else None


def keys(config_class: type[BaseModel], prefix: str = "") -> list[str]:
    """Every option's dotted name."""
    names = []
    for name, field in config_class.model_fields.items():
        section = _section(field.annotation)
        names += keys(section, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return names


def _check_path(config_class: type[BaseModel], path: list[str], given: str) -> None:
    here: type[BaseModel] = config_class
    walked: list[str] = []
    for position, part in enumerate(path):
        field = here.model_fields.get(part)
        if field is None:
            raise unknown(config_class, ".".join([*walked, *path[position:]]), given)
        walked.append(part)
        section = _section(field.annotation)
        if section is None:
            if position + 1 < len(path) and "dict" not in str(field.annotation):
                raise unknown(config_class, ".".join(path), given)
            return
        here = section


def unknown(config_class: type[BaseModel], key: str, given: str) -> UserError:
    """The error for an option that does not exist; it names the nearest one that does."""
    known = keys(config_class)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.3)
    if not near:
        near = difflib.get_close_matches(key.split(".")[-1], [k.split(".")[-1] for k in known], n=1, cutoff=0)
        near = [k for k in known if k.split(".")[-1] == near[0]][:1] if near else known[:1]
    return UserError(f"unknown option {given}; did you mean {near[0]}?")


def check_keys(config_class: type[BaseModel], values: dict[str, Any], where: str, prefix: str = "") -> None:
    """Refuse unknown keys of a nested mapping, naming the nearest valid one."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        _check_path(config_class, key.split("."), given=f"{key} in {where}" if where else key)
        annotation = field_type(config_class, key.split("."))
        if isinstance(value, dict) and _section(annotation) is not None:
            check_keys(config_class, value, where, prefix=f"{key}.")


# Help


def help_text(config_class: type[BaseModel], *, stage: str, default: str, about: str, argv: Sequence[str] = ()) -> str:
    """Every option with the value that it has beside the words of `argv`, and where that comes from."""
    parsed = given(config_class, list(argv), default)
    lines = [f"usage: python -m srm_ray.{stage} [--config FILE] [--option value ...]", ""]
    if about:
        lines += [about.strip(), ""]
    lines += [f"  --config FILE   YAML file of options; {_which_file(parsed, default)}", ""]
    try:
        config = build(config_class, parsed.values)
        parsed = replace(parsed, values={})  # they are in the config
    except UserError:  # what a command with these values would be parsed; the help is how to mend it
        config = None
    return "\n".join(lines + _help_lines(config_class, config, parsed, ""))


def _which_file(parsed: Given, default: str) -> str:
    if not default:
        return f"here: {parsed.source or 'none'}"
    if not parsed.source:
        return f"here: none, as --{parsed.named} is given. With neither model nor data: {default}"
    why = ", the demo's, as neither a model nor data is named" if parsed.source == default else ""
    return f"here: {parsed.source}{why}"


def _help_lines(config_class: type[BaseModel], config: Any, parsed: Given, prefix: str) -> list[str]:
    """config: an instance, None where the values make none: then defaults are shown, and the values as given."""
    lines = []
    for name, field in config_class.model_fields.items():
        key, section = f"{prefix}{name}", _section(field.annotation)
        value = getattr(config, name) if config is not None else field.get_default(call_default_factory=True)
        inner = value if isinstance(value, Section) else None
        if section is not None and not takes_plain_value(field.annotation):
            lines += ["", f"  {key}: {field.description or (section.__doc__ or '').strip().splitlines()[0]}"]
            lines += _help_lines(section, inner, parsed, f"{key}.")
            continue
        value = _value_at(parsed.values, key, value)
        shown = "required" if value is PydanticUndefined else repr(value)
        origin = f", {parsed.origins[key]}" if key in parsed.origins else ""
        lines.append(f"  --{key} {_type_name(field.annotation)}  [{shown}{origin}]  {field.description or ''}")
        if section is not None:
            lines += _help_lines(section, inner, parsed, f"{key}.")
    return lines


def _value_at(values: dict[str, Any], key: str, otherwise: Any) -> Any:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return otherwise
        values = values[part]
    return values


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if (section := _section(annotation)) is not None and not _is_union(annotation):
        return "{" + ", ".join(section.model_fields) + "}"
    if _is_union(annotation):
        return "|".join(_type_name(a) for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(str(a) for a in typing.get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))
