"""Options from YAML files, with errors that name the file, the line and the key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from tightc.config.options import Options, first_problem, inner_options, problem_message
from tightc.errors import ConfigError
from tightc.input_file import read_stream

Location = tuple[int | str, ...]

_MOST_BYTES = 2**20
_MOST_VALUES = 20_000
_LONG_TEXT = 64  # letters that count as a value, since aliases repeat these too
_MERGE = "tag:yaml.org,2002:merge"
Chosen = TypeVar("Chosen", bound=Options)

_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?[0-9]+$"),
    "tag:yaml.org,2002:float": re.compile(
        r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|nan)$", re.IGNORECASE
    ),
}


def read_options(path: str | Path, kind: type[Chosen]) -> Chosen:
    """The options of `kind` in the YAML file at `path`; ConfigError names file, line, key and what is expected."""
    path = Path(path)
    try:
        text = read_stream(path, _MOST_BYTES, ConfigError).decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", "check the path of the YAML file") from None
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read as text ({fault})", "give a YAML file") from None
    return parse_options(text, str(path), kind, path.parent)


def parse_options(text: str, origin: str, kind: type[Chosen], folder: Path | None = None) -> Chosen:
    """As `read_options`, from text; `origin` names it in errors.

    Nested options may be the path of another YAML file, relative to `folder`.
    """
    lines: dict[Location, int] = {}
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _require_few(root, {}, set())
        value = {} if root is None else _value(root, (), lines, origin)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise ConfigError(f"{origin}:{line}: not YAML ({fault.problem})", "mend the line") from None
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        ValueError,
        RecursionError,
    ) as fault:
        # what PyYAML raises on invalid characters, invalid values and deep nesting
        reason = str(fault).splitlines()[0]
        raise ConfigError(f"{origin}:1: cannot be read as YAML ({reason})", "mend the file") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}:1: holds no keys", f"give keys such as {', '.join(kind.model_fields)}")
    _read_files(value, kind, folder or Path(), {})
    try:
        return kind.model_validate(value)
    except ValidationError as invalid:
        first = first_problem(invalid)
        location = (*first["loc"], *first.get("ctx", {}).get("at", ()))
        sentence, remedy = problem_message(kind, first)
        key = ".".join(str(part) for part in location)
        where = f"{origin}:{_line(location, lines)}"
        raise ConfigError(f"{where}: {key}: {sentence}" if key else f"{where}: {sentence}", remedy) from None


def _read_files(
    values: dict[str, Any],
    kind: type[Options],
    folder: Path,
    found: dict[tuple[Path, type[Options]], Options],
) -> None:
    """Replaces, in place, paths of YAML files by the options in them; `found` are those that were read before."""
    for name, field in kind.model_fields.items():
        inner, value = inner_options(field.annotation), values.get(name)
        if inner is None:
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                _read_files(item, inner, folder, found)
        if isinstance(value, str) and value.endswith((".yaml", ".yml")):
            path = folder / os.path.expanduser(value)
            if (path, inner) not in found:
                found[path, inner] = read_options(path, inner)
            values[name] = found[path, inner]


def _require_few(node: yaml.Node, counts: dict[int, int], within: set[int]) -> int:
    """The values in `node`, with those that aliases repeat; YAMLError where they are more than a file may have.

    `counts` has the values in nodes by id, `within` the nodes that contain this one.
    """
    if id(node) in within:
        raise yaml.YAMLError("an alias in what it stands for")
    if id(node) not in counts:
        within.add(id(node))
        total = 1
        if isinstance(node, yaml.ScalarNode):
            total += len(node.value) // _LONG_TEXT
        else:
            for item in node.value:
                for part in item if isinstance(item, tuple) else (item,):
                    total += _require_few(part, counts, within)
        if total > _MOST_VALUES:
            raise yaml.YAMLError(f"more than {_MOST_VALUES:,} values, with those that aliases repeat")
        counts[id(node)] = total
        within.remove(id(node))
    return counts[id(node)]


class _Loader(yaml.SafeLoader):
    """Safe, with the numbers of YAML 1.2: 1e-3 is a number, and 0x32 is text (an array with no rows)."""

    composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML does it, up to a number of nodes: it takes a second for a few thousand."""
        self.composed += 1
        if self.composed > _MOST_VALUES:
            raise yaml.YAMLError(f"more than {_MOST_VALUES:,} values")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))


def _decimal(_loader: yaml.SafeLoader, node: yaml.Node) -> int:
    """An integer; YAML 1.1, which PyYAML reads, would take 010 for eight."""
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def _value(node: yaml.Node, location: Location, lines: dict[Location, int], origin: str) -> Any:
    """The plain value of `node`; adds the line of every key to `lines`."""
    lines[location] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*location, i), lines, origin) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        loader = _Loader("")
        return loader.construct_object(node, deep=True)
    values: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                f"{origin}:{line}: expected a name as key, got a list or mapping", "give a name"
            )
        key = str(key_node.value)
        if key_node.tag == _MERGE:
            merged |= _merged(value_node, location, lines, origin, line)
            continue
        if key in values:
            raise ConfigError(f"{origin}:{line}: {key} is given twice", "keep one of them")
        values[key] = _value(value_node, (*location, key), lines, origin)
        lines[(*location, key)] = line
    return {**merged, **values}


def _merged(
    node: yaml.Node, location: Location, lines: dict[Location, int], origin: str, line: int
) -> dict[str, Any]:
    """The keys that `<<` takes from a mapping, or from a list of mappings, of which the first wins."""
    sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(source, yaml.MappingNode) for source in sources):
        got = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list of others"
        raise ConfigError(
            f"{origin}:{line}: <<: expected a mapping or a list of mappings, got {got}",
            "give an alias such as *base",
        )
    found: dict[str, Any] = {}
    for source in reversed(sources):
        found |= _value(source, location, lines, origin)
    return found


def _line(location: Location, lines: dict[Location, int]) -> int:
    while location not in lines and location:
        location = location[:-1]
    return lines.get(location, 1)
