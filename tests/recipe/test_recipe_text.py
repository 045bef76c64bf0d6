"""Validation of recipe files, and the messages for invalid ones."""

from __future__ import annotations

import pytest

from helpers.recipes import CHAIN, HALF, HEAD
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError
from tightc.example import RECIPE
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import resolved_yaml


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "r.yaml", Recipe)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (HEAD + "  - permute\nsede: 3\n", "r.yaml:4: sede: expected one of data, "),
        (HEAD + "  - permute: {fanin: 3}\n", "r.yaml:3: stages.0.permute.fanin: expected one of "),
        (HEAD + "  - permute:\n      temp_schedule:\n        step: 3\n", "r.yaml:5: stages.0.permute.temp_schedule"),
        (HEAD + "  - pruned: {sparsity: 0.5}\n", "r.yaml:3: stages.0.pruned: expected one of "),
        (HEAD + "  - squeeze\n", "r.yaml:3: stages.0.squeeze: expected one of "),
        (HEAD + "  - pack: {fast: true}\n", "r.yaml:3: stages.0.pack.fast: expected one of "),
        (HEAD + "  - prune: {sparsity: 1.5}\n", "r.yaml:3: stages.0.prune.sparsity: expected "),
        (HEAD + "  - prune: 0.5\n", "r.yaml:3: stages.0.prune: expected "),
        (HEAD + "  - prune\n", "r.yaml:3: stages.0.prune.sparsity: expected a sparsity or a budget, got neither"),
        (HEAD + "  - 3\n", "r.yaml:3: stages.0: expected a stage, such as pack or "),
        (HEAD + "  - permute\n    pack:\n", "r.yaml:4: not YAML"),
        (HEAD + "  - permute: {}\n    pack: {}\n", "r.yaml:3: stages.0: expected one stage in an entry, got 2"),
        (HEAD + "  - {}\n", "r.yaml:3: stages.0: expected one stage in an entry, got 0; give one of prune"),
        ("model: net.onnx\nstages: []\n", "r.yaml:2: stages: expected list of stages in order: "),
        ("model: net.onnx\nstages: pack\n", "r.yaml:2: stages: expected list of stages in order: "),
        ("model: net.onnx\n", "r.yaml:1: stages: expected list of stages in order: "),
        ("model: 3\nstages: [permute]\n", "r.yaml:1: model: expected path of the ONNX model to start from, got 3; "
         "give a string"),
        ("model: ''\nstages: [permute]\n", "r.yaml:1: model: expected path of the ONNX model to start from, got ''; "
         "give a non-empty string"),
        ("model: a\nseed: -1\nstages: [permute]\n", "r.yaml:2: seed: expected random seed, an integer from 0, got "
         "-1; give a number of at least 0"),
        ("model: a\nseed: 1.5\nstages: [permute]\n", "r.yaml:2: seed: expected random seed, an integer from 0, got "
         "1.5; give an integer"),
        ("model: a\ndata: x\nstages: [permute]\n", "r.yaml:2: data: expected images for "),
        ("model: a\ndata: {path: x}\nstages: [permute]\n", "r.yaml:2: data.path: expected one of crop, data, mean, "
         "resize, std, validation, got path; did you mean data?"),
        ("model: a\ndata: {data: x, mean: red}\nstages: [permute]\n", "r.yaml:2: data.mean: expected mean of pixels "),
    ],
)  # fmt: skip
def test_every_level_is_strict(text: str, start: str) -> None:
    assert error(text).startswith(start)


@pytest.mark.parametrize(
    ("stages", "line", "words"),
    [
        (["permute", "prune: {sparsity: 0.5}"], 4, "stages.1: prune after permute would undo it; move prune"),
        (["permute", "pack", "prune: {sparsity: 0.5}"], 5, "stages.2: prune after pack would undo it"),
        (["permute", "pack", "permute"], 5, "stages.2: permute after pack would undo it"),
        (["permute", "simulate", "prune: {sparsity: 0.5}"], 5, "stages.2: prune after permute would undo it"),
        (["permute", "pack", "finetune"], 5, "stages.2: finetune after pack would undo it; move finetune before pack"),
        (["permute", "finetune", "prune: {sparsity: 0.5}"], 5, "stages.2: prune after permute would undo it"),
        (["permute", HALF, "pack"], 4, "stages.1: prune after permute would undo it; move prune before permute, or"),
        (["permute", HALF, "permute", HALF], 6, "stages.3: prune after permute would undo it"),
        (["permute", "finetune: {sparsity: 0.9}"], 4, "stages.1: finetune with a sparsity or budget after permute"),
        (["permute", "quantize"], 4, "stages.1: quantize after permute would undo it; move quantize"),
        (["quantize: {activations: true}"], 3, "stages.0: quantize needs data; add data: {data: path"),
        (["pack"], 3, "stages.0: pack without permute; put permute before pack"),
        (["prune: {sparsity: 0.5}", "pack"], 4, "stages.1: pack without permute"),
        (["permute", "pack", "pack"], 4, "stages.1: pack twice; keep one"),
        (["finetune"], 3, "stages.0: finetune needs data; add data: {data: path of the images}"),
        (["evaluate"], 3, "stages.0: evaluate needs data"),
        (["finetune: {distill_weight: 0.9}"], 3, "stages.0.finetune.distill_weight: there is no teacher; add teacher"),
    ],
)  # fmt: skip
def test_the_order_is_checked(stages: list[str], line: int, words: str) -> None:
    text = HEAD + "".join(f"  - {stage}\n" for stage in stages)
    assert error(text).startswith(f"r.yaml:{line}: {words}")


@pytest.mark.parametrize(
    "stages", [["permute", "finetune", "pack"], ["finetune", "permute", "finetune", "permute"]]
)
def test_finetune_may_follow_permute(stages: list[str]) -> None:
    text = HEAD + "".join(f"  - {stage}\n" for stage in stages) + "data: {data: x}\n"
    assert [step.stage for step in parse_options(text, "r.yaml", Recipe).stages] == stages


@pytest.mark.parametrize(
    "stages",
    [
        ["prune: {sparsity: 0.5}", "permute", "finetune", "prune: {sparsity: 0.9}", "permute", "finetune", "pack"],
        ["permute", "finetune: {sparsity: 0.9}", "permute", "pack"],
    ],
)  # fmt: skip
def test_prune_may_follow_permute_where_permute_follows_it(stages: list[str]) -> None:
    text = HEAD + "".join(f"  - {stage}\n" for stage in stages) + "data: {data: x}\n"
    assert len(parse_options(text, "r.yaml", Recipe).stages) == len(stages)


@pytest.mark.parametrize("entry", ["permute", "permute:", "permute: {}", "{permute: }"])
def test_a_stage_without_options_may_be_written_in_any_way(entry: str) -> None:
    (step,) = parse_options(f"{HEAD}  - {entry}\n", "r.yaml", Recipe).stages
    assert step.stage == "permute" and step.options.fan_in == 8


@pytest.mark.parametrize("text", [CHAIN, RECIPE.read_text(encoding="utf-8")])
def test_a_recipe_written_back_is_the_same_recipe(text: str) -> None:
    recipe = parse_options(text, "r.yaml", Recipe)
    assert parse_options(resolved_yaml(recipe), "again.yaml", Recipe) == recipe
    assert resolved_yaml(parse_options(resolved_yaml(recipe), "again.yaml", Recipe)) == resolved_yaml(recipe)


def test_every_recipe_that_comes_with_the_project_is_valid(pytestconfig: pytest.Config) -> None:
    found = sorted((pytestconfig.rootpath / "configs").glob("*.yaml"))
    assert found
    for path in found:
        recipe = parse_options(path.read_text(encoding="utf-8"), str(path), Recipe)
        assert parse_options(resolved_yaml(recipe), "again.yaml", Recipe) == recipe
