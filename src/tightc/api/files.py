"""Reading and writing: models, images, and the files that come with tightc."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import ArrayLike

from tightc.api.arguments import python_errors, require_model
from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import InputSpec
from tightc.data.images import Images, Normalization, NormalizedImages, Split, check_images
from tightc.data.samples import Samples, samples_of
from tightc.errors import DataError, OptionError
from tightc.model.file import Model, load_model, load_model_bytes, save_model
from tightc.model.reading.normalize import ReadingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = Path(__file__).parents[1]


@python_errors
def load(source: str | PathLike[str] | bytes | onnx.ModelProto, *, keep_overridable: bool = False) -> Model:
    """Read and check an ONNX model.

    Parameters
    ----------
    source : str, PathLike, bytes or onnx.ModelProto
        A file, with its files of external data beside it; or the content of a file; or a model in memory.
    keep_overridable : bool, default False
        Keep initializers that are inputs too as inputs; layers that read one stay dense.

    Returns
    -------
    Model
        The model with all tensors embedded; ModelError where it is not valid ONNX.
    """
    options = ReadingOptions(keep_overridable)
    if isinstance(source, str | PathLike):
        return load_model(Path(source), options)
    if isinstance(source, bytes | bytearray | memoryview):
        return load_model_bytes(bytes(source), "<bytes>", options)
    if isinstance(source, onnx.ModelProto):
        return load_model_bytes(source.SerializeToString(), "<ModelProto>", options)
    raise OptionError(
        f"source: expected a path, bytes or an onnx.ModelProto, got {type(source).__name__}",
        "give the path of an ONNX file",
    )


@python_errors
def save(model: Model, path: str | PathLike[str]) -> None:
    """Write a model atomically.

    Parameters
    ----------
    model : Model
        The model; one that came with external data is written with external data.
    path : str or PathLike
        The file to write; a file that is there is replaced.
    """
    save_model(require_model(model), Path(path))


@python_errors
def load_images(
    source: str | PathLike[str] | tuple[ArrayLike, ArrayLike] | Mapping[str, ArrayLike],
    model: Model | Sequence[int | None],
    *,
    split: Split = "train",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    resize: int | None = None,
    crop: int | None = None,
) -> NormalizedImages | Samples:
    """Read images, in the size that a model takes, or an array for each of its inputs.

    Parameters
    ----------
    source : str, PathLike, tuple of arrays or mapping
        A folder of class folders of images, a .tar, .tar.gz or .tgz of that, an .npz with x and y, CIFAR-10 python
        batches, MNIST IDX files or "package.module:function". Or (pixels, labels): pixels are
        (images, channels, height, width), uint8 or float32, labels are (images,) integers. Or an .npz, or a mapping,
        with an array for each input of the model by name, and optionally labels as y.
    model : Model or sequence of int or None
        The model that the images are for, or (channels, height, width); None leaves a size open.
    split : {'train', 'test'}, default 'train'
        The split to read; a source without splits gives all images for either.
    mean : float or sequence of float, default 0.0
        Subtracted from pixels / 255 (float pixels are not divided): one number, or one for each channel.
    std : float or sequence of float, default 1.0
        The divisor after that: one number, or one for each channel.
    resize : int, optional
        The shorter side of image files after resizing, in pixels; then the center is cut out. Large sets are decoded
        when they are needed.
    crop : int, optional
        The side of the center that is cut out of image files, by default with `resize` the size of the model's input.

    Returns
    -------
    NormalizedImages or Samples
        What the `images` parameter of the verbs takes, with labels where the source has them; Samples where it has
        an array for each input. DataError where the data do not fit.
    """
    from tightc.data.options import DataOptions

    if split not in ("train", "test"):
        raise OptionError(f"split: expected 'train' or 'test', got {split!r}", "give split='train'")
    is_path = isinstance(source, str | PathLike)
    options = DataOptions(
        data=str(source) if is_path else "<arrays>",
        mean=mean,  # type: ignore[arg-type]
        std=std,  # type: ignore[arg-type]
        resize=resize,
        crop=crop,
    )
    if is_path:
        return options.open_for(split, _inputs(model), labeled=False)
    if options.framing is not None:
        raise OptionError("resize: expected image files, got arrays", "leave resize and crop out")
    if isinstance(source, Mapping):
        arrays = {name: np.asarray(array) for name, array in source.items()}
        return samples_of(arrays, _inputs(model), "arrays")
    return _images_of_arrays(source, _image_shape(model), options.normalization)


def examples() -> Path:
    """Folder of the example that comes with tightc: digits.onnx, digits.npz and the recipe digits.yaml.

    Returns
    -------
    Path
        The folder.
    """
    return _PACKAGE / "example"


def configs() -> Path:
    """Folder of the configuration files that come with tightc: schedules, hardware, energy, CI jobs and a recipe.

    Returns
    -------
    Path
        The folder, with subfolders schedules, hardware, energy, area and ci.
    """
    return _PACKAGE / "configs"


def _inputs(model: Model | Sequence[int | None]) -> tuple[InputSpec, ...]:
    if isinstance(model, list | tuple) and len(model) == 3 and isinstance(model[0], int):
        return (InputSpec("image", "float32", (None, *model)),)
    from tightc.model.layer_view.network_inputs import network_inputs

    network = require_model(model)
    return network_inputs(network.proto, network.origin)


def _image_shape(model: Model | Sequence[int | None]) -> ImageShape:
    if isinstance(model, list | tuple) and len(model) == 3 and isinstance(model[0], int):
        return ImageShape(*model)
    from tightc.model.layer_view.image_classifier import image_input

    network = require_model(model)
    return image_input(network.proto, network.origin).shape


def _images_of_arrays(source: Any, shape: ImageShape, normalization: Normalization) -> NormalizedImages:
    if not isinstance(source, list | tuple) or len(source) != 2:
        raise OptionError(
            f"source: expected a path or (pixels, labels), got {type(source).__name__}",
            "give such as images/",
        )
    pixels, labels = (np.asarray(array) for array in source)
    if pixels.dtype not in (np.uint8, np.float32) or labels.dtype.kind not in "iu":
        raise DataError(
            f"expected pixels of uint8 or float32 and labels of integers, got {pixels.dtype} and {labels.dtype}",
            "convert them with astype",
        )
    images = Images(pixels, labels.astype(np.int64))
    check_images(images, shape, "arrays")
    normalization.check(pixels.shape[1])
    return NormalizedImages(images, normalization)
