"""The MLPerf Tiny section: halves that do not meet, quality from outputs by hand, recipes that fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import mlperf_tiny, tiny_networks
from benchmarks.intervals import wilson
from benchmarks.tiny_networks import NETWORKS, Network, quality, write_halves
from helpers import models
from helpers.loading import loaded
from tightc.config.yaml import read_options
from tightc.recipe.recipe import Recipe

INPUTS = np.arange(7 * 3, dtype=np.float32).reshape(7, 3)
LABELS = np.arange(7) % 2
RECIPES = sorted(mlperf_tiny.RECIPES.glob("*.yaml"))


def network(**given: object) -> Network:
    return Network("some", "of a test", 80.0, 85.0, lambda: (INPUTS, LABELS), **given)


@pytest.mark.parametrize(("is_autoencoder", "name"), [(False, "x"), (True, "input")])
def test_halves_are_the_even_and_the_odd_samples(tmp_path: Path, is_autoencoder: bool, name: str) -> None:
    write_halves(network(is_autoencoder=is_autoencoder), tmp_path)
    even, odd = INPUTS[[0, 2, 4, 6]], INPUTS[[1, 3, 5]]
    for file, train, test in (("some.npz", even, odd), ("some-swapped.npz", odd, even)):
        with np.load(tmp_path / file) as stored:
            assert set(stored) == {f"{name}_train", f"{name}_test", "y_train", "y_test"}
            assert stored[f"{name}_train"].tolist() == train.tolist()
            assert stored[f"{name}_test"].tolist() == test.tolist()
            assert len(set(stored["y_train"])) == len(set(stored["y_test"])) == 1
    before = (tmp_path / "some.npz").stat().st_mtime_ns
    write_halves(network(is_autoencoder=is_autoencoder), tmp_path)
    assert (tmp_path / "some.npz").stat().st_mtime_ns == before


def test_the_held_out_half_is_the_one_that_does_not_train() -> None:
    assert tiny_networks.held_out(network())[0].tolist() == INPUTS[[1, 3, 5]].tolist()
    assert tiny_networks.held_out(network(), swapped=True)[0].tolist() == INPUTS[[0, 2, 4, 6]].tolist()


def test_accuracy_is_the_share_of_largest_outputs() -> None:
    """Logits are the two inputs: 300 samples, more than a batch, of which 225 have the larger one at their label."""
    identity = models.build(
        "net (float[N, 2] x) => (float[N, 2] y) { [c] y = MatMul(x, w) }", w=np.eye(2, dtype=np.float32)
    )
    inputs = np.tile(np.float32([[1, 0], [0, 1], [3, 2], [5, 4]]), (75, 1))
    found = quality(network(), loaded(identity), (inputs, np.tile([0, 1, 0, 1], 75)))
    assert (found.value, found.samples) == (75.0, 300)
    assert found.interval == pytest.approx([100 * end for end in wilson(225, 300)])


def test_the_score_of_a_recording_is_the_mean_square_error_of_its_windows() -> None:
    """A network that gives the half of each input: errors are a quarter of the square."""
    half = models.build(
        "net (float[N, 2] x) => (float[N, 2] y) { [c] y = MatMul(x, w) }", w=np.eye(2, dtype=np.float32) / 2
    )
    recordings = np.float32([[[1, 1], [1, 1]], [[2, 0], [0, 0]], [[3, 0], [0, 0]], [[2, 2], [2, 2]]])
    # mean squares 1, 1, 2.25 and 4: of the four pairs two are in order, one is tied, one is not
    found = quality(network(is_autoencoder=True), loaded(half), (recordings, np.int64([1, 0, 0, 1])))
    assert (found.value, found.samples) == ((1 + 1 + 0.5 + 0) / 4, 4)


def test_each_network_has_a_recipe_for_each_goal() -> None:
    wanted = {f"{one.name}-{goal}" for one in NETWORKS for goal in mlperf_tiny.GOALS}
    assert {path.stem for path in RECIPES} == wanted | set(mlperf_tiny.FLOAT)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_int8_from_end_to_end_and_packed_for_one_array(path: Path) -> None:
    stages = _stages(path)
    recipe = read_options(path, Recipe)
    if "build" in recipe.model:  # it goes on from the weights of another
        folder, file = Path(recipe.model).parts[-2:]
        number, _, stage = Path(file).stem.partition("-")
        before = _stages(mlperf_tiny.RECIPES / f"{folder}.yaml")
        assert [step.stage for step in before if step.stage != "simulate"][int(number) - 1] == stage
        stages = before[: int(number)] + stages
    int8 = [] if path.stem in mlperf_tiny.FLOAT else [True]
    assert [step.quantize.activations for step in stages if step.quantize] == int8
    packed = [step.permute for step in stages if step.permute]
    assert len(packed) == (not path.stem.endswith("-dense"))
    assert all((str(one.array), one.fan_in) == ("32x32", 8) for one in packed)


def _stages(path: Path) -> list:
    return list(read_options(path, Recipe).stages)
