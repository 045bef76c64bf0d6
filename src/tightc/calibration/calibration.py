"""Calibration images or samples and the values that they produce inside a model, batch by batch, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from tightc.calibration.divergence import kl_divergence, relative_square_error
from tightc.data.images import Images, Normalization, NormalizedImages, check_images
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError
from tightc.model.file import Model
from tightc.model.layer_view.logits import without_softmax
from tightc.model.layer_view.network_inputs import are_logits, float_outputs, image_spec, network_inputs
from tightc.model.onnx_proto.graph import read_graph, subgraph_reads
from tightc.model.onnx_proto.stored_tensors import embedded
from tightc.model.runtime.session import create_session, ort_errors
from tightc.parallel import ordered_map, ranges

_BATCH = 16  # images per batch, if the model leaves the batch size open

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibration:
    """Samples for one model, in batches.

    `inputs`: an array for each input of the model, by name, samples first; images are normalized. `labels`: (samples,)
    int64, None without. `batch`: samples per batch. `fixed`: whether the model fixes it. `outputs`: names of the
    model's float outputs; that of a classifier stands for its logits, before a final Softmax.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]
    labels: NDArray[np.int64] | None
    batch: int
    fixed: bool

    @classmethod
    def of(
        cls, model: Model, images: Images, normalization: Normalization, count: int, seed: int
    ) -> Calibration:
        """`count` of `images` drawn by `seed`, or all if there are fewer, normalized by `normalization` for `model`.

        If the model fixes its batch size, images are repeated to fill the last batch. ModelError if the model is not an
        network of images; DataError if the images do not fit it.
        """
        expected, shape = image_spec(model.proto, model.origin)
        check_images(images, shape, "the images")
        drawn = _drawn(len(images), count, seed, expected.batch)
        pixels = normalization.apply(images.pixels[drawn]).astype(expected.dtype, copy=False)
        labels = None if images.labels is None else images.labels[drawn]
        return cls._for(model, {expected.name: pixels}, labels, expected.batch)

    @classmethod
    def of_samples(cls, model: Model, samples: Samples, count: int, seed: int) -> Calibration:
        """As `of`, for `count` rows of `samples`; their labels are left out unless they are class numbers."""
        batches = {spec.batch for spec in network_inputs(model.proto, model.origin)} - {None}
        batch = batches.pop() if batches else None
        drawn = _drawn(samples.rows, count, seed, batch)
        labels = samples.labels
        is_class = (
            labels is not None and samples.parts == 1 and labels.ndim == 1 and labels.dtype.kind in "iu"
        )
        return cls._for(
            model,
            {name: array[drawn] for name, array in samples.inputs.items()},
            labels[drawn].astype(np.int64) if labels is not None and is_class else None,
            batch,
        )

    @classmethod
    def _for(
        cls,
        model: Model,
        inputs: Mapping[str, NDArray[Any]],
        labels: NDArray[np.int64] | None,
        batch: int | None,
    ) -> Calibration:
        count = len(next(iter(inputs.values())))
        outputs = float_outputs(model.proto)
        if len(outputs) == len(model.proto.graph.output) == 1:
            outputs = without_softmax(read_graph(model.proto)).outputs
        return cls(
            inputs=inputs,
            outputs=outputs,
            labels=labels,
            batch=batch or min(_BATCH, count),
            fixed=batch is not None,
        )

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.inputs.values())))

    def require_labels(self) -> NDArray[np.int64]:
        """The labels; DataError where there are none."""
        if self.labels is None:
            raise DataError(
                "the calibration data: expected a class number for each sample, got none",
                "give images in class folders, or store y, or use a criterion that needs no labels",
            )
        return self.labels

    def first(self, count: int) -> Calibration:
        """The first `count` samples, rounded up to full batches."""
        end = -(-count // self.batch) * self.batch
        inputs = {name: array[:end] for name, array in self.inputs.items()}
        return replace(self, inputs=inputs, labels=None if self.labels is None else self.labels[:end])

    @property
    def batches(self) -> list[range]:
        """The samples of each batch, by number."""
        return [range(*bounds) for bounds in ranges(self.count, self.batch)]

    def probe(self, model: Model, names: Sequence[str]) -> Callable[[range], Values]:
        """A thread-safe function that computes the values `names` of `model` for one of the batches.

        Each batch runs on one thread, so that sums have a fixed order.
        """
        wanted = [name for name in dict.fromkeys(names) if name not in self.inputs]
        session = create_session(_with_outputs(model, wanted), model.origin, threads=1) if wanted else None

        def run(batch: range) -> Values:
            feeds = {name: array[batch.start : batch.stop] for name, array in self.inputs.items()}
            if session is None:
                return feeds
            with ort_errors(model.origin, "onnxruntime cannot run it on these images"):
                return {**feeds, **dict(zip(wanted, session.run(wanted, feeds), strict=True))}

        return run

    def output_values(self, model: Model) -> list[NDArray[np.float64]]:
        """The outputs of `model`, samples first, float64 each. ModelError if there are none or one is not finite."""
        if not self.outputs:
            raise ModelError(
                f"{model.origin}: expected an output of floats, got none",
                "export the model with its last layer as output",
            )
        probe = self.probe(model, self.outputs)
        batches = list(ordered_map(probe, self.batches))
        found = [np.concatenate([values[name] for values in batches]) for name in self.outputs]
        for name, values in zip(self.outputs, found, strict=True):
            if not np.isfinite(values).all():
                raise ModelError(
                    f"{model.origin}: output {name}: expected finite values on these images, got NaN or infinity",
                    "check --mean and --std, or train the model again",
                )
        return [values.astype(np.float64) for values in found]

    def logits(self, model: Model) -> NDArray[np.float64]:
        """(images, classes) float64. ModelError if the output has another shape or is not finite."""
        found = self.output_values(model)
        if len(found) != 1 or found[0].ndim != 2 or len(found[0]) != self.count:
            sizes = ", ".join(" x ".join(map(str, values.shape)) for values in found)
            raise ModelError(
                f"{model.origin}: output {', '.join(self.outputs)}: expected {self.count} x classes, got {sizes}",
                "give an image classifier",
            )
        return found[0]

    def divergence(self, dense: list[NDArray[np.float64]], pruned: list[NDArray[np.float64]]) -> float:
        """How far the outputs `pruned` are from the outputs `dense`, both as `output_values` returns them.

        Of a classifier the KL divergence of the class probabilities, else the mean of the outputs' relative errors.
        """
        shapes = [array.shape for array in self.inputs.values()]
        if len(dense) == 1 and are_logits(dense[0].shape, shapes):
            return kl_divergence(dense[0], pruned[0])
        return float(np.mean([relative_square_error(a, b) for a, b in zip(dense, pruned, strict=True)]))


def calibration_of(model: Model, data: NormalizedImages | Samples, count: int, seed: int) -> Calibration:
    """`count` images or rows of `data`, drawn by `seed`, for `model`; see Calibration."""
    if isinstance(data, Samples):
        return Calibration.of_samples(model, data, count, seed)
    return Calibration.of(model, data.images, data.normalization, count, seed)


def _drawn(available: int, count: int, seed: int, batch: int | None) -> NDArray[np.int64]:
    """The numbers of up to `count` of the `available` samples, repeated to fill the last batch of a fixed size."""
    drawn = np.random.default_rng(seed).permutation(available)[:count]
    return drawn if batch is None else np.resize(drawn, -(-len(drawn) // batch) * batch)


def _with_outputs(model: Model, names: Sequence[str]) -> bytes:
    """The model with the named values as outputs, without the nodes that they do not need."""
    proto = model.copy_proto()
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    if not subgraph_reads(proto):
        needed = set(names)
        for index in reversed(range(len(proto.graph.node))):
            node = proto.graph.node[index]
            if needed.intersection(node.output):
                needed.update(node.input)
            else:
                del proto.graph.node[index]
    return bytes(embedded(proto, model.origin).SerializeToString())
