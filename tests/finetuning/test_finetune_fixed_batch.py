"""Training of exports that fix their batch: as that of the same network exported with an open batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from helpers import training
from helpers.chains import outputs
from helpers.loading import loaded
from tightc.bridge.precision import as_float32
from tightc.data.images import Images
from tightc.errors import OptionError
from tightc.finetuning.network.torch_network import build_network
from tightc.model.file import Model
from tightc.model.onnx_proto.graph import read_graph


def fixed(which: str, batch: int, density: float = 1.0) -> Model:
    """A network of the helpers that holds its batch in the shape of a Reshape, which flattens in place of Flatten."""
    proto = training.proto_of(which, density)
    (node,) = (node for node in proto.graph.node if node.op_type == "Flatten")
    node.op_type = "Reshape"
    node.input.append("shape")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([batch, 32]), "shape"))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return loaded(proto)


def one_by_one(model: Model, images: Images, batch: int) -> np.ndarray:
    """The logits by onnxruntime, in batches as the model fixes them."""
    pixels = training.NORMALIZATION.apply(images.pixels)
    feeds = np.split(pixels, len(pixels) // batch)
    return np.concatenate([outputs(model.proto.SerializeToString(), {"image": feed})[0] for feed in feeds])


CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("folded", 1, {}),
    ("folded", 4, {}),
    ("folded", 1, {"unfold_batchnorm": True}),
    ("folded", 1, {"sparsity": 0.7, "validation": 9}),
    ("folded", 4, {"validation": 9, "ema_decay": 0.9}),
    ("normed", 1, {}),
    ("normed", 4, {"bn_recalibration_images": 32}),
    ("shared", 2, {"mixup": 0.2}),
    ("grouped", 1, {}),
    ("dropout", 1, {}),
]


@pytest.mark.parametrize(("which", "batch", "options"), CASES)
def test_a_fixed_batch_trains_as_an_open_one(which: str, batch: int, options: dict[str, Any]) -> None:
    open_model, report = training.train(training.network(which, 0.6), **options)
    model, found = training.train(fixed(which, batch, 0.6), **options)
    assert found.totals["validation_accuracy"] == report.totals["validation_accuracy"]
    assert found.totals["train_loss"] == pytest.approx(report.totals["train_loss"], rel=1e-3)
    wanted, trained = training.tensors(open_model), training.tensors(model)
    before = training.tensors(training.network(which, 0.6))
    for name, array in wanted.items():
        np.testing.assert_allclose(trained[name], array, atol=2e-3 * np.abs(array).max(), err_msg=name)
        assert ((trained[name] == 0) == (array == 0)).all()
    assert any(np.abs(before[name] - array).max() > 0.05 for name, array in trained.items() if name in before)
    images = training.quadrants(16, seed=5)
    np.testing.assert_allclose(
        one_by_one(model, images, batch), one_by_one(open_model, images, 16), rtol=0.02, atol=0.02
    )


def test_the_graph_stays_as_it_was() -> None:
    model = fixed("folded", 1)
    trained, _ = training.train(model)
    for part in ("node", "input", "output"):
        assert list(getattr(trained.proto.graph, part)) == list(getattr(model.proto.graph, part))
    assert (training.tensors(trained)["shape"] == [1, 32]).all()


def test_a_teacher_may_fix_another_batch() -> None:
    options = {"distill_weight": 0.5}
    wanted, _ = training.train(training.network("folded"), teacher=training.network("grouped"), **options)
    for own, other in ((1, 4), (2, 1)):
        found, _ = training.train(fixed("folded", own), teacher=fixed("grouped", other), **options)
        for name in training.WEIGHTS["folded"]:
            np.testing.assert_allclose(
                training.tensors(found)[name], training.tensors(wanted)[name], atol=1e-3, err_msg=name
            )


def test_a_batch_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(OptionError) as fault:
        training.train(fixed("folded", 4), batch_size=10)
    assert str(fault.value) == (
        "--batch-size: expected a multiple of 4, the batch that net.onnx fixes, got 10; "
        "give a multiple of 4 for each process, and as many images"
    )


def batch_of(proto: onnx.ModelProto, batch: int) -> int | None:
    """The micro batch that the network of `proto` is trained with, where its export fixes `batch`."""
    graph = as_float32(read_graph(loaded(proto).proto))
    random = torch.Generator().manual_seed(0)
    return build_network(
        type(graph)(**{**vars(graph), "micro_batch": batch}),
        "net.onnx",
        lambda count: (torch.randn(count, 1, 8, 8, generator=random),),
        torch.device("cpu"),
    ).module.micro_batch


def test_only_what_holds_its_batch_runs_in_micro_batches() -> None:
    assert batch_of(training.proto_of("folded"), 1) is None
    assert batch_of(fixed("folded", 1).proto, 1) == 1
    assert batch_of(fixed("folded", 4).proto, 4) == 4


def test_a_network_that_would_mix_its_samples_runs_in_micro_batches() -> None:
    """With shape 1 x -1 torch runs any batch, but puts all samples in one row."""
    proto = training.proto_of("folded")
    proto.graph.node.append(onnx.helper.make_node("Reshape", ["logits", "shape"], ["row"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "shape"))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("row", 1, [1, 4]))
    assert batch_of(proto, 1) == 1
