"""Models that could run without end, take all memory or crash onnxruntime end in one sentence, and leave no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers import models
from tightc.cli.main import run
from tightc.errors import ModelError
from tightc.model.runtime import limited, worker
from tightc.model.runtime.limited import LimitError, open_session
from tightc.model.runtime.shapes import loads_within_bounds, runs_within_bounds

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])


@pytest.fixture(autouse=True)
def fresh_worker() -> Iterator[None]:
    """Each test starts its own child process and ends it."""
    limited._end_idle()
    yield
    limited._end_idle()


def endless() -> onnx.ModelProto:
    """A layer behind a loop of 2**62 iterations."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c1"]), helper.make_node("Identity", ["v"], ["v1"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("c1", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v1", TensorProto.FLOAT, [1, 4]),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["times", "yes", "x"], ["x1"], body=body),
        helper.make_node("MatMul", ["x1", "w"], ["y"], name="layer"),
    ]
    constants = [
        numpy_helper.from_array(np.array(2**62), "times"),
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
    ]
    return model_of(nodes, constants)


def model_of(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [X], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def tensor(name: str, *numbers: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


@pytest.mark.parametrize("command", [["inspect"], ["simulate", "--verify"], ["simulate"]])
def test_a_loop_without_end_is_one_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limited, "_SECONDS", 0.5)
    models.save(endless(), tmp_path / "net.onnx")
    assert run([command[0], str(tmp_path / "net.onnx"), *command[1:]]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "net.onnx: onnxruntime did not finish within" in err
    assert "TIGHTC_UNLIMITED=1 runs a model that you trust without limits" in err


def test_a_child_that_does_not_compute_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_WALL", 1.0)
    monkeypatch.setattr(limited, "_SECONDS", 0.5)
    process = limited._Worker()
    os.kill(process._process.pid, signal.SIGSTOP)
    with pytest.raises(LimitError, match="did not finish within"):
        process.ask({"do": "open", "threads": 1, "seconds": 0.5, "memory": 2**30}, [b""], "net.onnx")
    assert not process.is_alive


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_one_sentence(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(endless().SerializeToString(), "net.onnx", is_bounded=False) as session:
        child = session._process._process  # type: ignore[union-attr]
        threading.Timer(0.3, child.send_signal, [number]).start()
        with pytest.raises(
            LimitError, match=rf"net.onnx: onnxruntime crashed .*\({number.name}\); export the m"
        ):
            session.shapes(["y"], {"x": np.zeros((1, 4), np.float32)})
    assert child.returncode == -number
    assert not limited._idle, "a child that ended is not used again"


def test_memory_is_limited() -> None:
    proto = model_of(
        [
            helper.make_node("ConstantOfShape", ["size"], ["z"]),
            helper.make_node("ReduceSum", ["z"], ["s"], keepdims=0),
            helper.make_node("Add", ["x", "s"], ["y"]),
        ],
        [tensor("size", 2**16, 2**16)],
    )
    with (
        pytest.raises(ModelError, match=r"net\.onnx: onnxruntime cannot (load|run) it"),
        open_session(proto.SerializeToString(), "net.onnx", is_bounded=False) as session,
    ):
        session.run(["y"], {"x": np.zeros((1, 4), np.float32)})


def test_a_child_gives_what_a_session_here_gives() -> None:
    content = models.cnn().SerializeToString()
    (given,) = models.cnn().graph.input
    sizes = [dimension.dim_value or 1 for dimension in given.type.tensor_type.shape.dim]
    feeds = {given.name: np.random.default_rng(0).standard_normal(sizes).astype(np.float32)}
    found = []
    for is_bounded in (True, False):
        with open_session(content, "net.onnx", is_bounded=is_bounded) as session:
            names = [value.name for value in session.outputs]
            values = session.run(None, feeds)
            assert session.shapes(names, feeds) == [value.shape for value in values if value is not None]
            found.append((session.inputs, session.outputs, values))
    assert [list(part) for part in found[0][:2]] == [list(part) for part in found[1][:2]]
    for one, other in zip(found[0][2], found[1][2], strict=True):
        assert one is not None and other is not None
        np.testing.assert_array_equal(one, other)


def test_a_feed_of_one_value_is_sent_as_one_value() -> None:
    proto = model_of([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [])
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**20
    with open_session(proto.SerializeToString(), "net.onnx", is_bounded=False) as session:
        (total,) = session.run(["y"], {"x": np.broadcast_to(np.float32(2), (1, 2**20))})
    assert total == 2**21


def test_one_child_serves_one_session_after_the_other() -> None:
    children = []
    for _ in range(2):
        with open_session(models.cnn().SerializeToString(), "net.onnx", is_bounded=False) as session:
            children.append(session._process)  # type: ignore[union-attr]
    assert children[0] is children[1] and children[0].is_alive


def test_a_child_ends_with_its_parent_even_where_it_computes() -> None:
    """The parent is killed; its child, in a loop without end, ends by its own limit."""
    script = (
        "import sys, os, threading\n"
        "from tightc.model.runtime import limited\n"
        "limited._SECONDS = 1.0\n"
        "import numpy as np\n"
        "with limited.open_session(sys.stdin.buffer.read(), 'net.onnx', is_bounded=False) as session:\n"
        "    print(session._process._process.pid, flush=True)\n"
        "    session.shapes(['y'], {'x': np.zeros((1, 4), np.float32)})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(endless().SerializeToString())
    parent.stdin.close()
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.05)


def test_where_no_process_starts_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with (
        pytest.raises(LimitError, match=r"no process can be started .*TIGHTC_UNLIMITED=1"),
        open_session(b"", "net.onnx", is_bounded=False),
    ):
        pass


def test_models_that_one_trusts_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIGHTC_UNLIMITED", "1")
    with open_session(models.cnn().SerializeToString(), "net.onnx", is_bounded=False) as session:
        assert isinstance(session, limited._OwnSession)


def test_outputs_that_are_no_tensors_are_named() -> None:
    proto = model_of([helper.make_node("SequenceConstruct", ["x"], ["y"])], [])
    proto.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None))
    for is_bounded in (True, False):
        with (
            open_session(proto.SerializeToString(), "net.onnx", is_bounded=is_bounded) as session,
            pytest.raises(ModelError, match="expected a tensor as value y, got a sequence or map"),
        ):
            session.shapes(["y"], {"x": np.zeros((1, 4), np.float32)})


def chain(*nodes: onnx.NodeProto, constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    return model_of(list(nodes), constants)


HUGE = tensor("size", 2**20, 2**20)
SMALL = tensor("size", 2, 4)
LARGE_PADS = tensor("size", 0, 2**30, 0, 2**30)


@pytest.mark.parametrize(
    ("proto", "runs", "loads"),
    [
        (models.cnn(), True, True),
        (endless(), False, False),
        (chain(helper.make_node("ConstantOfShape", ["size"], ["y"]), constants=[HUGE]), False, False),
        (chain(helper.make_node("ConstantOfShape", ["size"], ["y"]), constants=[SMALL]), True, True),
        (chain(helper.make_node("Expand", ["x", "size"], ["y"]), constants=[HUGE]), False, True),
        (chain(helper.make_node("Pad", ["x", "size"], ["y"]), constants=[LARGE_PADS]), False, True),
        (chain(helper.make_node("NonZero", ["x"], ["y"]), constants=[]), False, True),
        (
            chain(
                helper.make_node("Shape", ["x"], ["size"]),
                helper.make_node("Tile", ["x", "size"], ["y"]),
                constants=[],
            ),
            False,
            True,
        ),
    ],
    ids=["cnn", "loop", "huge constant", "small constant", "huge", "pads", "unknown", "computed size"],
)
def test_only_what_is_surely_small_runs_here(proto: onnx.ModelProto, runs: bool, loads: bool) -> None:
    assert runs_within_bounds(proto) is runs
    assert loads_within_bounds(proto) is loads


def test_ctrl_c_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(endless().SerializeToString(), "net.onnx", is_bounded=False) as session:
        child = session._process._process  # type: ignore[union-attr]
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            session.shapes(["y"], {"x": np.zeros((1, 4), np.float32)})
    assert child.returncode == -signal.SIGKILL
