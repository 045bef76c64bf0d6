"""The verbs of the chain: each takes a model and returns one, with a report."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import ArrayLike

from tightc.api.arguments import (
    images_and_normalization,
    options_from,
    refuse_without_images,
    require_data,
    require_model,
    require_seed,
)
from tightc.api.documentation import public_verb
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.errors import OptionError
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.progress import Progress, no_progress
from tightc.pruning.options import PruneOptions
from tightc.quantization.options import QuantizeOptions
from tightc.report import Result

if TYPE_CHECKING:
    from tightc.api import keywords as kw


@public_verb(PruneOptions)
def prune(
    model: Model,
    options: PruneOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    mask: str | PathLike[str] | Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.PruneKeywords],
) -> Result:
    """Set the least important weights to zero.

    Every layer keeps at least one weight, and biases stay. Criteria fisher and obs need `images`. Tiles recorded in the
    model are dropped.

    Returns
    -------
    Result
        The pruned model, and its density by layer.
    """
    from tightc.pruning.prune import prune as stage

    given: dict[str, Any] = dict(keywords)
    masks = mask if isinstance(mask, Mapping) else None
    if mask is not None:
        given["mask"] = "<arrays>" if masks is not None else mask
    chosen = options_from(PruneOptions, options, given)
    network = require_model(model)
    seen = None if images is None else require_data(images, network)
    if seen is not None and not chosen.needs_images:
        raise OptionError(
            f"images: expected criterion obs or fisher, got {chosen.criterion}", "leave images out"
        )
    return stage(network, chosen, seen, masks=masks, seed=require_seed(seed), progress=progress)


@public_verb(FinetuneOptions)
def finetune(
    model: Model,
    images: NormalizedImages | Samples,
    options: FinetuneOptions | None = None,
    *,
    teacher: Model | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.FinetuneKeywords],
) -> Result:
    """Train the remaining weights, or prune while training; zeros stay zero.

    Needs torch: `pip install 'tightc[finetune]'`. Without a sparsity or budget the tiles of a permuted model stay
    valid. Ctrl-C raises an Interrupted that carries the result so far.

    Returns
    -------
    Result
        The trained model, and loss, accuracy and density of the training.
    """
    from tightc.finetuning.finetune import finetune as stage

    chosen = options_from(FinetuneOptions, options, keywords)
    network = require_model(model)
    seen, normalization = images_and_normalization(require_data(images, network))
    if teacher is not None:
        require_model(teacher, "teacher")
    return stage(
        network,
        seen,
        normalization,
        chosen,
        seed=require_seed(seed),
        teacher=teacher,
        progress=progress,
    )


@public_verb(QuantizeOptions)
def quantize(
    model: Model,
    options: QuantizeOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.QuantizeKeywords],
) -> Result:
    """Quantize weights to int8, and with images the inputs of the layers too.

    Symmetric, with a scale for each filter that minimizes the mean square error. Zeros stay zero.

    Returns
    -------
    Result
        The quantized model, and the error of each layer.
    """
    from tightc.quantization.quantize import quantize as stage

    chosen = options_from(QuantizeOptions, options, keywords)
    if images is None:
        refuse_without_images(keywords, "keep", "skip")
    network = require_model(model)
    seen = None if images is None else require_data(images, network)
    return stage(network, chosen, seen, seed=require_seed(seed), progress=progress)


@public_verb(PermuteOptions)
def permute(
    model: Model,
    options: PermuteOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.PermuteKeywords],
) -> Result:
    """Pack the nonzero weights into few, full tiles, and record the tiles in the model.

    Weights and outputs stay as they are; only a lossy method sets weights to zero. The same seed gives the same tiles
    for any number of threads. Ctrl-C raises an Interrupted that carries the result so far.

    Returns
    -------
    Result
        The model with a packing of every layer, and the measures of the packings.
    """
    from tightc.permutation.permute import permute as stage

    chosen = options_from(PermuteOptions, options, keywords)
    return stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)


@public_verb(PackOptions)
def pack(
    model: Model,
    options: PackOptions | None = None,
    *,
    stream: str | PathLike[str] | None = None,
    **keywords: Unpack[kw.PackKeywords],
) -> Result:
    """Write the compact form of a permuted model, which runs in stock onnxruntime.

    Each weight becomes a few small tensors and a function that rebuilds it. With a stream the tiles are sorted as they
    are in it.

    Returns
    -------
    Result
        The packed model, and its size before and after.
    """
    from tightc.packing.pack import pack as stage
    from tightc.packing.stream_file import pack_to_file

    chosen = options_from(PackOptions, options, keywords)
    if stream is not None:
        return pack_to_file(require_model(model), chosen, stream)
    return stage(require_model(model), chosen)


@public_verb()
def unpack(model: Model, *, stream: str | PathLike[str] | None = None) -> Result:
    """Restore the plain model from a packed one.

    The weights are the same to the bit, but for the sign of zeros. The tiles stay recorded.

    Returns
    -------
    Result
        The plain model, and its size before and after.
    """
    from tightc.packing.stream_file import read_stream_file
    from tightc.packing.unpack import unpack as stage

    if stream is not None:
        return stage(require_model(model), read_stream_file(stream), str(stream))
    return stage(require_model(model))
