"""Pruning by masks that a user gives: exactly the weights under a 0 become zero."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import OptionError
from tightc.input_file import refuse_url
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_names import names_of
from tightc.model.layer_view.layers import Network
from tightc.npz_file import open_npz
from tightc.report import join_names

_ENDING = "_mask"  # which torch.nn.utils.prune appends to the name of a weight
_SHOWN = 3  # names of an error

Masks = Mapping[str, Any]
Kept = dict[str, NDArray[np.bool_]]


def read_masks(network: Network, source: str, masks: Masks | None) -> Kept:
    """Which weights of the layers of `network` stay, by the name of the weight.

    `masks`: arrays of 0 and 1, or bool, in the shape of the weight, by its name or a name of its layer, `_mask`
    appended or not; None reads them from the .npz file `source`, which names them in errors. OptionError where a mask
    does not fit, DataError where the file is no .npz file.
    """
    with _opened(source, masks) as found:
        return _by_weight(network, source, found)


def masked(model: Model, network: Network, kept: Kept) -> tuple[Model, tuple[str, ...]]:
    """The plain `model` with the weights that are not `kept` set to zero, and what to note.

    `network`: its layers. Layers without a mask stay as they are.
    """
    weights = {name: _masked_weight(network, name, mask) for name, mask in kept.items()}
    notes = []
    untouched = [layer.label for layer in network.owners if layer.weight not in kept]
    if untouched:
        notes.append(f"{join_names(untouched)}: no mask, so the weights stay as they are")
    empty = [
        layer.label for layer in network.owners if layer.weight in weights and not weights[layer.weight].any()
    ]
    if empty:
        notes.append(f"{join_names(empty)}: no weight is left")
    return network.store(model, weights), tuple(notes)


def masks_sha256(kept: Kept) -> str:
    """A digest of names and masks, whatever their order and dtype were."""
    digest = hashlib.sha256()
    for name in sorted(kept):
        digest.update(name.encode() + b"\0" + np.packbits(kept[name]).tobytes())
    return digest.hexdigest()


def _masked_weight(network: Network, name: str, mask: NDArray[np.bool_]) -> NDArray[Any]:
    weight = network.weights[name]
    return np.where(mask, weight, weight.dtype.type(0))


@contextmanager
def _opened(source: str, masks: Masks | None) -> Iterator[Masks]:
    if masks is not None:
        yield masks
        return
    try:
        with open_npz(source) as arrays:
            yield arrays
    except OSError as fault:
        refuse_url(source, OptionError)
        reason = fault.strerror or fault
        raise OptionError(f"--mask: {source}: cannot be read ({reason})", "check the path") from None


def _by_weight(network: Network, source: str, masks: Masks) -> Kept:
    """The masks, checked, by the name of their weight."""
    if not masks:
        raise OptionError(f"--mask: {source}: expected masks, got none", "store one for each layer to prune")
    layers = _layers_by_name(network)
    found: Kept = {}
    given: dict[str, str] = {}
    for name in masks:
        layer = _layer(layers, name, source)
        if layer.weight in given:
            raise OptionError(
                f"--mask: {source}: expected one mask for {layer.weight}, got {given[layer.weight]} and {name}",
                "leave one out",
            )
        given[layer.weight] = name
        found[layer.weight] = _checked(masks[name], network.shapes[layer.weight], f"--mask: {source}: {name}")
    return found


def _layers_by_name(network: Network) -> dict[str, Layer]:
    """Each layer by its names; a weight goes before the label or the node of another layer."""
    names = {name: layer for layer in network.owners for name in names_of(layer)}
    return names | {layer.weight: layer for layer in network.owners}


def _layer(layers: Mapping[str, Layer], name: str, source: str) -> Layer:
    plain = str(name).removesuffix(_ENDING)
    for candidate in (name, plain, f"{plain}_orig", plain.removesuffix(".weight")):
        if candidate in layers:
            return layers[candidate]
    weights = list(dict.fromkeys(layer.weight for layer in layers.values()))
    nearest = difflib.get_close_matches(plain, weights, n=1, cutoff=0.4)
    shown = ", ".join(weights[:_SHOWN]) + (", ..." if len(weights) > _SHOWN else "")
    raise OptionError(
        f"--mask: {source}: expected the name of a layer's weight, got {name!r}",
        f"did you mean {nearest[0]}?" if nearest else f"give one of {shown}",
    )


def _checked(given: Any, shape: tuple[int, ...], what: str) -> NDArray[np.bool_]:
    """The mask as bool; OptionError, which `what` begins, where it is none for a weight of that `shape`."""
    mask = np.asarray(given)
    if mask.dtype.kind not in "biuf":
        raise OptionError(f"{what}: expected 0 and 1, or bool, got {mask.dtype}", "store numbers")
    if mask.shape != shape:
        transposed = len(shape) == 2 and mask.shape == shape[::-1]
        raise OptionError(
            f"{what}: expected {_sizes(shape)}, the shape of the weight, got {_sizes(mask.shape)}",
            "transpose it, as the export did with the weight"
            if transposed
            else "store a number for each weight",
        )
    wrong = np.flatnonzero((mask != 0) & (mask != 1))
    if len(wrong):
        place = np.unravel_index(wrong[0], shape)
        raise OptionError(
            f"{what}: expected 0 and 1, or bool, got {mask[place]} at ({', '.join(map(str, place))})",
            "store 1 for the weights that stay and 0 for the others",
        )
    return mask.astype(bool)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
