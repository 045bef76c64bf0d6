"""Runs of the comparison: on the embedded example for real."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import yaml

import experiments
from equal_accuracy import running, variant
from equal_accuracy.checking import Checked, check
from equal_accuracy.folder import SCHEMA, ResultsFolder
from equal_accuracy.section import BEGIN, END
from equal_accuracy.table import read_table
from equal_accuracy.variant import RECIPES, Change, Variant, variants_of, write_recipe
from helpers import models
from helpers.runs import ROOT, record
from tightc.errors import OptionError
from tightc.example import RECIPE
from tightc.progress import no_progress
from tightc.report import Report

HEAD = "model: digits.onnx\ndata: {data: digits.npz}\nseed: 0\nstages:\n"
TRAIN = "epochs: 1, batch_size: 256, teacher: true"
PERMUTE = "  - permute: {array: 16x16, fan_in: 8, temp_schedule: {moves_per_weight: 5}%s}\n"
ALIGNED = (
    f"{HEAD}  - finetune: {{align: 16x16, budget: compression=6, {TRAIN}}}\n{PERMUTE % ''}"
    "  - pack\n  - simulate\n"
)
COMBINED = (
    f"{HEAD}  - prune: {{sparsity: 0.8}}\n{PERMUTE % ', method: column-combine, gamma: 0.5'}"
    f"  - finetune: {{{TRAIN}}}\n  - pack\n"
)

Command = Callable[..., int]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and beside other tests they wait for one another."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two recipes for the digits, and a page."""
    for name in ("digits.onnx", "digits.npz"):
        shutil.copy(RECIPE.parent / name, tmp_path / name)
    (tmp_path / "digits-aligned.yaml").write_text(ALIGNED)
    (tmp_path / "digits-column-combine-0.5.yaml").write_text(COMBINED)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return tmp_path


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The script, keeping its runs and pages in `place`; gives the exit code."""

    def run(*arguments: str) -> int:
        folders = ["--work", str(place / "work"), "--docs", str(place / "docs")]
        monkeypatch.setattr(sys, "argv", ["experiments.py", *arguments, *folders])
        return experiments.main()

    return run


# --- runs


@pytest.mark.usefixtures("one_thread")
def test_a_run_leaves_its_record_its_model_and_the_page(place: Path, command: Command) -> None:
    recipes = [str(place / "digits-aligned.yaml"), str(place / "digits-column-combine-0.5.yaml")]
    assert command(*recipes, "--points", "4,6", "--keep-model") == 0
    results = ResultsFolder(place / "docs" / "results")
    names = ["digits-aligned", "digits-aligned-budget-compression-4", "digits-column-combine-0.5"]
    assert sorted(path.stem for path in results.runs.glob("*.json")) == names
    aligned, loose, combined = results.read_records()
    assert [row["stage"] for row in aligned["rows"]] == ["dense", "finetune", "permute", "pack", "simulate"]
    rates = [found["rows"][-1]["matrix_compression_rate"] for found in (aligned, loose)]
    assert rates[0] > 5 > 4.2 > rates[1] > 3
    figures = "accuracy accuracy_drop density tightness passes cycles speedup energy_gain bytes"
    assert set(figures.split()) < set(combined["rows"][-1])
    assert (aligned["network"], aligned["method"], aligned["seed"], aligned["epochs"]) == (
        "digits",
        "aligned",
        0,
        1,
    )
    assert loose["changes"] == {"finetune.budget": "compression=4"} and aligned["changes"] == {}
    assert loose["recipe"]["stages"][0]["finetune"]["budget"] == "compression=4"
    assert aligned["recipe"]["model"] == "../../../digits.onnx"
    assert str(place) not in json.dumps([aligned["recipe"], aligned["rows"], aligned["versions"]])
    assert set(aligned["versions"]) >= {"tightc", "torch", "onnxruntime", "numpy"} and aligned["seconds"] > 0
    for name in names:
        onnx.checker.check_model(str(results.model(name)), full_check=True)
    page = results.page.read_text()
    assert page.startswith(f"before\n{BEGIN}\n") and page.endswith(f"\n{END}\nafter\n") and "old" not in page
    assert "| digits-aligned " in page and "| column-combine-0.5 " in page
    assert list(read_table(results)) == names
    assert read_table(results)[names[0]]["sha256"] == results.model_sha256(names[0])

    written_at = results.record("digits-aligned").read_bytes()
    assert command(*recipes, "--points", "4,6") == 0
    assert results.record("digits-aligned").read_bytes() == written_at, "a finished stage was run again"
    assert results.page.read_text() == page

    assert command("--check") == 0
    table = results.table.read_text()
    results.table.write_text(table.replace(results.model_sha256(names[2]) or "", "0" * 64))
    assert command("--check") == 1
    results.table.write_text(table)
    combined["rows"][-1]["cycles"] += 1
    results.record("digits-column-combine-0.5").write_text(json.dumps(combined))
    assert command("--check") == 1
    (place / "digits.npz").unlink()
    assert command("--check") == 2


@pytest.mark.usefixtures("one_thread")
def test_a_run_keeps_the_short_id_that_it_was_given(
    place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(place / "digits-aligned.yaml")
    results = ResultsFolder(place / "docs" / "results")
    assert command(recipe, "--id", "d-w-6x") == 0
    written_at = results.record("d-w-6x").read_bytes()
    assert command(recipe) == 0
    assert [path.stem for path in results.runs.iterdir()] == ["d-w-6x"]
    assert results.record("d-w-6x").read_bytes() == written_at
    assert not results.model("d-w-6x").exists(), "only --keep-model keeps models"
    assert command(recipe, "--seeds", "0,1", "--id", "both") == 2
    assert "--id both: 2 runs; give --id for a single run" in capsys.readouterr().err


def test_the_runs_of_the_project_are_found_again_by_their_commands() -> None:
    """In any order of changes, so that a run again writes its own record."""
    for one in ResultsFolder(ROOT / "docs" / "results").read_records():
        changes = [Change.parse(f"{key}={value}") for key, value in one["changes"].items()]
        base = one["command"].split()[2]
        again = Variant(base, tuple(reversed(changes)))
        assert running._run_id(again, ResultsFolder(ROOT / "docs" / "results")) == one["id"]
        other_seed = Variant(base, tuple(changes), seed=7)
        assert running._run_id(other_seed, ResultsFolder(ROOT / "docs" / "results")) == other_seed.name


def test_an_interrupted_run_counts_its_time_and_goes_on(
    place: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_recipe: Path, folder: Path, **_: object) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_recipe", interrupted)
    assert command(str(place / "digits-aligned.yaml")) == 130
    assert "interrupted: the same command goes on" in capsys.readouterr().err
    assert float((place / "work" / "digits-aligned" / "seconds").read_text()) >= 0
    assert not (place / "docs" / "results" / "runs").exists()


def test_the_dense_vgg16_is_made_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def recipe_run(_recipe: Path, folder: Path, **_: object) -> Report:
        ran.append(folder.name)
        folder.mkdir()
        (folder / "recipe.yaml").write_text("model: m\nstages: [{finetune: {epochs: 3}}]\n")
        (folder / "01-finetune.onnx").write_bytes(b"trained")
        row = {"name": "01-finetune", "stage": "finetune", "state": "done", "bytes": 7}
        return Report("run", {"seed": 0, "array": "32x32"}, (row,))

    root = tmp_path / "root"
    shutil.copytree(RECIPES, root / "configs" / "experiments")
    monkeypatch.setattr(running, "ROOT", root)
    monkeypatch.setattr(running, "RECIPES", root / "configs" / "experiments")
    monkeypatch.setattr(variant, "RECIPES", root / "configs" / "experiments")
    monkeypatch.setattr(running, "run_recipe", recipe_run)
    monkeypatch.setattr(running, "vgg16", lambda **_: models.cnn())
    results = ResultsFolder(tmp_path / "results")
    for _ in range(2):
        running.run(Variant("vgg16-aligned"), tmp_path / "work", results, no_progress)
        shutil.rmtree(tmp_path / "work" / "vgg16-aligned")
    assert ran == ["vgg16-dense", "vgg16-aligned", "vgg16-aligned"]
    assert (root / "build" / "vgg16.onnx").read_bytes() == b"trained"
    assert (root / "build" / "vgg16-random.onnx").exists()
    assert sorted(path.name for path in results.runs.iterdir()) == [
        "vgg16-aligned.json",
        "vgg16-dense.json",
    ]


# --- which runs


def test_points_are_budgets_of_the_recipes_that_have_one() -> None:
    found = variants_of("resnet20-aligned", [], ["8", "10.28"], [0, 1])
    assert [one.name for one in found] == [
        "resnet20-aligned-budget-compression-8",
        "resnet20-aligned-budget-compression-8-seed1",
        "resnet20-aligned",
        "resnet20-aligned-seed1",
    ]
    assert found[1].command == (
        "python scripts/experiments.py resnet20-aligned --set finetune.budget=compression=8 --seeds 1"
    )
    assert [one.name for one in variants_of("resnet20-filters", [], ["8"], [])] == ["resnet20-filters"]


def test_a_change_reaches_every_stage_of_its_name_and_paths_still_lead_there(tmp_path: Path) -> None:
    combined = Variant("resnet20-column-combine-0.5", (Change.parse("finetune.epochs=1"),))
    write_recipe(combined, tmp_path / "changed.yaml")
    changed = yaml.safe_load((tmp_path / "changed.yaml").read_text())
    assert {stage["finetune"]["epochs"] for stage in changed["stages"] if "finetune" in stage} == {1}
    model = ROOT.parent / "shared" / "models" / "resnet20-cifar10-bn.onnx"
    assert (tmp_path / changed["model"]).resolve() == model.resolve()
    assert (tmp_path / changed["data"]["data"]).resolve().name == "cifar10-jpeg.tar.gz"


def test_a_list_gives_each_stage_its_own(tmp_path: Path) -> None:
    change = Change.parse("prune.sparsity=[0.4,0.6,0.8,0.9]")
    write_recipe(Variant("resnet20-column-combine-0.5", (change,)), tmp_path / "changed.yaml")
    stages = yaml.safe_load((tmp_path / "changed.yaml").read_text())["stages"]
    assert [stage["prune"]["sparsity"] for stage in stages if "prune" in stage] == [0.4, 0.6, 0.8, 0.9]
    found = variants_of("resnet20-column-combine-0.5", [change], [], [])
    assert [one.name for one in found] == ["resnet20-column-combine-0.5-sparsity-0.4-0.6-0.8-0.9"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "resnet20-column-combine-0.5", "prune.sparsity=[0.4,0.6]",
            "--set prune.sparsity=[0.4,0.6]: 2 values for 4 stages of that name; give one for each, or one for all",
        ),
        ("resnet20-tight", "finetune.epochs=1", "resnet20-tight: no such recipe; give one of resnet20-aligned, "),
        ("resnet20-aligned", "prune.sparsity=0.5", "--set prune.sparsity=0.5: the recipe has no stage prune; name"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(name: str, change: str, message: str) -> None:
    with pytest.raises(OptionError) as fault:
        variants_of(name, [Change.parse(change)], [], [])
    assert str(fault.value).startswith(message)


def test_a_command_can_be_pasted_and_a_name_is_one_of_a_file() -> None:
    quick = Variant("resnet20-aligned", (Change.parse("permute.temp_schedule={moves_per_weight: 20}"),), 2)
    assert quick.command == (
        "python scripts/experiments.py resnet20-aligned --set 'permute.temp_schedule={moves_per_weight: 20}' --seeds 2"
    )
    assert quick.name == "resnet20-aligned-temp-schedule-moves-per-weight-20-seed2"


@pytest.mark.parametrize("text", ["finetune.epochs", "epochs=1", "finetune.=1", "a.b="])
def test_other_changes_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"not a change; give STAGE.OPTION=VALUE"):
        Change.parse(text)


def test_a_wrong_option_is_refused_before_any_work(
    place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(str(place / "digits-aligned.yaml"), "--set", "finetune.epoch=1") == 2
    assert "stages.0.finetune.epoch: expected one of " in capsys.readouterr().err


def test_the_record_of_another_run_is_not_written_over(
    place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names leave the stage out: --set prune.sparsity and --set finetune.sparsity would be the same."""
    results = ResultsFolder(place / "docs" / "results")
    other = {"schema": SCHEMA, "id": "digits-aligned-epochs-2", "setting": "digits-aligned-epochs-2"}
    text = json.dumps({**other, "changes": {"pack.epochs": "2"}, "command": "another"})
    results.runs.mkdir(parents=True)
    results.record(other["id"]).write_text(text)
    assert command(str(place / "digits-aligned.yaml"), "--set", "finetune.epochs=2") == 2
    assert "digits-aligned-epochs-2.json: the record of a run with pack.epochs=2; " in capsys.readouterr().err
    assert results.record(other["id"]).read_text() == text


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("--check", "there is no packed model to check; give the folder above with --docs"),
        ("--page", "there is no such page; give the folder of one with --docs"),
    ],
)
def test_a_folder_without_records_or_page_is_refused(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments.py", what, "--docs", str(tmp_path)])
    assert experiments.main() == 2
    assert said in capsys.readouterr().err


def test_nothing_named_is_bad_usage(command: Command) -> None:
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2


def test_the_recipes_have_names_of_network_and_method() -> None:
    assert {path.stem.partition("-")[0] for path in RECIPES.glob("*.yaml")} == {"resnet20", "vgg16"}


# --- checking


def test_a_model_that_was_not_kept_is_not_checked(tmp_path: Path) -> None:
    assert check(record("n", "aligned", 9.0, 0.6), ResultsFolder(tmp_path)) is None


@pytest.mark.parametrize(
    ("figures", "agrees"),
    [
        ({"accuracy": (87.6, 87.65), "cycles": (100, 100)}, True),
        ({"accuracy": (87.6, 87.75), "cycles": (100, 100)}, False),
        ({"accuracy": (87.6, 87.6), "cycles": (100, 101)}, False),
    ],
)
def test_accuracy_may_differ_by_rounding_and_cycles_may_not(
    figures: dict[str, tuple[float, float]], agrees: bool
) -> None:
    checked = Checked("name", figures)
    assert checked.agrees == agrees and str(checked).endswith("agrees" if agrees else "DIFFERS")


def test_other_bytes_than_those_of_the_table_differ() -> None:
    checked = Checked("name", {"cycles": (100, 100)}, same_bytes=False)
    assert (
        not checked.agrees and str(checked) == "name: cycles 100 (100), other bytes than in runs.csv: DIFFERS"
    )


def test_the_first_packed_model_of_the_project_is_what_its_record_says(shared: Path) -> None:
    results = ResultsFolder(ROOT / "docs" / "results")
    found = [checked for one in results.read_records()[:1] if (checked := check(one, results))]
    assert found and all(checked.agrees for checked in found), found
