"""The readable name of a layer, and the names by which a user means it."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.errors import OptionError
from tightc.model.layer_view.layer_names import find_layer, find_layers
from tightc.model.layer_view.layers import read_network

EXAMPLE = tightc.examples() / "digits.onnx"  # as torch's present exporter names nodes and weights


def chain(*names: tuple[str, str]) -> onnx.ModelProto:
    """A MatMul of 4 x 4 for each (name of the node, name of the weight); equal weights are shared."""
    rng = np.random.default_rng(0)
    values = ["x", *(f"v{i}" for i in range(1, len(names))), "y"]
    nodes = "".join(f" [{{n{i}}}] {values[i + 1]} = MatMul({values[i]}, w{i})" for i in range(len(names)))
    text = f"net (float[1, 4] x) => (float[1, 4] y) {{{nodes.replace('{', '').replace('}', '')} }}"
    weights = {f"w{i}": rng.normal(size=(4, 4)).astype(np.float32) for i in range(len(names))}
    proto = models.build(text, **weights)
    renamed = {f"w{i}": weight for i, (_, weight) in enumerate(names)}
    for node, (name, _) in zip(proto.graph.node, names, strict=True):
        node.name = name
        node.input[1] = renamed[node.input[1]]
    for tensor in proto.graph.initializer:
        tensor.name = renamed[tensor.name]
    once = {tensor.name: tensor for tensor in proto.graph.initializer}
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(once.values())
    return proto


def labels(*names: tuple[str, str]) -> list[str]:
    return [layer.label for layer in read_network(loaded(chain(*names))).layers]


def test_a_layer_is_called_by_the_module_that_owns_its_weight() -> None:
    assert labels(("node_MatMul_1", "encoder.0.fc.weight"), ("node_MatMul_2", "head.weight")) == [
        "encoder.0.fc",
        "head",
    ]


@pytest.mark.parametrize(
    "weight",
    ["fc.weight_orig", "fc.parametrizations.weight.original", "fc.weight.int8", "fc.weight_quantized"],
)
def test_weights_under_pruning_parametrizations_and_quantization(weight: str) -> None:
    assert labels(("node_MatMul", weight)) == ["fc"]


@pytest.mark.parametrize("weight", ["w", "weight", ".weight", "fc.weight_g", "fc.bias"])
def test_other_names_of_weights_leave_the_name_of_the_node(weight: str) -> None:
    assert labels(("/fc/MatMul", weight)) == ["/fc/MatMul"]


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/fc/MatMul", "fc"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layer1/layer1.0/downsample/downsample.0/Conv", "layer1.0.downsample.0"),
        ("/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/fc/fc1/MatMul", "fc.fc1"),
        ("/MatMul", "/MatMul"),
        ("MatMul_3", "MatMul_3"),
    ],
)
def test_a_numbered_weight_of_the_older_exporter_has_the_module_of_its_node(node: str, module: str) -> None:
    assert labels((node, "onnx::MatMul_12")) == [module]


def test_the_older_exporter_folds_normalizations_and_the_names_of_modules_stay() -> None:
    """The paths are those that torch itself lists."""
    torch = pytest.importorskip("torch")

    def block() -> object:
        return torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1, bias=False), torch.nn.BatchNorm2d(2))

    class Residual(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = torch.nn.Sequential(block(), block()), block()

        def forward(self, x: object) -> object:
            return self.body(x) + self.shortcut(x)

    network = torch.nn.Sequential(Residual(), torch.nn.Sequential(Residual())).eval()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 2, 4, 4),), stream, dynamo=False)
    layers = read_network(loaded(onnx.load_from_string(stream.getvalue()))).layers
    assert all(layer.weight.startswith("onnx::Conv_") for layer in layers)
    paths = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert sorted(layer.label for layer in layers) == sorted(paths)


def test_a_module_that_is_the_name_of_another_node_is_not_taken() -> None:
    assert labels(("first", "second.weight"), ("second", "w")) == ["first", "second"]
    assert labels(("second", "second.weight"), ("first", "w")) == ["second", "first"]


def test_two_weights_of_one_module_leave_both_names() -> None:
    assert labels(("a", "fc.weight"), ("b", "fc.weight_orig")) == ["a", "b"]


def test_a_layer_that_shares_a_weight_keeps_its_own_name() -> None:
    assert labels(("a", "fc.weight"), ("b", "fc.weight")) == ["fc", "b"]


def test_a_layer_is_found_by_node_label_weight_and_pattern() -> None:
    layers = read_network(
        loaded(chain(("n_1", "a.0.weight"), ("n_2", "a.1.weight"), ("n_3", "b.weight")))
    ).layers
    for name in ("n_2", "a.1", "a.1.weight"):
        assert (
            find_layers(layers, name, "--skip") == [layers[1]]
            and find_layer(layers, name, "--x") is layers[1]
        )
    assert find_layers(layers, "a.*", "--skip") == list(layers[:2])
    assert find_layers(layers, "n_[13]", "--skip") == [layers[0], layers[2]]
    with pytest.raises(
        OptionError, match=r"--x: expected the name of a layer, got 'a\.\*'; did you mean a\.[01]\?"
    ):
        find_layer(layers, "a.*", "--x")


def test_the_name_of_a_node_goes_before_the_weight_of_another_layer() -> None:
    layers = read_network(loaded(chain(("first", "second"), ("second", "third")))).layers
    assert find_layers(layers, "second", "--skip") == [layers[1]]
    assert find_layer(layers, "third", "--layer") is layers[1]


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("conv5", "did you mean conv4?"),
        ("node_conv2d_9", "did you mean node_conv2d_3?"),
        ("fc.weigth", "did you mean fc.weight?"),
        ("0", "give one of conv1, conv2, conv3 and 2 more, which tightc inspect lists"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(given: str, remedy: str) -> None:
    layers = read_network(tightc.load(EXAMPLE)).layers
    with pytest.raises(OptionError) as caught:
        find_layers(layers, given, "--skip")
    assert caught.value.sentence == f"--skip: expected the name of a layer, got {given!r}"
    # several names may be equally near
    assert caught.value.remedy.startswith(remedy[:17]) and len(caught.value.remedy) == len(remedy)


@pytest.mark.parametrize("name", ["node_conv2d_1", "conv2", "conv2.weight"])
def test_the_commands_take_each_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.onnx")
    assert run(["prune", str(EXAMPLE), "--sparsity", "0.9", "--skip", name, "-o", out, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["layers"]
    assert [row["name"] for row in rows if row["density"] == 1] == ["node_conv2d_1"]
    assert {"name": "node_conv2d_1", "label": "conv2", "weight": "conv2.weight"}.items() <= rows[1].items()
    assert run(["quantize", str(EXAMPLE), "--skip", name, "-o", out, "--json"]) == 0
    quantized = {row["name"] for row in json.loads(capsys.readouterr().out)["layers"]}
    assert quantized == {row["name"] for row in rows} - {"node_conv2d_1"}


def test_tables_show_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(EXAMPLE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["conv1", "conv2", "conv3", "conv4", "fc"]
    shown = tightc.load(EXAMPLE)
    assert "conv4" in tightc.inspect(shown)._repr_html_() and "node_conv2d" not in str(tightc.inspect(shown))


def test_a_shared_weight_is_shown_by_the_label_of_its_owner() -> None:
    report = tightc.inspect(loaded(chain(("a", "fc.weight"), ("b", "fc.weight"))))
    assert "b (weight of fc)" in str(report) and "b (weight of fc)" in report._repr_html_()
    assert [row["shares"] for row in report.layers] == [None, "a"]


def test_labels_stay_through_the_chain() -> None:
    model = tightc.load(EXAMPLE)
    expected = ["conv1", "conv2", "conv3", "conv4", "fc"]
    quantized = tightc.quantize(tightc.prune(model, sparsity=0.9).model)
    permuted = tightc.permute(quantized.model, array="16x16", method="first-fit")
    packed = tightc.pack(permuted.model)
    again = tightc.prune(quantized.model, sparsity=0.95, skip="conv2.weight").report
    kept = [
        row.nonzeros == before.nonzeros
        for row, before in zip(again.layers, quantized.report.layers, strict=True)
    ]
    assert kept == [False, True, False, False, False]
    for report in (quantized.report, permuted.report, tightc.simulate(packed.model)):
        assert [row.label for row in report.layers] == expected


def test_the_reasons_name_layers_as_the_table_does() -> None:
    report = tightc.simulate(tightc.load(EXAMPLE), why=True)
    for text in (str(report), report._repr_html_()):
        assert "conv4: 1.00x: not packed" in text and "node_conv2d" not in text


def test_names_of_torchs_older_exporter() -> None:
    torch = pytest.importorskip("torch")
    block = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    network = torch.nn.Sequential(block, torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 2, 4, 4),), stream, dynamo=False)
    layers = read_network(tightc.load(stream.getvalue())).layers
    # the norm is folded, and the weight then has a number for a name: the node tells the module
    assert [(layer.name, layer.label) for layer in layers] == [
        ("/0/0.0/Conv", "0.0"),
        ("/2/Gemm", "2"),
    ]
