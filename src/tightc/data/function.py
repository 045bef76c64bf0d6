"""A user's function, `package.module:function`, that returns data; importing it runs the code of its module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import operator
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.arrays import as_labels, as_pixels
from tightc.data.function_name import is_function_name
from tightc.data.function_origin import check_callable, check_importable
from tightc.data.images import Images, Split
from tightc.errors import DataError

_CONTRACT = "return Images, a torch Dataset, or another sequence of (image, label)"


def names_function(source: str) -> bool:
    """Whether `source` has the form of a function and no file or folder has that name."""
    return is_function_name(source) and not Path(os.path.expanduser(source)).exists()


def call_function(source: str, split: Split) -> Any:
    """Calls `function(split)`, or `function()` where it takes no argument, with the current folder on the import path.

    `source` is `package.module:function`. Returns what the function returns: a mapping of arrays, or what `images_from`
    takes. DataError, before anything is called, where it is not meant to return data; see `check_callable`.
    """
    check_importable(source, module_file(source))
    with imported_function(source) as function:
        check_callable(source, function, module_file(source), with_argument=takes(function, 1))
        return function(split) if takes(function, 1) else function()


def images_from(made: Any, shape: ImageShape, source: str) -> Images:
    """Images of the `shape` that a network takes, from what the function `source` returned.

    That is Images, or a torch Dataset or other sequence of (image, label). An image is a Pillow image, or an array or
    tensor of (height, width), (channels, height, width) or (height, width, channels); a label is an integer.
    """
    with _current_folder_importable(), _faults_of(source):
        if isinstance(made, Images):
            pixels = as_pixels(np.asarray(made.pixels), shape, f"{source}: pixels")
            labels = None if made.labels is None else as_labels(np.asarray(made.labels), f"{source}: labels")
            return Images(pixels, labels, tuple(made.classes))
        if isinstance(made, Mapping) or not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
            raise DataError(
                f"{source}: expected a sequence of (image, label), got a {type(made).__name__}", _CONTRACT
            )
        return _collect(made, shape, source)


@contextmanager
def imported_function(source: str) -> Iterator[Callable[..., Any]]:
    """The function that `package.module:function` names; while the context lasts, its faults become DataErrors."""
    with _current_folder_importable(), _faults_of(source):
        yield _find(source)


def takes(function: Callable[..., Any], arguments: int) -> bool:
    """Whether `function` can be called with so many `arguments`."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except (TypeError, ValueError):
        return False
    return True


def module_file(source: str) -> Path | None:
    """The file of the module that `package.module:function` names, None where it is not found.

    Its parent packages are imported only where the files alone do not lead to the module.
    """
    name, found = source.partition(":")[0], None
    with _current_folder_importable(), _faults_of(source), suppress(ImportError, ValueError):
        found = _spec_by_files(name) or importlib.util.find_spec(name)
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def _spec_by_files(name: str) -> ModuleSpec | None:
    """Like importlib.util.find_spec, but without importing parent packages; None where the module is not found."""
    parts, path = name.split("."), None
    spec: ModuleSpec | None = None
    for depth in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:depth]), path)
        except KeyError:  # nested namespace packages need the outer one to be imported
            return None
        if spec is None or (depth < len(parts) and spec.submodule_search_locations is None):
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _find(source: str) -> Callable[..., Any]:
    module_name, _, name = source.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as fault:
        missing = fault.name or module_name
        owner = "" if f"{module_name}.".startswith(f"{missing}.") else f", which {module_name} imports"
        raise DataError(
            f"{source}: expected module {missing}{owner}, got none",
            f"install it, or run in its folder (here: {os.getcwd()})",
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and not n.startswith("_")]
        raise DataError(
            f"{source}: expected function {name} in {module_name}, got none",
            f"give one of its functions: {', '.join(sorted(own)) or 'there are none'}",
        )
    return function  # type: ignore[no-any-return]


def _collect(made: Any, shape: ImageShape, source: str) -> Images:
    pixels: list[NDArray[Any]] = []
    labels: list[int] = []
    for index in range(len(made)):
        try:
            image, label = made[index]
        except (TypeError, ValueError):
            raise DataError(
                f"{source}: item {index}: expected a pair (image, label), got another object", _CONTRACT
            ) from None
        pixels.append(_array(image, shape))
        if pixels[-1].shape != pixels[0].shape:
            raise DataError(
                f"{source}: image {index}: expected the shape of image 0, {pixels[0].shape}, got {pixels[-1].shape}",
                "resize the images to one size",
            )
        try:
            labels.append(operator.index(label))
        except TypeError:
            raise DataError(
                f"{source}: image {index}: expected an integer label, got {label!r}",
                "number the classes from 0",
            ) from None
    if not pixels:
        raise DataError(f"{source}: expected images, got none", _CONTRACT)
    return Images(as_pixels(np.stack(pixels), shape, source), np.array(labels, np.int64))


def _array(image: Any, shape: ImageShape) -> NDArray[Any]:
    if hasattr(image, "convert") and hasattr(image, "mode"):  # a Pillow image
        image = image.convert("L" if shape.channels == 1 else "RGB")
    return np.asarray(image)


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


@contextmanager
def _faults_of(source: str) -> Iterator[None]:
    """Raises DataError in place of any exception of the user's function, with its kind and place."""
    try:
        yield
    except DataError:
        raise
    except Exception as fault:
        where = traceback.extract_tb(fault.__traceback__)[-1]
        raise DataError(
            f"{source}: it raised {type(fault).__name__}: {fault} ({where.filename}, line {where.lineno})",
            "correct the function",
        ) from fault
