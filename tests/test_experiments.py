"""The queue of experiments, on the embedded example for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import yaml

import experiments
from helpers import models
from helpers.runs import ROOT, record
from results import queue, running
from results.checking import Checked, check
from results.folder import ResultsFolder
from results.matrix import Matrix, Row, Run, chosen, read_matrix, runs_of
from results.page import marks
from results.recipes import read_raw, training_name, write_recipe
from results.rows import packed_row
from results.table import read_table
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OptionError
from tightc.example import RECIPE
from tightc.progress import no_progress
from tightc.report import Report

MATRIX = ROOT / "configs" / "experiments" / "matrix.yaml"
HEAD = "model: digits.onnx\ndata: {data: digits.npz, validation: 297}\nseed: 0\nstages:\n  - evaluate\n"
TRAIN = "epochs: 1, batch_size: 100, teacher: true"
STEPS = 10  # of an epoch: 1,000 images
PERMUTE = "  - permute: {array: 16x16, fan_in: 8, temp_schedule: {moves_per_weight: 5}%s}\n"
ALIGNED = (
    f"{HEAD}  - finetune: {{align: 16x16, budget: compression=6, {TRAIN}}}\n{PERMUTE % ''}"
    "  - pack\n  - simulate\n  - evaluate\n"
)
COMBINED = (
    f"{HEAD}  - prune: {{sparsity: 0.8}}\n{PERMUTE % ', method: column-combine, gamma: 0.5'}"
    f"  - finetune: {{{TRAIN}}}\n  - pack\n  - evaluate\n"
)
ROWS = """experiments:
  - seeds: [0, 1]
    rows:
      - {name: d-w, network: digits, method: aligned, keep_model: true}
      - {name: d-w-area, network: digits, method: aligned, options: {permute.objective: area}}
      - {name: d-cc, network: digits, method: column-combine-0.5, epochs: 2}
comparisons:
  - {claim: weights over combining, over: d-w, under: d-cc}
"""
IDS = ["d-w-s0", "d-w-area-s0", "d-cc-s0", "d-w-s1", "d-w-area-s1", "d-cc-s1"]
# the script in a process of its own, which leaves a byte for each step that it trains
DRIVER = """
import os, sys
from pathlib import Path
import experiments
from tightc.finetuning.network.masks import Masks

counted = os.open(sys.argv.pop(1), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
update = Masks.mask_update
def step(self, optimizer):
    update(self, optimizer)
    os.write(counted, b".")
Masks.mask_update = step
sys.exit(experiments.main())
"""

# the page before a run: what is between its marks is written anew
PAGE = "".join(f"{begin}\nold\n{end}\n" for begin, end in map(marks, ("headlines", "experiments")))

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
    """A folder with a matrix of two recipes for the digits, and a page."""
    for name in ("digits.onnx", "digits.npz"):
        shutil.copy(RECIPE.parent / name, tmp_path / name)
    (tmp_path / "digits-aligned.yaml").write_text(ALIGNED)
    (tmp_path / "digits-column-combine-0.5.yaml").write_text(COMBINED)
    (tmp_path / "matrix.yaml").write_text(ROWS)
    (tmp_path / "results").mkdir(parents=True)
    (tmp_path / "results" / "README.md").write_text(f"before\n{PAGE}after\n")
    return tmp_path


def places(place: Path) -> list[str]:
    folders = {"--work": "work", "--results": "results", "--matrix": "matrix.yaml"}
    return [word for flag, name in folders.items() for word in (flag, str(place / name))]


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The script, with matrix, runs and pages in `place`; gives the exit code."""
    monkeypatch.setattr(os, "nice", lambda _: 0)  # for good, in this process

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["experiments.py", *arguments, *places(place)])
        return experiments.main()

    return run


def driver(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """The script in a process of its own; the file steps counts what it trains."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "src")])}
    words = [sys.executable, "-c", DRIVER, str(place / "steps"), *places(place), *arguments]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def steps(place: Path) -> int:
    return (place / "steps").stat().st_size if (place / "steps").exists() else 0


def figures(place: Path) -> dict[str, list[dict[str, object]]]:
    """The rows of all records."""
    return {one["id"]: one["rows"] for one in ResultsFolder(place / "results").read_records()}


# --- the queue


@pytest.mark.usefixtures("one_thread")
def test_the_queue_leaves_a_record_of_each_run_and_the_page(place: Path, command: Command) -> None:
    assert command() == 0
    results = ResultsFolder(place / "results")
    found = {one["id"]: one for one in results.read_records()}
    assert sorted(found) == sorted(IDS)
    aligned, area, combined = (found[name] for name in ("d-w-s1", "d-w-area-s1", "d-cc-s1"))
    stages = ["evaluate", "finetune", "permute", "pack", "simulate", "evaluate"]
    assert [row["stage"] for row in aligned["rows"]] == ["dense", *stages]
    assert aligned["rows"][2]["accuracy"] == area["rows"][2]["accuracy"], "rows of one training share it"
    assert aligned["changes"] == {} and area["changes"] == {"permute.objective": "area"}
    assert combined["changes"] == {"finetune.epochs": 2} and combined["epochs"] == 2
    assert area["recipe"]["stages"][2]["permute"]["objective"] == "area"
    assert aligned["recipe"]["model"] == "../../digits.onnx" and aligned["recipe"]["seed"] == 1
    assert (aligned["row"], aligned["seed"], aligned["chosen_on"]) == ("d-w", 1, "validation")
    assert str(place) not in json.dumps([aligned["recipe"], aligned["rows"], aligned["versions"]])
    assert set(aligned["versions"]) >= {"tightc", "torch", "onnxruntime", "numpy"}
    assert aligned["seconds"] > 0 and aligned["threads"] == 1
    shown = packed_row(aligned)
    assert shown["validation_accuracy"] == aligned["rows"][4]["accuracy"] == aligned["rows"][2]["accuracy"]
    assert shown["accuracy"] == aligned["rows"][-1]["accuracy"] and aligned["rows"][-1]["split"] == "test"
    assert shown["accuracy_drop"] == aligned["rows"][1]["accuracy"] - shown["accuracy"]
    assert {path.stem for path in (results.root / "models").iterdir()} == {"d-w-s0", "d-w-s1"}
    onnx.checker.check_model(str(results.model("d-w-s1")), full_check=True)
    page = results.page.read_text()
    first, *_, last = PAGE.split("old\n")
    assert page.startswith(f"before\n{first}") and page.endswith(f"{last}after\n") and "old" not in page
    assert "| d-w " in page and "| column-combine-0.5 " in page and "| weights over combining, " in page
    table = read_table(results)
    assert list(table) == sorted(IDS) and table["d-w-s0"]["sha256"] == results.model_sha256("d-w-s0")
    assert float(table["d-w-s1"]["validation_accuracy"]) == pytest.approx(shown["validation_accuracy"])

    before = {path: path.stat().st_mtime_ns for path in results.runs.iterdir()}
    assert command() == 0 and command("--pages") == 0
    assert {path: path.stat().st_mtime_ns for path in results.runs.iterdir()} == before
    assert results.page.read_text() == page

    assert command("--check") == 0
    text = results.table.read_text()
    results.table.write_text(text.replace(results.model_sha256("d-w-s0") or "", "0" * 64))
    assert command("--check") == 1
    results.table.write_text(text)
    aligned["rows"][4]["cycles"] += 1
    results.record("d-w-s1").write_text(json.dumps(aligned))
    assert command("--check") == 1
    (place / "digits.npz").unlink()
    assert command("--check") == 2


def test_a_killed_queue_loses_at_most_the_last_epoch(place: Path) -> None:
    pytest.importorskip("torch")
    moment = 27
    (place / "matrix.yaml").write_text(ROWS.replace("epochs: 2", "epochs: 6"))
    killed = driver(place, "d-cc-s0")
    while steps(place) < moment and killed.poll() is None:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = steps(place)
    assert moment <= done < 6 * STEPS and not figures(place)
    resumed = driver(place, "d-cc-s0")
    assert resumed.wait() == 0, resumed.communicate()
    repeated = steps(place) - 6 * STEPS
    assert 0 <= repeated <= STEPS, f"{repeated} steps were trained twice"

    undisturbed = place / "undisturbed"
    undisturbed.mkdir()
    for name in ("digits.onnx", "digits.npz", "digits-column-combine-0.5.yaml", "matrix.yaml"):
        shutil.copy(place / name, undisturbed / name)
    (undisturbed / "results").mkdir()
    shutil.copy(place / "results" / "README.md", undisturbed / "results" / "README.md")
    assert driver(undisturbed, "d-cc-s0").wait() == 0
    assert figures(undisturbed) == figures(place)


def test_two_queues_do_not_both_take_a_run(place: Path) -> None:
    pytest.importorskip("torch")
    both = [driver(place), driver(place)]
    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    started = [
        [line.partition(":")[0] for line in text.splitlines() if line.endswith(": started")] for text in said
    ]
    assert sorted(started[0] + started[1]) == sorted(IDS)
    assert steps(place) == 2 * (1 + 2) * STEPS, "two of the three rows share their training"
    assert sorted(figures(place)) == sorted(IDS)


def test_several_queues_of_one_command_end_with_it(place: Path) -> None:
    pytest.importorskip("torch")
    command = [
        sys.executable,
        str(ROOT / "scripts" / "experiments.py"),
        *places(place),
        "--queues",
        "2",
        "d-cc",
    ]
    assert subprocess.run(command, check=False).returncode == 0
    assert sorted(figures(place)) == ["d-cc-s0", "d-cc-s1"]


def test_an_interrupted_queue_says_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_recipe", interrupted)
    assert command() == 130
    assert "interrupted: the same command goes on" in capsys.readouterr().err


def test_a_run_that_fails_does_not_hold_up_the_others(
    place: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stub(recipe: Path, folder: Path, **_: object) -> Report:
        if "column" in recipe.name:
            raise OptionError("no such thing", "leave it")
        return trained(recipe, folder)

    monkeypatch.setattr(running, "run_recipe", stub)
    assert command() == 1
    assert capsys.readouterr().err.count("d-cc-s0: error: no such thing; leave it") == 1
    assert sorted(figures(place)) == sorted(name for name in IDS if "cc" not in name)


def trained(recipe: Path, folder: Path, **_: object) -> Report:
    """What run_recipe leaves, without the work."""
    (folder / "recipe.yaml").write_text(
        f"model: m\nseed: 0\nstages: [{{finetune: {{epochs: 3}}}}] # {recipe}\n"
    )
    (folder / "01-finetune.onnx").write_bytes(b"trained")
    row = {"name": "01-finetune", "stage": "finetune", "state": "done", "bytes": 7, "accuracy": None}
    return Report("run", {"seed": 0, "array": "32x32"}, (row,))


def test_the_list_says_what_is_done_running_and_waiting(
    place: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def stub(recipe: Path, folder: Path, **_: object) -> Report:
        if not seen:
            capsys.readouterr()
            assert command("--list") == 0
            seen.append(capsys.readouterr().out)
        return trained(recipe, folder)

    monkeypatch.setattr(running, "run_recipe", stub)
    assert command("d-w", "d-cc") == 0
    lines = dict(reversed(line.split()) for line in seen[0].splitlines())
    assert lines == {name: "running" if name in ("d-w-s0", "d-w-area-s0") else "waiting" for name in IDS}
    capsys.readouterr()
    assert command("--list") == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["done      d-w-s0", "waiting   d-w-area-s0"]


def test_the_dense_network_is_trained_before_the_runs_that_start_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def stub(recipe: Path, folder: Path, **_: object) -> Report:
        ran.append(folder.name)
        return trained(recipe, folder)

    shutil.copytree(MATRIX.parent, tmp_path / "configs" / "experiments")
    monkeypatch.setattr(running, "run_recipe", stub)
    monkeypatch.setattr(running, "vgg16", lambda **_: models.cnn())
    every = list(runs_of(read_matrix(MATRIX), tmp_path / "configs" / "experiments"))
    results, work = ResultsFolder(tmp_path / "results"), tmp_path / "work"
    runs = chosen(every, ["v16-s-45x", "v16-w-59x", "v16-dense"])
    assert queue.work_off(runs, work, results, no_progress, lambda: None) == 0
    assert ran == ["vgg16-dense-seed1", "vgg16-subword-seed1", "vgg16-aligned-budget-speedup-40-seed1"]
    assert (tmp_path / "build" / "vgg16.onnx").read_bytes() == b"trained"
    assert (tmp_path / "build" / "vgg16-random.onnx").exists()
    (tmp_path / "build" / "vgg16.onnx").unlink()
    results.record("v16-w-59x-s1").unlink()
    assert queue.work_off(runs, work, results, no_progress, lambda: None) == 0
    assert ran[3:] == ["vgg16-dense-seed1", "vgg16-aligned-budget-speedup-40-seed1"], "the file was lost"


# --- the matrix


def test_the_matrix_of_the_project_is_worked_off_seed_by_seed_in_order_of_value() -> None:
    runs = [run.run_id for run in runs_of(read_matrix(MATRIX), MATRIX.parent)]
    assert runs[0] == "r20-e-5x-s1" and len(set(runs)) == len(runs)
    for first, second in (
        ("r20-e-4.5x-s3", "r20-w-8x-e20-s1"),
        ("r20-nm-8x-s1", "r20-w-8x-e20-s2"),
        ("r20-f-1.7x-s3", "r20-w-10x-s1"),
        ("r20-cc-5x-e100-s3", "v16-dense-s1"),
    ):
        assert runs.index(first) < runs.index(second)


def test_every_run_of_the_project_has_a_valid_recipe(tmp_path: Path) -> None:
    """write_recipe reads it back."""
    matrix = read_matrix(MATRIX)
    for run in runs_of(matrix, MATRIX.parent):
        write_recipe(run, tmp_path / f"{run.run_id}.yaml")
        recipe = yaml.safe_load((tmp_path / f"{run.run_id}.yaml").read_text())
        assert recipe["seed"] == run.seed and recipe["data"]["validation"] == 5000
    names = {row.name for group in matrix.experiments for row in group.rows}
    assert {side for one in matrix.comparisons for side in (one.over, one.under)} <= names


def test_the_records_of_the_project_are_of_the_rows_of_its_matrix() -> None:
    """A row that changed after it was recorded gets another name."""
    rows = {row.name: row for group in read_matrix(MATRIX).experiments for row in group.rows}
    for one in ResultsFolder(ROOT / "docs" / "results").read_records():
        if one["chosen_on"] == "test":
            assert one["id"] == one["row"] and one["seed"] == 0
            continue
        row = rows[one["row"]]
        assert one["id"] == f"{row.name}-s{one['seed']}"
        assert (one["network"], one["method"], one["changes"]) == (row.network, row.method, row.changes)
        assert one["recipe"]["data"]["validation"] == 5000 and one["rows"][-1]["split"] == "test"


def what_trains(run: Run) -> tuple[object, ...]:
    """What a training depends on: not permute after it, but permute between trainings of column combining."""
    row, between = run.row, run.row.method.startswith("column-combine")
    options = {key: value for key, value in row.changes.items() if between or not key.startswith("permute.")}
    return row.network, row.method, run.seed, repr(sorted(options.items()))


def test_rows_that_differ_after_the_training_share_it() -> None:
    runs = {run.run_id: run for run in runs_of(read_matrix(MATRIX), MATRIX.parent)}
    for one, other in (("r20-w-8x-s1", "r20-w-10x-s1"), ("r20-u-9x-s1", "r20-u-10x-s1")):
        assert training_name(runs[one]) == training_name(runs[other])
    names = {training_name(run) for run in runs.values()}
    assert len(names) == len({what_trains(run) for run in runs.values()}) < len(runs)
    assert training_name(runs["r20-w-8x-s1"]) != training_name(runs["r20-w-8x-s2"])


def test_a_permute_before_the_training_is_part_of_it(place: Path) -> None:
    plain = Row(name="a", network="digits", method="column-combine-0.5")
    narrow = Row(name="b", network="digits", method="column-combine-0.5", options={"permute.gamma": 0.25})
    assert training_name(Run(plain, 0, place)) != training_name(Run(narrow, 0, place))


def changed(row: Row, tmp_path: Path) -> list[dict[str, dict[str, object]]]:
    write_recipe(Run(row, 3, MATRIX.parent), tmp_path / "changed.yaml")
    return list(yaml.safe_load((tmp_path / "changed.yaml").read_text())["stages"])


def test_a_change_reaches_every_stage_of_its_name_and_paths_still_lead_there(tmp_path: Path) -> None:
    stages = changed(Row(name="a", network="resnet20", method="column-combine-0.5", epochs=1), tmp_path)
    assert [stage["finetune"]["epochs"] for stage in stages if "finetune" in stage] == [1] * 4
    recipe = yaml.safe_load((tmp_path / "changed.yaml").read_text())
    model = ROOT.parent / "shared" / "models" / "resnet20-cifar10-bn.onnx"
    assert (tmp_path / recipe["model"]).resolve() == model.resolve() and recipe["seed"] == 3
    assert (tmp_path / recipe["data"]["data"]).resolve().name == "cifar10-jpeg.tar.gz"


def test_a_list_gives_each_stage_its_own(tmp_path: Path) -> None:
    options = {"prune.sparsity": [0.4, 0.6, 0.8, 0.9]}
    row = Row(name="a", network="resnet20", method="column-combine-0.5", epochs=[1, 2, 3, 4], options=options)
    stages = changed(row, tmp_path)
    assert [stage["prune"]["sparsity"] for stage in stages if "prune" in stage] == [0.4, 0.6, 0.8, 0.9]
    assert [stage["finetune"]["epochs"] for stage in stages if "finetune" in stage] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"method": "column-combine-0.5", "options": {"prune.sparsity": [0.4, 0.6]}},
            "a: prune.sparsity: expected 4 values, got 2; give one for each stage of that name, or one for all",
        ),
        (
            {"method": "aligned", "options": {"prune.sparsity": 0.5}},
            "a: prune.sparsity: expected a stage of resnet20-aligned.yaml, got none of that name; "
            "name one that it has",
        ),
        (
            {"method": "tight"},
            "resnet20-tight.yaml: expected a recipe, got no file; name its network and method",
        ),
        (
            {"method": "aligned", "options": {"finetune.epoch": 1}},
            "stages.1.finetune.epoch: expected one of ",
        ),
    ],
)
def test_what_is_not_there_is_named(row: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises((OptionError, ConfigError)) as fault:
        changed(Row(name="a", network="resnet20", **row), tmp_path)
    assert message in str(fault.value)


def test_a_name_stands_for_one_row() -> None:
    row = "{name: a, network: n, method: m}"
    with pytest.raises(ConfigError, match="expected one row a, got 2; rename one"):
        parse_options(f"experiments: [{{seeds: [1], rows: [{row}, {row}]}}]\n", "m.yaml", Matrix)


def test_runs_are_chosen_by_run_or_by_row(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [Run(Row(name=name, network="n", method="m"), seed, Path()) for name in "ab" for seed in (1, 2)]
    assert [run.run_id for run in chosen(runs, ["b", "a-s2"])] == ["b-s1", "b-s2", "a-s2"]
    assert command("d-x") == 2
    said = (
        "error: d-x: expected a run or row of the matrix, got another name; give one of d-w, d-w-area, d-cc"
    )
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("--check", "expected a packed model, got none to check; give the folder with --results"),
        ("--pages", "expected a page, got no file; give the folder of one with --results"),
    ],
)
def test_a_folder_without_records_or_page_is_refused(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments.py", what, "--results", str(tmp_path)])
    assert experiments.main() == 2
    assert said in capsys.readouterr().err


def test_a_missing_page_is_found_before_the_work(
    place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "results" / "README.md").unlink()
    assert command() == 2
    assert "expected a page, got no file; give the folder of one with --results" in capsys.readouterr().err
    assert not figures(place)


@pytest.mark.parametrize("words", [["--queues", "0"], ["--queues", "two"], ["--list", "--check"]])
def test_bad_usage_is_refused(command: Command, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(*words)
    assert ended.value.code == 2


def test_data_of_a_function_stays_as_it_is(place: Path) -> None:
    text = ALIGNED.replace("data: digits.npz", "data: 'package.module:images'")
    (place / "digits-aligned.yaml").write_text(text)
    run = Run(Row(name="a", network="digits", method="aligned"), 0, place)
    write_recipe(run, place / "changed.yaml")
    assert read_raw(place / "changed.yaml")["data"]["data"] == "package.module:images"


@pytest.mark.usefixtures("one_thread")
def test_data_at_an_absolute_path_stays_there_in_recipe_and_record(place: Path, command: Command) -> None:
    """As of a system's package: a path relative to a checkout would lead elsewhere in another one."""
    data = str(place / "digits.npz")
    recipe = place / "digits-column-combine-0.5.yaml"
    recipe.write_text(COMBINED.replace("data: digits.npz", f"data: {data}"))
    assert command("d-cc-s0") == 0
    (written,) = (place / "work").glob("*.yaml")
    assert read_raw(written)["data"]["data"] == data
    (one,) = ResultsFolder(place / "results").read_records()
    assert one["recipe"]["data"]["data"] == data and one["recipe"]["model"] == "../../digits.onnx"


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
