"""What an interrupt says: how far a command came, what is kept, and how to go on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import models
from tightc.cli import evaluate
from tightc.cli.main import run as run_command
from tightc.cli.standing import Standing

Reports = list[tuple[str, float, dict[str, str]]]
NOTHING = "nothing is kept; the same command starts anew"
STAGE = ("run", 0.2, {"stage": "2 of 6, finetune"})
EPOCH = ("02-finetune", 0.25, {"epoch": "3/10", "loss": "0.1"})


@pytest.mark.parametrize(
    ("reports", "where"),
    [
        ([], "at the start"),
        ([STAGE], "in stage 2 of 6, finetune"),
        ([STAGE, EPOCH], "in stage 2 of 6, finetune, epoch 3 of 10"),
        ([EPOCH], "in epoch 3 of 10"),
        ([("quantize", 0.431, {})], "in quantize, 43% done"),
        ([STAGE, ("02-finetune", 0.431, {})], "in stage 2 of 6, finetune, 43% done"),
        (
            [("conv", 0.9, {}), ("permute", 0.4, {"layers": "3/22"}), ("conv", 0.95, {"gap": "1"})],
            "with 3 of 22 layers done",
        ),
        ([STAGE, EPOCH, ("run", 0.4, {"stage": "3 of 6, permute"}), ("03-x a", 0.5, {})],
         "in stage 3 of 6, permute, 50% done"),
    ],
)  # fmt: skip
def test_the_sentence(reports: Reports, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    standing = Standing()
    passed: Reports = []
    follow = standing.follow(lambda task, done, figures: passed.append((task, done, dict(figures))))
    for report in reports:
        follow(*report)
    standing.kept = "out keeps it"
    standing.explain()
    standing.explain()  # says it once
    assert capsys.readouterr().err == f"stopped {where}; out keeps it\n"
    assert passed == reports


@pytest.mark.parametrize(
    ("function", "arguments", "kept"),
    [
        ("tightc.simulation.simulate:simulate", ["simulate", "net.onnx"], NOTHING),
        ("tightc.comparison.compare:compare", ["compare", "net.onnx"], NOTHING),
        ("tightc.pruning.prune:prune", ["prune", "net.onnx", "--sparsity", "0.5", "-o", "out.onnx"], NOTHING),
        ("tightc.quantization.quantize:quantize", ["quantize", "net.onnx", "-o", "out.onnx"], NOTHING),
        ("tightc.evaluation.evaluate:evaluate", ["evaluate", "net.onnx", "--data", "data.npz"], NOTHING),
        ("tightc.recipe.run:run_recipe", ["run", "-o", "there"],
         "there keeps what is done; run the same command again to go on"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("quiet", [False, True])
def test_every_long_command_explains_an_interrupt(
    function: str,
    arguments: list[str],
    kept: str,
    quiet: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")

    def interrupted(*_: object, progress: object = None, **__: object) -> None:
        if callable(progress):
            progress("work", 0.5, {})
        raise KeyboardInterrupt

    monkeypatch.setattr(function.replace(":", "."), interrupted)
    images = SimpleNamespace(images=None, normalization=None)  # not read before the interrupt
    monkeypatch.setattr(evaluate, "data_for", lambda *_, **__: images)
    assert run_command([*arguments, *(["-q"] if quiet else [])]) == 130
    lines = capsys.readouterr().err.splitlines()
    reported = [] if quiet else [f"stopped in work, 50% done; {kept}"]
    assert [line for line in lines if line] == [*reported, "tightc: interrupted"]
    assert not (tmp_path / "out.onnx").exists()
