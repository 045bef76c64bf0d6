"""Options from YAML files, with errors that name the file, the line and the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from tightc.config.options import Options, faults_of, inner_options
from tightc.config.shipped import find_file
from tightc.errors import ConfigError
from tightc.input_file import read_stream

Location = tuple[int | str, ...]

_MOST_BYTES = 2**20
_MOST_VALUES = 20_000
_MOST_FAULTS = 20  # lines of an error
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
    """The options of `kind` in the YAML file at `path`.

    ConfigError names the file, and of each fault the line, the key and what is expected.
    """
    return parse_options(read_text(path), str(path), kind, Path(path).parent)


def read_text(path: str | Path) -> str:
    """The text of the YAML file at `path`; ConfigError where it cannot be read."""
    try:
        return read_stream(path, _MOST_BYTES, ConfigError).decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", "check the path of the YAML file") from None
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read as text ({fault})", "give a YAML file") from None


def options_in(text: str, kind: type[Chosen], folder: Path = Path()) -> Chosen | str:
    """The options of `kind` in the file that `text` names; `text` itself where it names none, as `find_file` says."""
    path = find_file(text, kind.shipped, folder)
    return text if path is None else read_options(path, kind)


def parse_options(text: str, origin: str, kind: type[Chosen], folder: Path | None = None) -> Chosen:
    """As `read_options`, from text; `origin` names it in errors.

    Nested options may be the path of another YAML file, relative to `folder`, or the name of one that comes with
    tightc. All faults are in one error.
    """
    document = _Document(origin)
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _require_few(root, {}, set())
        value = {} if root is None else document.value(root, ())
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
    nested = _NestedFiles(folder or Path())
    nested.read(value, kind, ())
    try:
        options = kind.model_validate(value)
    except ValidationError as invalid:
        for location, sentence, remedy in faults_of(kind, invalid):
            if location not in nested.faults:
                key = ".".join(map(str, location))
                document.add(
                    _line(location, document.lines), f"{key}: {sentence}" if key else sentence, remedy
                )
    else:
        if not document.faults:
            return options
    for location, error in nested.faults.items():
        document.faults.append((_line(location, document.lines), error))
    raise document.error()


class _NestedFiles:
    """The YAML files that options within options name, each read once.

    `faults`: what is wrong with such a file, by the keys that lead to its name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[Path, type[Options]], Options | ConfigError] = {}
        self.faults: dict[Location, ConfigError] = {}

    def read(self, values: dict[str, Any], kind: type[Options], location: Location) -> None:
        """Replaces, in place, names of files by the options in them; a name of none is left for the validation."""
        for name, field in kind.model_fields.items():
            inner, value = inner_options(field.annotation), values.get(name)
            if inner is None:
                continue
            at = (*location, name)
            if isinstance(value, dict):
                self.read(value, inner, at)
            for index, item in enumerate(value if isinstance(value, list) else ()):
                if isinstance(item, dict):
                    self.read(item, inner, (*at, index))
            path = find_file(value, inner.shipped, self._folder) if isinstance(value, str) else None
            if path is not None:
                self._replace(values, at, path, inner)

    def _replace(self, values: dict[str, Any], at: Location, path: Path, kind: type[Options]) -> None:
        if (path, kind) in self._found:
            found = self._found[path, kind]
        else:
            try:
                found = read_options(path, kind)
            except ConfigError as error:
                found = error
            self._found[path, kind] = found
        if isinstance(found, ConfigError):
            self.faults[at] = found
        else:
            values[str(at[-1])] = found


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


class _Document:
    """A YAML file as plain values: the line of every key, and what is wrong, with its line."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.lines: dict[Location, int] = {}
        self.faults: list[tuple[int, ConfigError]] = []

    def add(self, line: int, sentence: str, remedy: str) -> None:
        """Notes what is wrong in a line."""
        self.faults.append((line, ConfigError(f"{self._origin}:{line}: {sentence}", remedy)))

    def error(self) -> ConfigError:
        """All that is wrong as one error, in the order of the lines; each file that is named is shown of once."""
        ordered = [error for _, error in sorted(self.faults, key=lambda fault: fault[0])]
        parts = [(part.sentence, part.remedy) for error in ordered for part in (error, *error.more)]
        first, *more = (ConfigError(*part) for part in dict.fromkeys(parts))
        shown = _MOST_FAULTS - 2  # of `more`, since a last line counts the others
        if len(more) > shown + 1:
            more[shown:] = [
                ConfigError(f"{self._origin}: {len(more) - shown} more faults", "mend these first")
            ]
        return ConfigError(first.sentence, first.remedy, more)

    def value(self, node: yaml.Node, location: Location) -> Any:
        """The plain value of `node`; adds the line of every key to `lines`."""
        self.lines[location] = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, i)) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            loader = _Loader("")
            return loader.construct_object(node, deep=True)
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.add(line, "expected a name as key, got a list or mapping", "give a name")
                continue
            key = str(key_node.value)
            if key_node.tag == _MERGE:
                merged |= self._merged(value_node, location, line)
                continue
            if key in values:
                self.add(line, f"{key} is given twice", "keep one of them")
                continue
            values[key] = self.value(value_node, (*location, key))
            self.lines[(*location, key)] = line
        return {**merged, **values}

    def _merged(self, node: yaml.Node, location: Location, line: int) -> dict[str, Any]:
        """The keys that `<<` takes from a mapping, or from a list of mappings, of which the first wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(source, yaml.MappingNode) for source in sources):
            got = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list of others"
            self.add(
                line,
                f"<<: expected a mapping or a list of mappings, got {got}",
                "give an alias such as *base",
            )
            return {}
        found: dict[str, Any] = {}
        for source in reversed(sources):
            found |= self.value(source, location)
        return found


def _line(location: Location, lines: dict[Location, int]) -> int:
    while location not in lines and location:
        location = location[:-1]
    return lines.get(location, 1)
