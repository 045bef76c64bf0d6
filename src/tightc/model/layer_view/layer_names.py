"""Names of layers: the readable one that tables show, and the layers that a user's name or pattern means."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from tightc.errors import OptionError
from tightc.model.layer_view.layer import Layer
from tightc.report import join_names

# how torch names the weight of a module: plainly, under torch.nn.utils.prune, and under a parametrization
_OF_MODULE = re.compile(r"(.+)\.(?:weight|weight_orig|parametrizations\.weight\.original\d?)")
# how torch's older exporter names a weight that it computes
_NUMBERED = re.compile(r"onnx::\w+_\d+")
# what tightc and onnxruntime append to the name of a weight that they quantize
_QUANTIZED = re.compile(r"(.+)(?:\.int8|_quantized)")


def with_modules(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """`layers` with their modules; one that shares the weight of an earlier layer has none."""
    names = [layer.name for layer in layers]
    modules = unique_modules(names, ["" if layer.shared_with else layer.weight for layer in layers])
    return tuple(replace(layer, module=module) for layer, module in zip(layers, modules, strict=True))


def unique_modules(names: Sequence[str], weights: Sequence[str]) -> list[str | None]:
    """The path of the torch module that owns each of `weights`, as `conv1` of `conv1.weight`.

    `names` are those of the layers of these weights; they tell the path where torch's older exporter has folded a
    BatchNormalization and numbered the weight. None where neither has such a name, or where the path is also that of
    another weight or the name of another layer.
    """
    modules = [_module_of(name, _float_name(weight)) for name, weight in zip(names, weights, strict=True)]
    others = Counter(name for name, module in zip(names, modules, strict=True) if name != module)
    times = Counter(modules)
    return [module if times[module] == 1 and not others[module or ""] else None for module in modules]


def _module_of(name: str, weight: str) -> str | None:
    """The module of a `weight`, read by the node `name`: of `/layer1/layer1.0/conv1/Conv` it is `layer1.0.conv1`.

    A part that begins with the one before it and a dot is a child of a Sequential.
    """
    match = _OF_MODULE.fullmatch(weight)
    if match:
        return match[1]
    if not _NUMBERED.fullmatch(weight) or not name.startswith("/"):
        return None
    path = before = ""
    for part in name.split("/")[1:-1]:
        path += part[len(before) :] if before and part.startswith(f"{before}.") else f".{part}"
        before = part
    return path[1:] or None


def find_layers(layers: Sequence[Layer], pattern: str, option: str) -> list[Layer]:
    """The `layers` whose name, label or weight is `pattern`, or matches it where it is a pattern such as `layer1.*`.

    The name of a node goes before the label or weight of another layer. OptionError, naming the `option`, where there
    is none.
    """
    found = _named(layers, pattern)
    found = found or [
        layer for layer in layers if any(fnmatchcase(name, pattern) for name in names_of(layer))
    ]
    if not found:
        raise _unknown(layers, pattern, option)
    return found


def find_layer(layers: Sequence[Layer], name: str, option: str) -> Layer:
    """The first of the `layers` with `name` as its name, label or weight; OptionError, naming the `option`, if none."""
    found = _named(layers, name)
    if not found:
        raise _unknown(layers, name, option)
    return found[0]


def _named(layers: Sequence[Layer], name: str) -> list[Layer]:
    return [layer for layer in layers if layer.name == name] or [
        layer for layer in layers if name in names_of(layer)
    ]


def names_of(layer: Layer) -> tuple[str, ...]:
    """The names by which a user may mean `layer`: its node, its label, its weight, also before that was quantized."""
    return layer.name, layer.label, layer.weight, _float_name(layer.weight)


def _float_name(weight: str) -> str:
    """The name that a weight had before it was quantized."""
    found = _QUANTIZED.fullmatch(weight)
    return found[1] if found else weight


def _unknown(layers: Sequence[Layer], name: str, option: str) -> OptionError:
    known = dict.fromkeys(name for layer in layers for name in (layer.label, *names_of(layer)))
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    more = ", which tightc inspect lists" if len(layers) > 3 else ""
    return OptionError(
        f"{option}: expected the name of a layer, got {name!r}",
        f"did you mean {nearest[0]}?"
        if nearest
        else f"give one of {join_names([layer.label for layer in layers])}{more}",
    )
