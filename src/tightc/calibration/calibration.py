"""Calibration images and the values that they produce inside a model, batch by batch, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from tightc.data.images import Images, Normalization, check_images
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.layer_view.logits import without_softmax
from tightc.model.onnx_proto.graph import read_graph, subgraph_reads
from tightc.model.runtime.session import create_session, ort_errors
from tightc.parallel import ordered_map, ranges

_BATCH = 16  # images per batch, if the model leaves the batch size open

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibration:
    """Images for one model, in batches.

    `pixels`: (images, channels, height, width) float32, normalized. `labels`: (images,) int64. `batch`: images per
    batch. `fixed`: whether the model fixes it. `feed`, `output`: names of the model's input and of its logits, before
    a final Softmax.
    """

    feed: str
    output: str
    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]
    batch: int
    fixed: bool

    @classmethod
    def of(
        cls, model: Model, images: Images, normalization: Normalization, count: int, seed: int
    ) -> Calibration:
        """`count` of `images` drawn by `seed`, or all if there are fewer, normalized by `normalization` for `model`.

        If the model fixes its batch size, images are repeated to fill the last batch. ModelError if the model is not an
        image classifier; DataError if the images do not fit it.
        """
        expected = image_input(model.proto, model.origin)
        check_images(images, expected.shape, "the images")
        drawn = np.random.default_rng(seed).permutation(len(images))[:count]
        batch = expected.batch or min(_BATCH, len(drawn))
        if expected.batch is not None:
            drawn = np.resize(drawn, -(-len(drawn) // batch) * batch)
        pixels = normalization.apply(images.pixels[drawn])
        fixed = expected.batch is not None
        output = without_softmax(read_graph(model.proto)).outputs[0]
        return cls(
            feed=expected.name,
            output=output,
            pixels=pixels,
            labels=images.labels[drawn],
            batch=batch,
            fixed=fixed,
        )

    def first(self, count: int) -> Calibration:
        """The first `count` images, rounded up to full batches."""
        end = -(-count // self.batch) * self.batch
        return replace(self, pixels=self.pixels[:end], labels=self.labels[:end])

    @property
    def batches(self) -> list[range]:
        """The images of each batch, by number."""
        return [range(*bounds) for bounds in ranges(len(self.pixels), self.batch)]

    def probe(self, model: Model, names: Sequence[str]) -> Callable[[range], Values]:
        """A thread-safe function that computes the values `names` of `model` for one of the batches.

        Each batch runs on one thread, so that sums have a fixed order.
        """
        wanted = [name for name in dict.fromkeys(names) if name != self.feed]
        session = create_session(_with_outputs(model, wanted), model.origin, threads=1) if wanted else None

        def run(batch: range) -> Values:
            feeds = {self.feed: self.pixels[batch.start : batch.stop]}
            if session is None:
                return feeds
            with ort_errors(model.origin, "onnxruntime cannot run it on these images"):
                return {**feeds, **dict(zip(wanted, session.run(wanted, feeds), strict=True))}

        return run

    def logits(self, model: Model) -> NDArray[np.float64]:
        """(images, classes) float64. ModelError if the output has another shape or is not finite."""
        probe = self.probe(model, [self.output])
        found = np.concatenate([values[self.output] for values in ordered_map(probe, self.batches)])
        if found.ndim != 2 or len(found) != len(self.pixels):
            sizes = " x ".join(map(str, found.shape))
            raise ModelError(
                f"{model.origin}: output {self.output}: expected {len(self.pixels)} x classes, got {sizes}",
                "give an image classifier",
            )
        if not np.isfinite(found).all():
            raise ModelError(
                f"{model.origin}: output {self.output}: expected finite values on these images, got NaN or infinity",
                "check --mean and --std, or train the model again",
            )
        return found.astype(np.float64)


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
    return bytes(proto.SerializeToString())
