"""Whether data and model make up a classification that can be learned from labels; without torch."""

from __future__ import annotations

from tightc.data.images import Images
from tightc.data.samples import Samples
from tightc.model.file import Model
from tightc.model.layer_view.network_inputs import network_inputs, output_sizes


def is_labeled(data: Images | Samples, model: Model) -> bool:
    """Whether `data` has a class number for each run of `model`, and its output classes; other labels do not count."""
    if data.labels is None:
        return False
    if isinstance(data, Samples) and (data.parts > 1 or data.labels.dtype.kind not in "iub"):
        return False
    if data.labels.ndim > 2 or (data.labels.ndim == 2 and data.labels.shape[1] != 1):
        return False
    outputs = output_sizes(model.proto)
    if len(outputs) != 1:
        return False
    (sizes,) = outputs
    inputs = [spec.sizes for spec in network_inputs(model.proto, model.origin)]
    reconstructs = any(given is not None and sizes is not None and given[1:] == sizes[1:] for given in inputs)
    return sizes is None or (len(sizes) == 2 and not reconstructs)
