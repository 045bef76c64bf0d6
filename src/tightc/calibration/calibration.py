"""A few images on their way through a model: any value in it, batch after batch, on all cores."""

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

_BATCH = 16  # images that a thread runs at once, where the model leaves it open

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibration:
    """`pixels`: (images, channels, height, width) float32 as the model reads them, `batch` at a time.

    `labels`: (images,) int64. `fixed`: whether the model demands that batch. `feed` and `output`
    name its input and its logits, which a closing Softmax reads where there is one.
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
        """`count` of the images, drawn by `seed`, all where there are fewer.

        Where the model fixes its batch and that many do not fill the last one, it gets some images again. ModelError
        where the model is no classifier of images; DataError where they do not fit it.
        """
        wanted = image_input(model.proto, model.origin)
        check_images(images, wanted.shape, "the images")
        drawn = np.random.default_rng(seed).permutation(len(images))[:count]
        batch = wanted.batch or min(_BATCH, len(drawn))
        if wanted.batch is not None:
            drawn = np.resize(drawn, -(-len(drawn) // batch) * batch)
        pixels = normalization.apply(images.pixels[drawn])
        fixed = wanted.batch is not None
        output = without_softmax(read_graph(model.proto)).outputs[0]
        return cls(wanted.name, output, pixels, images.labels[drawn], batch, fixed)

    def first(self, count: int) -> Calibration:
        """The first `count` images, in whole batches."""
        end = -(-count // self.batch) * self.batch
        return replace(self, pixels=self.pixels[:end], labels=self.labels[:end])

    @property
    def batches(self) -> list[tuple[int, int]]:
        """(first image, last + 1) of each batch."""
        return ranges(len(self.pixels), self.batch)

    def probe(self, model: Model, names: Sequence[str]) -> Callable[[tuple[int, int]], Values]:
        """A function that gives the values named for one of the batches, for any thread to call.

        A batch is run by one thread alone, so that its sums have one order.
        """
        wanted = [name for name in dict.fromkeys(names) if name != self.feed]
        session = create_session(_giving(model, wanted), model.origin, threads=1) if wanted else None

        def run(batch: tuple[int, int]) -> Values:
            feeds = {self.feed: self.pixels[batch[0] : batch[1]]}
            if session is None:
                return feeds
            with ort_errors(model.origin, "onnxruntime cannot run it on these images"):
                return {**feeds, **dict(zip(wanted, session.run(wanted, feeds), strict=True))}

        return run

    def logits(self, model: Model) -> NDArray[np.float64]:
        """(images, classes) float64. ModelError where the output has another shape or is not finite."""
        probe = self.probe(model, [self.output])
        found = np.concatenate([values[self.output] for values in ordered_map(probe, self.batches)])
        if found.ndim != 2 or len(found) != len(self.pixels):
            sizes = " x ".join(map(str, found.shape))
            raise ModelError(
                f"{model.origin}: output {self.output} is {sizes} for {len(self.pixels)} images",
                "give a model whose output is batch x classes",
            )
        if not np.isfinite(found).all():
            raise ModelError(
                f"{model.origin}: output {self.output} is not finite on these images",
                "check --mean and --std, or train it again",
            )
        return found.astype(np.float64)


def _giving(model: Model, names: Sequence[str]) -> bytes:
    """The model with the values named as its outputs, without what they do not need."""
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
