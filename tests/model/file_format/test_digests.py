"""A flipped bit in what tightc wrote is refused or noted; a file saved again by another tool is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models
from helpers.chains import SMALL, again, packed_model
from helpers.loading import loaded
from helpers.models import build, sparse
from tightc.cli.main import run
from tightc.errors import ModelError, TightcError
from tightc.model.file import Model, load_model, load_model_bytes, save_model
from tightc.model.file_format.digests import packing_digest
from tightc.model.runtime.session import create_session
from tightc.packing.pack import pack
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

NAMED = r"of \S+ \(weight|of weight \S+ is missing|tightc.packings is not JSON|not UTF-8|of other layers"
COPY = "copy the file again, or run tightc pack again from the permuted model"
RESULTS_MODELS = Path(__file__).parents[3] / "docs" / "results" / "models"
OLDER = "the file was written by tightc 0.2.0 or older, without digests: damage to it is not noticed"


def tiny(dtype: str = "float32") -> onnx.ModelProto:
    kind = {"float32": "float", "float16": "float16"}[dtype]
    return build(
        f"""net ({kind}[1, 2, 3, 3] x) => ({kind}[1, 2, 2, 2] y) {{
            [first] a = Conv(x, v, bias) b = Relu(a) [second] y = Conv(b, w) }}""",
        v=sparse(2, 2, 2, 2, dtype=dtype),
        bias=np.array([0.5, 0.25], dtype),
        w=sparse(2, 2, 1, 1, dtype=dtype, density=0.6),
    )


def quantized(subword_bits: int | None = None) -> Model:
    options = SMALL if subword_bits is None else SMALL.model_copy(update={"subword_bits": subword_bits})
    return again(pack(permute(quantize(loaded(tiny()), QuantizeOptions())[0], options)[0])[0])


def permuted_model() -> Model:
    return again(permute(loaded(tiny()), SMALL)[0])


def pruned() -> Model:
    return again(prune(loaded(tiny()), PruneOptions(sparsity=0.5))[0])


MAKERS: dict[str, Callable[[], Model]] = {
    "float32": lambda: packed_model(tiny()),
    "float16": lambda: packed_model(tiny("float16")),
    "stripped": lambda: packed_model(tiny(), strip=True),
    "int8": quantized,
    "subwords": lambda: quantized(4),
}


def flips(proto: onnx.ModelProto, number: int) -> Iterator[bytes]:
    """Copies of the file, each with another bit of one tensor flipped."""
    tensor = proto.graph.initializer[number]
    content = tensor.raw_data
    for i in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[i // 8] ^= 1 << i % 8
        tensor.raw_data = bytes(damaged)
        yield proto.SerializeToString()
    tensor.raw_data = content


@pytest.mark.parametrize("kind", MAKERS)
def test_every_flipped_bit_of_a_packed_tensor_is_refused_by_the_name_of_its_layer(kind: str) -> None:
    proto = MAKERS[kind]().copy_proto()
    named: dict[str, str] = {}
    tried = 0
    for number, tensor in enumerate(proto.graph.initializer):
        stem, _, key = tensor.name.rpartition(".")
        if key not in ("values", "index", "layout"):
            continue
        layer = named.setdefault(stem, "second" if named else "first")
        for content in flips(proto, number):
            with pytest.raises(ModelError) as caught:
                load_model_bytes(content, "k.onnx")
            assert caught.value.sentence.startswith(
                f"k.onnx: damaged packed tensors of {layer} (weight {stem}): expected digest "
            )
            assert caught.value.remedy == COPY
            tried += 1
    assert tried > 500


@pytest.mark.parametrize("kind", MAKERS)
def test_flips_of_other_tensors_of_a_packed_model_are_refused(kind: str) -> None:
    proto = MAKERS[kind]().copy_proto()
    for number, tensor in enumerate(proto.graph.initializer):
        if tensor.name.rpartition(".")[2] not in ("values", "index", "layout"):
            for content in flips(proto, number):
                with pytest.raises(ModelError, match=r"tensors outside of the packed layers|NaN or infinite"):
                    load_model_bytes(content)


def written(proto: onnx.ModelProto) -> list[object]:
    """All parts of a file that tightc wrote or has digests of."""
    parts = [proto.graph.node, proto.graph.initializer, proto.functions, proto.metadata_props]
    return [[message.SerializeToString(deterministic=True) for message in part] for part in parts]


@pytest.mark.parametrize(
    "maker", [packed_model, permuted_model, pruned], ids=["packed", "permuted", "pruned"]
)
def test_any_flipped_bit_of_a_file_is_refused_or_noted_or_not_of_what_tightc_wrote(
    maker: Callable[..., Model],
) -> None:
    model = maker(tiny()) if maker is packed_model else maker()
    content = model.to_bytes()

    @settings(max_examples=400)
    @given(st.integers(0, 8 * len(content) - 1))
    def flip(bit: int) -> None:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = load_model_bytes(bytes(damaged))
        except TightcError:
            return
        assert found.notes or written(found.proto) == written(model.proto)

    flip()


@pytest.mark.parametrize("key", ["tightc.packings", "tightc.history", "tightc.digests"])
@pytest.mark.parametrize(
    "maker", [packed_model, permuted_model, pruned], ids=["packed", "permuted", "pruned"]
)
def test_every_flipped_bit_of_the_name_of_a_record_is_refused_or_noted(
    maker: Callable[..., Model], key: str
) -> None:
    content = (maker(tiny()) if maker is packed_model else maker()).to_bytes()
    start = content.find(key.encode())
    if start < 0:
        assert (maker, key) == (pruned, "tightc.packings")
        return
    for bit in range(8 * (start - 2), 8 * (start + len(key))):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with suppress(ModelError):
            assert load_model_bytes(bytes(damaged)).notes, bit


def test_every_flipped_bit_of_packings_is_refused() -> None:
    model = permuted_model()
    text = next(e.value for e in model.proto.metadata_props if e.key == "tightc.packings")
    content = model.to_bytes()
    start = content.find(text.encode())
    for bit in range(8 * start, 8 * (start + len(text))):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ModelError, match=NAMED):
            simulate(load_model_bytes(bytes(damaged)), SimulateOptions())


def test_damaged_packings_can_be_replaced_by_permute(tmp_path: Path) -> None:
    model = permuted_model()
    damaged = tmp_path / "q.onnx"
    damaged.write_bytes(model.to_bytes().replace(b'"fan_in":4', b'"fan_in":5'))
    assert run(["simulate", str(damaged), "-q"]) == 2
    again_made = [
        "--array",
        "8x8",
        "--fan-in",
        "4",
        "--method",
        "first-fit",
        "-q",
        "-o",
        str(tmp_path / "r.onnx"),
    ]
    assert run(["permute", str(damaged), *again_made]) == 0
    assert run(["simulate", str(tmp_path / "r.onnx"), "-q"]) == 0


# --- the same model saved in another way


def other_fields(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with values in typed fields instead of raw bytes."""
    for tensor in proto.graph.initializer:
        values, name, dims, kind = (
            numpy_helper.to_array(tensor), tensor.name, list(tensor.dims), tensor.data_type
        )  # fmt: skip
        tensor.Clear()
        tensor.name, tensor.data_type = name, kind
        tensor.dims.extend(dims)
        flat = values.ravel()
        if values.dtype == np.float32:
            tensor.float_data.extend(flat.tolist())
        elif values.dtype == np.float16:
            tensor.int32_data.extend(flat.view(np.uint16).tolist())
        elif values.dtype == np.int64:
            tensor.int64_data.extend(flat.tolist())
        else:
            tensor.int32_data.extend(flat.tolist())
    return proto


@pytest.mark.parametrize("kind", [*MAKERS, "permuted", "pruned"])
def test_the_same_model_saved_in_another_way_is_neither_refused_nor_noted(kind: str, tmp_path: Path) -> None:
    model = {**MAKERS, "permuted": permuted_model, "pruned": pruned}[kind]()
    (tmp_path / "m.onnx").write_bytes(model.to_bytes())
    onnx.save(onnx.load(tmp_path / "m.onnx"), tmp_path / "again.onnx")
    onnx.save(other_fields(onnx.load(tmp_path / "m.onnx")), tmp_path / "fields.onnx")
    one = {"save_as_external_data": True, "size_threshold": 0}
    onnx.save(onnx.load(tmp_path / "m.onnx"), tmp_path / "two.onnx", location="two.data", **one)
    onnx.save(onnx.load(tmp_path / "two.onnx"), tmp_path / "back.onnx")
    inferred = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "m.onnx"))
    inferred.producer_name = "another tool"
    onnx.save(inferred, tmp_path / "inferred.onnx")
    for name in ("again", "fields", "two", "back", "inferred"):
        assert load_model(tmp_path / f"{name}.onnx").notes == (), name


@pytest.mark.parametrize("how", ["external", "fields"])
def test_a_constant_node_saved_in_another_way_is_not_noted(how: str, tmp_path: Path) -> None:
    model = prune(loaded(models.constant_weight()), PruneOptions(sparsity=0.5))[0]
    proto = model.copy_proto()
    if how == "external":
        every = {"save_as_external_data": True, "size_threshold": 0, "convert_attribute": True}
        onnx.save(proto, tmp_path / "m.onnx", **every)
    else:
        tensor = proto.graph.node[0].attribute[0].t
        tensor.float_data.extend(numpy_helper.to_array(tensor).ravel().tolist())
        tensor.ClearField("raw_data")
        onnx.save(proto, tmp_path / "m.onnx")
    assert load_model(tmp_path / "m.onnx").notes == ()


# --- models edited by another tool


def negated(model: Model) -> Model:
    proto = model.copy_proto()
    for tensor in proto.graph.initializer:
        if tensor.name == "bias":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "bias"))
    return model.with_proto(proto)


def test_a_pruned_file_that_was_edited_is_accepted_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "the tensors are not those that tightc prune wrote"
    edited, further = tmp_path / "edited.onnx", tmp_path / "further.onnx"
    save_model(negated(pruned()), edited)
    assert load_model(edited).notes == (note,)
    assert run(["prune", str(edited), "--sparsity", "0.6", "--json", "-o", str(further)]) == 0
    assert note in json.loads(capsys.readouterr().out)["notes"]
    history = next(e.value for e in onnx.load(further).metadata_props if e.key == "tightc.history")
    assert json.loads(history)[-1]["notes"] == [note]
    assert "notes" not in json.loads(history)[0]
    assert load_model(further).notes == ()


def test_an_edited_packed_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(negated(packed_model(tiny())), tmp_path / "k.onnx")
    assert run(["unpack", str(tmp_path / "k.onnx"), "-q", "-o", str(tmp_path / "u.onnx")]) == 2
    assert capsys.readouterr().err == (
        f"tightc: error: {tmp_path}/k.onnx: its tensors outside of the packed layers are not those that tightc wrote; "
        "copy the file again, or run tightc unpack before another tool edits it\n"
    )


def test_a_file_and_the_weights_of_another_are_refused(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        proto = build(
            "net (float[1, 40] x) => (float[1, 40] y) { [mm] y = MatMul(x, w) }", w=sparse(40, 40, seed=seed)
        )
        path = models.save(proto, tmp_path / f"{name}.in.onnx", external_data=True)
        save_model(pack(permute(load_model(path), SMALL)[0])[0], tmp_path / f"{name}.onnx")
    one, two = (next(tmp_path.glob(f"{name}.onnx.*.data")) for name in ("one", "two"))
    one.write_bytes(two.read_bytes())
    with pytest.raises(ModelError, match=r"damaged packed tensors of mm \(weight w\)|cannot be read"):
        load_model(tmp_path / "one.onnx")


# --- files of 0.2.0


def older(model: Model) -> onnx.ModelProto:
    """The model without digests, as 0.2.0 wrote it."""
    proto = model.copy_proto()
    kept = [entry for entry in proto.metadata_props if entry.key != "tightc.digests"]
    for entry in kept:
        entry.value = entry.value.replace(f'"version": "{version("tightc")}"', '"version": "0.2.0"')
        if entry.key == "tightc.packings":
            record = json.loads(entry.value)
            for head in (record["common"], *record["weights"].values()):
                head.pop("xxh3", None)
            entry.value = json.dumps(record, separators=(",", ":"))
    copies = [onnx.StringStringEntryProto(key=entry.key, value=entry.value) for entry in kept]
    del proto.metadata_props[:]
    proto.metadata_props.extend(copies)
    return proto


@pytest.mark.parametrize(
    "maker", [*MAKERS.values(), permuted_model, pruned], ids=[*MAKERS, "permuted", "pruned"]
)
def test_a_file_without_digests_is_accepted_with_a_note(maker: Callable[[], Model]) -> None:
    assert loaded(older(maker())).notes == (OLDER,)


def without(model: Model, *keys: str) -> Model:
    proto = model.copy_proto()
    kept = [entry for entry in model.proto.metadata_props if entry.key not in keys]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    return loaded(proto)


def test_digests_and_packings_that_another_tool_removed_are_noted() -> None:
    removed = "another tool removed the digests that tightc {} wrote: damage is not noticed"
    assert without(pruned(), "tightc.digests").notes == (removed.format("prune"),)
    assert without(permuted_model(), "tightc.digests").notes == (removed.format("permute"),)
    both = without(permuted_model(), "tightc.digests", "tightc.packings").notes
    assert both == (removed.format("permute"), "the packings are gone too: run tightc permute again")


def test_a_stage_refuses_a_model_with_removed_packings() -> None:
    removed = without(permuted_model(), "tightc.packings")
    assert removed.notes == ("the record of packings is not the one that tightc permute wrote",)
    note = "were dropped: run tightc permute again"
    for report in (quantize(removed, QuantizeOptions())[1], prune(removed, PruneOptions(sparsity=0.6))[1]):
        assert report.notes[-1].endswith(note)
    with pytest.raises(ModelError, match=r"its tightc\.packings is missing: .*; run tightc permute again"):
        simulate(removed, SimulateOptions())


@pytest.mark.parametrize("stage", ["pack", "quantize"])
def test_the_result_of_a_stage_on_older_packings_can_be_read(stage: str) -> None:
    from tightc.model.history import HistoryEntry, stage_result

    model = loaded(older(permuted_model()))
    made = pack(model)[0] if stage == "pack" else stage_result(model, HistoryEntry(stage), model)
    assert again(made).notes == ()


@pytest.mark.parametrize(("name", "notes"), [("r20-w-8x", (OLDER,)), ("r20-8x8-e-6.2x-s1", ())])
def test_the_files_that_the_results_page_gives_are_read(name: str, notes: tuple[str, ...]) -> None:
    assert load_model(RESULTS_MODELS / f"{name}.onnx").notes == notes


def test_a_damaged_name_that_onnxruntime_repeats_ends_in_a_sentence() -> None:
    proto = build("net (float[1, 4] x) => (float[1, 2] y) { y = Gemm <transB = 1> (x, w) }", w=sparse(2, 4))
    content = proto.SerializeToString().replace(b"transB", b"trans\xc2")
    with pytest.raises(ModelError, match="onnxruntime cannot load it"):
        create_session(content, "net.onnx")
    damaged = packed_model(proto).to_bytes().replace(b"transB", b"trans\xc2")
    with pytest.raises(ModelError, match="it is damaged"):
        load_model_bytes(damaged)


def test_the_type_of_a_tensor_counts() -> None:
    same = np.arange(1, 9, dtype=np.int8)
    digests = {packing_digest({}, "", [same.view(dtype)]) for dtype in (np.int8, np.uint8)}
    assert len(digests) == 2
