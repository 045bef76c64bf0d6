"""Loading a model in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from tightc.errors import ModelError
from tightc.model.runtime.session import create_session


def relu(domain: str = "", operator: str = "Relu", opset: int = 20) -> bytes:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "net", values[:1], values[1:])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()


def test_a_session_runs() -> None:
    session = create_session(relu(), "net.onnx", threads=1)
    np.testing.assert_array_equal(session.run(None, {"x": np.float32([-1, 2])})[0], [0, 2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a model", "protobuf"),
        (relu(operator="NoSuchOperator"), "NoSuchOperator"),
        (relu(domain="elsewhere", operator="Own"), "elsewhere.*Own"),
        (relu(opset=999), "Opset 999"),
    ],
    ids=["bytes", "operator", "domain", "opset"],
)
def test_a_load_error_is_one_line(content: bytes, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=f"net.onnx: onnxruntime cannot load it .*{said}") as caught:
        create_session(content, "net.onnx")
    assert "\n" not in str(caught.value) and "onnxruntime 1." in caught.value.remedy
    assert capfd.readouterr() == ("", "")
