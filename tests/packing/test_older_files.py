"""Files of every version that tightc has written: they are read, or the error says how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from tightc.errors import ModelError
from tightc.model.file import Model, load_model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import is_permuted
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

FIXTURES = Path(__file__).parent / "fixtures"
READABLE = ("0.1.0", "0.2.0", "0.3.0")
REFUSED = ("0.1.0-arrays", "0.1.0-one-property-per-packing")
# packed file: the permuted model that it was made of
PACKED = {"packed": "permuted", "stripped": "permuted", "subword-packed": "subword-permuted"}
# what each version's own simulate printed
COUNTS = {
    "permuted": {"passes": 7, "cycles": 319, "dense_cycles": 646, "nonzeros": 251},
    "subword-permuted": {"passes": 6, "cycles": 336, "dense_cycles": 758, "nonzeros": 250},
}
QUICK = PermuteOptions(
    array=ArrayShape(8, 8), fan_in=3, temp_schedule=TemperatureSchedule(moves_per_weight=0), jobs=1
)
NO_DIGESTS = "the file was written by tightc 0.2.0 or older, without digests: damage to it is not noticed"


def read(version: str, name: str) -> Model:
    return load_model(FIXTURES / version / f"{name}.onnx")


def matrices(model: Model) -> dict[str, np.ndarray]:
    """The weights of each layer by its name, as they are stored."""
    network = read_network(model)
    return {layer.name: network.matrix(layer) for layer in network.layers}


def outputs(model: Model) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    return list(session.run(None, models.feeds(model.proto)))


def tensors(model: Model) -> list[bytes]:
    """The constants, without their names, which --strip of 0.1.0 kept."""
    return sorted(numpy_helper.to_array(tensor).tobytes() for tensor in model.proto.graph.initializer)


@pytest.mark.parametrize("version", READABLE)
@pytest.mark.parametrize("name", [*PACKED, "permuted", "subword-permuted"])
def test_simulate_counts_what_it_counted_then(version: str, name: str) -> None:
    model = read(version, name)
    report = simulate(model, SimulateOptions(verify=True))
    expected = COUNTS[PACKED.get(name, name)]
    assert {key: report.totals[key] for key in expected} == expected
    assert all(row["value_error"] < 1e-4 for row in report.layers)
    assert (NO_DIGESTS in model.notes) == (version != "0.3.0")


@pytest.mark.parametrize("version", READABLE)
@pytest.mark.parametrize(("packed", "permuted"), PACKED.items())
def test_unpack_gives_the_same_weights(version: str, packed: str, permuted: str) -> None:
    plain, _ = unpack(read(version, packed))
    expected = matrices(read(version, permuted))
    assert matrices(plain).keys() == expected.keys()
    for name, matrix in matrices(plain).items():
        assert matrix.dtype == expected[name].dtype and np.array_equal(matrix, expected[name])
    assert is_permuted(plain)


@pytest.mark.parametrize("version", READABLE)
@pytest.mark.parametrize(("packed", "permuted"), PACKED.items())
def test_packed_files_run_in_onnxruntime_with_the_same_outputs(
    version: str, packed: str, permuted: str
) -> None:
    one, other = (outputs(read(version, name)) for name in (packed, permuted))
    assert all(map(np.array_equal, one, other))


@pytest.mark.parametrize("version", READABLE)
@pytest.mark.parametrize(("packed", "permuted"), PACKED.items())
def test_pack_still_writes_the_same_tensors(version: str, packed: str, permuted: str) -> None:
    again, _ = pack(read(version, permuted), PackOptions(strip=packed == "stripped"))
    assert tensors(again) == tensors(read(version, packed))


@pytest.mark.parametrize("version", REFUSED)
@pytest.mark.parametrize("stage", [simulate, pack])
def test_a_permuted_file_of_an_early_version_is_permuted_again(
    version: str, stage: Callable[..., object]
) -> None:
    model = read(version, "permuted")
    with pytest.raises(ModelError, match=r"recorded by an older tightc; run tightc permute again$"):
        stage(model, SimulateOptions() if stage is simulate else PackOptions())
    again, _ = permute(model, QUICK)
    assert simulate(again, SimulateOptions()).totals["nonzeros"] == COUNTS["permuted"]["nonzeros"]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (version, name)
        for version in REFUSED
        for name in PACKED
        if (FIXTURES / version / f"{name}.onnx").exists()
    ],
)
def test_a_packed_file_of_an_early_version_is_made_again_from_its_source(version: str, name: str) -> None:
    model = read(version, name)
    for stage in (
        unpack,
        lambda model: permute(model, QUICK),
        lambda model: simulate(model, SimulateOptions()),
    ):
        with pytest.raises(ModelError) as fault:
            stage(model)
        assert fault.value.remedy == "run tightc permute and pack again, from the model before permute"
    assert outputs(model)  # it still runs


def test_the_source_of_the_early_files_can_be_packed() -> None:
    model = load_model(FIXTURES / "pruned.onnx")
    packed, _ = pack(permute(model, QUICK)[0])
    assert all(map(np.array_equal, outputs(packed), outputs(read("0.1.0-arrays", "packed"))))
