"""Large tensors stay in their files: the same models, bytes and digests as with all tensors in memory."""

import gc
import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import tightc
from helpers import models
from helpers.products import chain_of
from tightc.errors import ModelError, OutputError
from tightc.model import file
from tightc.model.file import Model, load_model, load_model_bytes, save_model
from tightc.model.onnx_proto import external_data, stored_tensors
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.onnx_proto.serialization import parse_stored, serialized_chunks, serialized_size
from tightc.model.onnx_proto.stored_tensors import (
    TensorStorage,
    embedded,
    is_stored,
    stored_as_inputs,
    tensor_from_array,
    tensor_values,
)

SIDE = 600  # of weights above the limit: 1.4 MiB


def weight(seed: int = 0, density: float = 0.3) -> np.ndarray:
    return models.sparse(SIDE, SIDE, seed=seed, density=density)


@pytest.fixture(scope="module")
def large() -> onnx.ModelProto:
    return chain_of([weight(0), weight(1), models.sparse(SIDE, 3)])


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of 16 bytes and more are stored."""
    monkeypatch.setattr(stored_tensors, "STORED_FROM", 16)


def parsed(content: bytes) -> onnx.ModelProto | None:
    storage = TensorStorage()
    proto = parse_stored(storage, storage.add(content), len(content))
    return None if proto is None else embedded(proto, "test")


# --- reading


def test_large_weights_stay_in_the_file_and_small_ones_do_not(large: onnx.ModelProto, tmp_path: Path) -> None:
    content = large.SerializeToString(deterministic=True)
    (tmp_path / "net.onnx").write_bytes(content)
    model = load_model(tmp_path / "net.onnx")
    assert [is_stored(tensor) for tensor in model.proto.graph.initializer] == [True, True, False]
    assert model.proto.ByteSize() < 20_000 < len(content)
    assert model.size == serialized_size(model.proto) == len(content)
    assert model.to_bytes() == content
    assert model.to_proto() == large and is_stored(model.proto.graph.initializer[0])
    assert model.sha256 == hashlib.sha256(content).hexdigest()
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in large.graph.initializer}
    tensors = read_graph(model.proto).tensors
    assert tensors.keys() == expected.keys() and len(tensors) == 3
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values)
        assert read_graph(model.proto).shape(name) == values.shape
        assert read_graph(model.proto).dtype(name) == values.dtype


def test_a_model_from_a_pipe_is_the_one_from_a_file(large: onnx.ModelProto) -> None:
    content = large.SerializeToString(deterministic=True)
    model = load_model_bytes(content)
    assert is_stored(model.proto.graph.initializer[0])
    assert model.to_bytes() == content


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "bool"])
def test_values_of_every_type_come_back(dtype: str) -> None:
    storage = TensorStorage()
    array = np.random.default_rng(0).integers(0, 2, (1100, 1000)).astype(dtype)
    tensor = tensor_from_array(array, "t", storage)
    assert is_stored(tensor)
    found = tensor_values(tensor)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    copy = TensorProto()
    copy.CopyFrom(tensor)
    stored_tensors.embed(copy)
    assert copy == numpy_helper.from_array(array, "t")


@settings(max_examples=60)
@given(st.data())
def test_a_changed_file_is_what_protobuf_reads(data: st.DataObject) -> None:
    """Of any bytes, the reader makes the message that protobuf makes of them, or leaves them to protobuf."""
    content = bytearray(chain_of([models.sparse(6, 5), models.sparse(5, 3)]).SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content[at:at] = content[at : at + data.draw(st.integers(0, 9))]
    expected = onnx.ModelProto()
    try:
        expected.ParseFromString(bytes(content))
    except DecodeError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_tensors, "STORED_FROM", 16)
        try:
            found = parsed(bytes(content))
        except DecodeError:
            found = None
            assert expected is None
    if found is not None and expected is not None:
        assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_a_tensor_of_the_wrong_size_is_left_to_the_checker(large: onnx.ModelProto) -> None:
    wrong = onnx.ModelProto()
    wrong.CopyFrom(large)
    wrong.graph.initializer[0].dims[0] += 1
    with pytest.raises(ModelError, match="the ONNX checker refuses it"):
        load_model_bytes(wrong.SerializeToString())


def test_a_file_cannot_name_the_storage_of_another_model(large: onnx.ModelProto) -> None:
    model = load_model_bytes(large.SerializeToString())
    thief = onnx.ModelProto()
    thief.CopyFrom(large)
    thief.graph.initializer[0].CopyFrom(model.proto.graph.initializer[0])  # as if its token had been guessed
    location = f"tightc-storage:{'0' * 16}:0"
    thief.graph.initializer[0].external_data[0].value = location
    with pytest.raises(ModelError, match=f"a second file \\({location}\\)"):
        load_model_bytes(thief.SerializeToString())


def test_a_file_that_becomes_shorter_is_named(large: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(large.SerializeToString())
    model = load_model(tmp_path / "net.onnx")
    os.truncate(tmp_path / "net.onnx", 1000)
    with pytest.raises(ModelError, match="became shorter while it was in use; run the command again"):
        read_graph(model.proto).tensors["w0"]


def test_a_file_that_is_replaced_keeps_its_values(large: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(large.SerializeToString())
    model = load_model(path)
    save_model(load_model_bytes(chain_of([weight(5), weight(6)]).SerializeToString()), path)
    np.testing.assert_array_equal(read_graph(model.proto).tensors["w0"], weight(0))


def test_files_are_closed_with_the_model(large: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(large.SerializeToString())
    before = len(os.listdir("/proc/self/fd"))
    model = load_model(tmp_path / "net.onnx")
    changed = model.with_tensors({"w0": weight(4)})
    assert len(os.listdir("/proc/self/fd")) == before + 2  # the file, and one for new values
    del model, changed
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("content", [bytes(2**21), b"\x08\x01" * 2**20, b"\x0b" * 2**20])
def test_no_time_is_spent_on_what_is_no_model(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros, millions of fields, groups: read by parts, they would take a Python loop for each."""
    assert parsed(content) is None
    with pytest.raises(ModelError, match="not an ONNX model"):
        load_model_bytes(content)
    monkeypatch.setattr(file, "LARGEST_MESSAGE", 2**19)
    with pytest.raises(ModelError, match="not an ONNX model, or a truncated one"):
        load_model_bytes(content)


def test_constants_keep_the_order_of_the_model() -> None:
    proto = chain_of([models.sparse(3, SIDE), weight(0), models.sparse(SIDE, 3), models.sparse(3, 3)])
    model = load_model_bytes(proto.SerializeToString())
    assert list(read_graph(model.proto).tensors) == ["w0", "w1", "w2", "w3"]


# --- writing


def test_new_values_go_to_a_temporary_file(large: onnx.ModelProto) -> None:
    model = load_model_bytes(large.SerializeToString())
    changed = model.with_tensors({"w1": weight(7)})
    assert all(map(is_stored, changed.proto.graph.initializer[:2]))
    np.testing.assert_array_equal(read_graph(changed.proto).tensors["w1"], weight(7))
    np.testing.assert_array_equal(read_graph(model.proto).tensors["w1"], weight(1))
    plain = onnx.load_from_string(changed.to_bytes())
    np.testing.assert_array_equal(numpy_helper.to_array(plain.graph.initializer[1]), weight(7))


def test_a_full_disk_is_named(large: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored_tensors.tempfile, "TemporaryFile", full)
    with pytest.raises(OutputError, match=r"a temporary file of weights cannot be written .*set TMPDIR"):
        load_model_bytes(large.SerializeToString()).with_tensors({"w1": weight(7)})


@settings(max_examples=40)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(0, 2**32), st.data())
def test_pieces_are_the_bytes_of_protobuf(sizes: list[int], seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(size).astype(np.float32) for size in sizes]
    storage = TensorStorage()
    kept = [data.draw(st.sampled_from([storage, None])) for _ in arrays]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_tensors, "STORED_FROM", 16)
        tensors = [tensor_from_array(a, f"t{i}", kept[i]) for i, a in enumerate(arrays)]
    whole = [numpy_helper.from_array(a, f"t{i}") for i, a in enumerate(arrays)]
    made, expected = (
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Relu", ["x"], ["y"])],
                "g",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
                own,
            ),
            functions=[],
        )
        for own in (tensors, whole)
    )
    content = expected.SerializeToString(deterministic=True)
    assert b"".join(serialized_chunks(made)) == content
    assert serialized_size(made) == len(content)
    assert embedded(made, "test") == expected


def test_what_has_no_stored_tensors_is_not_copied() -> None:
    proto = chain_of([models.sparse(6, 5)])
    assert embedded(proto, "test") is proto
    assert stored_as_inputs(proto) is proto
    assert next(serialized_chunks(proto)) == proto.SerializeToString(deterministic=True)


def test_stored_tensors_are_inputs_for_the_checker(large: onnx.ModelProto) -> None:
    model = load_model_bytes(large.SerializeToString())
    proto = stored_as_inputs(model.proto)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in proto.graph.input[-2:]] == ["w0", "w1"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["w2"]


def test_a_model_above_two_gibibytes_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model_bytes(chain_of([weight(0), weight(1)]).SerializeToString())
    monkeypatch.setattr(stored_tensors, "LARGEST_MESSAGE", 10**6)
    with pytest.raises(ModelError, match="net: expected a model below 2 GiB for this step"):
        embedded(model.proto, "net")


# --- all stages


def stages(source: Path, folder: Path) -> dict[str, bytes]:
    """The files that the chain makes of a model, and its reports."""
    folder.mkdir()
    model, made = load_model(source), {}
    options = tightc.PermuteOptions(array="8x8", fan_in=4, method="first-fit")
    for name, stage in {
        "prune": lambda given: tightc.prune(given, tightc.PruneOptions(sparsity=0.6)),
        "permute": lambda given: tightc.permute(given, options),
        "pack": tightc.pack,
        "unpack": tightc.unpack,
    }.items():
        model, report = stage(model)
        save_model(model, folder / f"{name}.onnx")
        found = sorted(folder.glob(f"{name}.onnx*"))
        made |= {path.name.replace(str(folder), ""): path.read_bytes() for path in found}
        made[f"{name} report"] = repr((report.totals, report.layers)).encode()
        made[f"{name} sha256"] = load_model(folder / f"{name}.onnx").sha256.encode()
        if name == "pack":
            made["simulate"] = repr(
                tightc.simulate(model, tightc.SimulateOptions(array="8x8")).totals
            ).encode()
    return made


@pytest.mark.parametrize("external", [False, True], ids=["one file", "external data"])
@pytest.mark.parametrize("form", ["cnn", "gemm transB", "matmul left", "grouped", "shared weight"])
def test_every_stage_gives_the_same_bytes(
    form: str, external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(
        models.FORMS[form](), source, save_as_external_data=external, size_threshold=0, location="net.data"
    )
    monkeypatch.setattr(external_data, "_FROM_BYTES", 16)  # as below: what is stored is large
    expected = stages(source, tmp_path / "in memory")
    monkeypatch.setattr(stored_tensors, "STORED_FROM", 16)
    assert any(map(is_stored, load_model(source).proto.graph.initializer))
    found = stages(source, tmp_path / "stored")
    assert found.keys() == expected.keys()
    assert {name for name in expected if found[name] != expected[name]} == set()


def test_reading_by_parts_is_safe_for_threads(large: onnx.ModelProto) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model: Model = load_model_bytes(large.SerializeToString())
    tensors = read_graph(model.proto).tensors
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: (number % 2, tensors[f"w{number % 2}"]), range(20)))
    assert all(np.array_equal(values, weight(number)) for number, values in found)
