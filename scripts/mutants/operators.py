"""Mutants of a module: small changes of its syntax tree, each of which a test ought to notice.

Not changed are texts (docstrings, messages), annotations, decorators, imports and the arguments of `raise`.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_PAIRS = (
    ("min", "max"),
    ("minimum", "maximum"),
    ("argmin", "argmax"),
    ("any", "all"),
    ("ceil", "floor"),
)
_OPPOSITE = {**dict(_PAIRS), **{second: first for first, second in _PAIRS}}
_UNORDERED = {
    "isinstance",
    "getattr",
    "cast",
    "zip",
    *_OPPOSITE,
}  # swapping their arguments is no mutant worth a run

TEXT = "text"  # the kind of a mutant that was made by hand: one text in place of another

Change = tuple[
    str, Callable[[], ast.AST | None]
]  # what kind, and the node that takes the place; None: removed


@dataclass(frozen=True)
class _Place:
    """A node that may be changed, the function that it is in, and the lines of its statement."""

    node: ast.AST
    function: str
    lines: tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change: of `before` to `after`, the `number`-th of its like in `function` of `file`."""

    file: str
    function: str
    kind: str
    before: str
    after: str
    number: int
    lines: tuple[int, int]  # first and last line of the statement, without the statements in it
    line: int
    place: int  # in the order of `mutants_of`

    @property
    def name(self) -> str:
        """What stays the same when lines move."""
        if self.kind == TEXT:
            before, after = (" ".join(text.split()) for text in (self.before, self.after))
            return f"{self.file} made by hand: {before} -> {after or 'removed'}"
        times = f" ({self.number + 1})" if self.number else ""
        return f"{self.file} {self.function}: {self.before} -> {self.after}{times}"


def mutants_of(file: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for number, (place, (kind, made)) in enumerate(_changes(ast.parse(source))):
        after = made()
        key = (place.function, _text(place.node), _text(after) if after else "removed")
        line = place.node.lineno
        found.append(Mutant(file, key[0], kind, key[1], key[2], seen[key], place.lines, line, number))
        seen[key] += 1
    return found


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The tree of a module with one change; the lines of the functions stay where they are."""
    if mutant.kind == TEXT:
        return ast.parse(source.replace(mutant.before, mutant.after))
    tree = ast.parse(source)
    where, (_, made) = next(islice(_changes(tree), mutant.place, None))
    return ast.fix_missing_locations(_Replace(where.node, made()).visit(tree))


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST | None) -> None:
        self._old = old
        self._new = ast.copy_location(new if new is not None else ast.Pass(), old)

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:120]


def _changes(tree: ast.Module) -> Iterator[tuple[_Place, Change]]:
    """Every node that may be changed, and how."""
    for statement in tree.body:
        yield from _within(_Place(statement, "module", (1, 1)))


def _within(place: _Place) -> Iterator[tuple[_Place, Change]]:
    node, function, lines = place.node, place.function, place.lines
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = node.name if function == "module" else f"{function}.{node.name}"
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        lines = node.lineno, body[0].lineno - 1 if body else node.end_lineno or node.lineno
    for change in _own_changes(node, function):
        yield _Place(node, function, lines), change
    for child in _children(node):
        yield from _within(_Place(child, function, lines))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that may be changed."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise | ast.Assert):
        return
    if isinstance(node, ast.If) and _text(node.test) == "TYPE_CHECKING":
        return
    left_out = {
        "annotation",
        "returns",
        "decorator_list",
        "type_params",
        "bases",
        "keywords" if isinstance(node, ast.ClassDef) else "",
    }
    for name, value in ast.iter_fields(node):
        if name not in left_out:
            yield from (
                one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)
            )


def _own_changes(node: ast.AST, function: str) -> Iterator[Change]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                yield (
                    "comparison",
                    lambda i=index, o=operator: _with_operator(node, i, _COMPARISONS[type(o)]()),
                )
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "boolean", lambda: ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield "boolean", lambda: node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC and not (
            _is_text(node.left) or _is_text(node.right)
        ):
            yield "arithmetic", lambda: ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in _ARITHMETIC and not _is_text(node.value):
            yield "arithmetic", lambda: ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            yield "statement", lambda: None
        case ast.Constant(value=bool()):
            yield "constant", lambda: ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield "constant", lambda: ast.Constant(node.value + 1)
            yield "constant", lambda: ast.Constant(node.value - 1)
        case ast.Subscript(slice=ast.Slice()) if function != "module":
            yield from _slices(node, node.slice)
        case ast.Call():
            yield from _calls(node)
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue():
            yield "statement", lambda: None
        case ast.Break():
            yield "statement", lambda: ast.Continue()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement", lambda: None
        case ast.Return(value=ast.AST()) if not _is_text(node.value):
            if not isinstance(node.value, ast.Constant):
                yield "return", lambda: ast.Return(ast.Constant(None))
        case ast.If() | ast.IfExp() | ast.While() if isinstance(
            node.test, ast.Name | ast.Call | ast.Attribute
        ):
            if _text(node.test) != "TYPE_CHECKING":
                yield "condition", lambda: _with_test(node)


def _with_operator(node: ast.Compare, index: int, operator: ast.cmpop) -> ast.Compare:
    return ast.Compare(node.left, [*node.ops[:index], operator, *node.ops[index + 1 :]], node.comparators)


def _with_test(node: ast.If | ast.IfExp | ast.While) -> ast.AST:
    changed = deepcopy(node)
    changed.test = ast.copy_location(ast.UnaryOp(ast.Not(), changed.test), node.test)
    return changed


def _slices(node: ast.Subscript, cut: ast.Slice) -> Iterator[Change]:
    if cut.lower is not None:
        yield "slice", lambda: ast.Subscript(node.value, ast.Slice(None, cut.upper, cut.step), node.ctx)
    if cut.upper is not None:
        yield "slice", lambda: ast.Subscript(node.value, ast.Slice(cut.lower, None, cut.step), node.ctx)
    if cut.step is not None:
        yield "slice", lambda: ast.Subscript(node.value, ast.Slice(cut.lower, cut.upper, None), node.ctx)


def _calls(node: ast.Call) -> Iterator[Change]:
    called = node.func
    name = (
        called.attr
        if isinstance(called, ast.Attribute)
        else called.id
        if isinstance(called, ast.Name)
        else ""
    )
    if name in _OPPOSITE:
        other = (
            ast.Attribute(called.value, _OPPOSITE[name], ast.Load())
            if isinstance(called, ast.Attribute)
            else ast.Name(_OPPOSITE[name], ast.Load())
        )
        yield "opposite", lambda: ast.Call(other, node.args, node.keywords)
    first = node.args[:2]
    plain = len(first) == 2 and not any(isinstance(one, ast.Starred) for one in first)
    if (
        plain
        and name not in _UNORDERED
        and _text(first[0]) != _text(first[1])
        and not any(map(_is_text, first))
    ):
        yield "arguments", lambda: ast.Call(called, [first[1], first[0], *node.args[2:]], node.keywords)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
