"""The recipes of configs/experiments have the same number of epochs, training options and array."""

from __future__ import annotations

from pathlib import Path

import pytest

from tightc.config.yaml import read_options
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import resolved_yaml
from tightc.tile.array import ArrayShape

FOLDER = Path(__file__).parents[2] / "configs" / "experiments"
PATHS = [path for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "matrix"]
COMPARED = [path for path in PATHS if not path.stem.endswith("-dense")]


def recipe_of(path: Path) -> Recipe:
    return read_options(path, Recipe)


def test_every_method_of_the_comparison_has_a_recipe() -> None:
    resnet20 = [path.stem.removeprefix("resnet20-") for path in PATHS if path.stem.startswith("resnet20-")]
    assert resnet20 == [
        "aligned", "column-combine-0.5", "column-combine-1.75", "column-combine-budget", "filters", "nm-1-16", "nm-1-8",
        "subword-folded", "subword", "unaligned",
    ]  # fmt: skip
    vgg16 = [path.stem for path in PATHS if path.stem.startswith("vgg16-")]
    assert vgg16 == ["vgg16-aligned", "vgg16-column-combine-1.75", "vgg16-dense", "vgg16-subword"]
    fashion = [path.stem for path in PATHS if path.stem.startswith("fashion-")]
    assert fashion == [
        "fashion-aligned",
        "fashion-column-combine-0.5",
        "fashion-column-combine-1.75",
        "fashion-dense",
    ]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_valid_and_reads_back_the_same(path: Path, tmp_path: Path) -> None:
    recipe = recipe_of(path)
    assert recipe.data.validation == 5000
    (tmp_path / "again.yaml").write_text(resolved_yaml(recipe), encoding="utf-8")
    assert recipe_of(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize("network", ["fashion", "resnet20", "vgg16"])
def test_all_methods_have_the_same_budget_of_epochs(network: str) -> None:
    budgets = {}
    for path in COMPARED:
        if path.stem.startswith(network):
            finetunes = [step.finetune for step in recipe_of(path).stages if step.finetune]
            budgets[path.stem] = sum(options.epochs for options in finetunes)
            assert f"Budget: {budgets[path.stem]} epochs in all" in path.read_text(encoding="utf-8")
    assert len(set(budgets.values())) == 1, budgets


@pytest.mark.parametrize("path", COMPARED, ids=lambda path: path.stem)
def test_all_methods_train_alike_and_end_permuted_for_the_same_array(path: Path) -> None:
    steps = recipe_of(path).stages
    for step in steps:
        if step.finetune:
            options = step.finetune
            assert (options.learning_rate, options.weight_decay, options.distill_weight) == (
                0.05,
                0.0001,
                0.9,
            )
            assert options.augment and options.mixup == 0 and options.teacher
        if step.permute:
            columns = 32 if step.permute.subword_bits is None else 32 * 8 // step.permute.subword_bits
            assert (step.permute.array, step.permute.fan_in) == (ArrayShape(32, columns), 16)
    assert steps[0].stage == "evaluate", "the dense network, on the test set"
    assert [step.stage for step in steps[-3:]] == ["pack", "simulate", "evaluate"]


@pytest.mark.parametrize(
    "path",
    [path for path in COMPARED if "combine" in path.stem and not path.stem.endswith("-budget")],
    ids=lambda path: path.stem,
)
def test_column_combining_prunes_combines_and_trains_in_turns(path: Path) -> None:
    steps = recipe_of(path).stages[1:-3]
    assert [step.stage for step in steps] == ["prune", "permute", "finetune"] * (len(steps) // 3)
    sparsities = [step.prune.sparsity for step in steps[::3]]
    epochs = [step.finetune.epochs for step in steps[2::3]]
    gammas = {step.permute.gamma for step in steps[1::3]}
    assert sparsities == sorted(sparsities) and max(epochs) == epochs[-1] > epochs[0]
    assert gammas == {float(path.stem.rpartition("-")[2])}


def test_column_combining_within_a_budget_raises_it_from_one_training_to_the_next() -> None:
    steps = recipe_of(FOLDER / "resnet20-column-combine-budget.yaml").stages[1:-3]
    assert [step.stage for step in steps] == ["permute", "finetune"] * (len(steps) // 2)
    budgets = [step.permute.budget for step in steps[::2]]
    assert {budget.kind for budget in budgets} == {"energy"}
    assert [budget.factor for budget in budgets] == sorted({budget.factor for budget in budgets})
    assert {step.permute.gamma for step in steps[::2]} == {0.5}
    epochs = [step.finetune.epochs for step in steps[1::2]]
    assert max(epochs) == epochs[-1] > epochs[0]
