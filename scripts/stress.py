"""Ends commands by signals, for a limited time, and says what was lost.

python scripts/stress.py [--minutes 10] [--seed 0]

Two kinds of rounds take turns. In one, `tightc run` is ended at a step of writing a file, before or after it. In the
other, a search, a training or a run is ended at a random moment. Most are killed, others get SIGTERM, SIGHUP or SIGINT.
Every file must then be as before or as wanted; the same command again must leave the undisturbed bytes and no other
file. The exit code is 1 where something was lost.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crash_points import Ending, Files, end_at, files_in, steps_of, torn
from tightc.cli.main import run
from tightc.cli.signals import with_ending_signals
from tightc.example import RECIPE

_STAGES = """  - prune: {sparsity: 0.8}
  - finetune: {epochs: 1, batch_size: 64, checkpoint_minutes: %s, device: cpu, dtype: float32}
  - permute: {array: 16x16, fan_in: 8, jobs: 1, temp_schedule: {steps: 5, moves_per_weight: 20}}
  - pack
  - simulate
"""
_RECIPE = f"model: digits.onnx\ndata: {{data: digits.npz}}\nstages:\n{_STAGES}"
_TRAINING = "--data digits.npz --epochs 2 --sparsity 0.8 --checkpoint-minutes 0 --device cpu --dtype float32"
_COMMANDS = {
    "permute": "permute pruned.onnx --jobs 1 -q -o out.onnx",
    "finetune": f"finetune digits.onnx {_TRAINING} -q -o out.onnx",
    "run": "run often.yaml -q -o w",
}
_RUN = ["run", "recipe.yaml", "-q", "-o", "w"]
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_PATIENCE = 120  # seconds that a command may take to end


@dataclass
class Stress:
    """The rounds done by kind, and what was lost; `given` are the files that every round starts with."""

    place: Path
    given: Files
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def fresh(self) -> Path:
        """The folder of a round, with the files that are given."""
        folder = self.place / "round"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in self.given.items():
            (folder / name).write_bytes(content)
        return folder

    def check(self, round_: str, folder: Path, wanted: Files, again: Callable[[], int]) -> None:
        """Compares the files that are left, and those after the same command `again`, with the `wanted` ones."""
        left = files_in(folder)
        # a search or training that is not killed leaves its best by then
        final = [name for name in wanted if "SIGKILL" in round_ or name.startswith("w/")]
        wrong = [f"torn {name}" for name in torn(left, self.given, wanted) if name in final]
        if "SIGKILL" not in round_:
            wrong += [f"left {name}" for name in left if _is_temporary(name)]
        code = again()
        now = files_in(folder)
        wrong += [f"differs {name}" for name in sorted({*now, *wanted}) if now.get(name) != wanted.get(name)]
        if wrong or code:
            self.lost.append(f"{round_}: {', '.join(wrong)}; the same command again: exit code {code}")
            print(self.lost[-1], flush=True)


def _is_temporary(name: str) -> bool:
    return Path(name).name.startswith(".") and Path(name).name != ".lock"


def crash_rounds(stress: Stress) -> Callable[[], None]:
    """A function that ends `tightc run` at a random step of writing a file, once the steps are counted."""

    def work() -> int:
        return with_ending_signals(lambda: run(_RUN))

    importlib.import_module("tightc.recipe.run")
    importlib.import_module("tightc.finetuning.training_run")  # imported once, before the forks
    end_at(work, stress.fresh(), None)  # compiles kernels, which takes steps of its own
    folder = stress.fresh()
    steps = steps_of(work, folder)
    wanted = files_in(folder)

    def one() -> None:
        step, number = stress.dice.randrange(len(steps)), stress.dice.choice(_SIGNALS)
        ending = Ending(step + 1, number, after=stress.dice.random() < 0.5)
        folder = stress.fresh()
        code = end_at(work, folder, ending)
        when = "after" if ending.after else "before"
        name = f"run, {number.name} {when} step {step + 1} of {len(steps)}, {steps[step]}"
        _check_code(stress, name, code, number)
        stress.check(name, folder, wanted, lambda: end_at(work, folder, None))
        stress.done["steps of writing a file"] += 1

    return one


def moment_rounds(stress: Stress) -> Callable[[], None]:
    """A function that ends one of the commands at a random moment, once each has run undisturbed."""
    wanted: dict[str, Files] = {}
    seconds: dict[str, float] = {}
    for name, command in _COMMANDS.items():
        folder, begin = stress.fresh(), time.monotonic()
        if _started(command, folder).wait():
            raise RuntimeError(f"{name} fails undisturbed")
        seconds[name], wanted[name] = time.monotonic() - begin, files_in(folder)

    def one() -> None:
        name, number = stress.dice.choice(list(_COMMANDS)), stress.dice.choice(_SIGNALS)
        moment = stress.dice.uniform(0.02, 0.95) * seconds[name]
        folder = stress.fresh()
        process = _started(_COMMANDS[name], folder)
        time.sleep(moment)
        process.send_signal(number)
        said = f"{name}, {number.name} after {moment:.2f} s"
        try:
            _check_code(stress, said, process.wait(_PATIENCE), number)
        except subprocess.TimeoutExpired:
            stress.lost.append(f"{said}: did not end")
            process.kill()
            process.wait()
        stress.check(said, folder, wanted[name], lambda: _started(_COMMANDS[name], folder).wait())
        stress.done["random times"] += 1

    return one


def _check_code(stress: Stress, name: str, code: int, number: int) -> None:
    """The command ends by the signal itself before and after its work, and is done where it came too late."""
    if code not in (0, -number, 128 + number):
        stress.lost.append(f"{name}: exit code {code}")
        print(stress.lost[-1], flush=True)


def _started(command: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tightc", *command.split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _given(place: Path) -> Files:
    """The files that a round starts with."""
    for name in ("digits.onnx", "digits.npz"):
        shutil.copy(RECIPE.with_name(name), place)
    (place / "recipe.yaml").write_text(_RECIPE % 60)
    (place / "often.yaml").write_text(_RECIPE % 0)
    if _started("prune digits.onnx --sparsity 0.8 -q -o pruned.onnx", place).wait():
        raise RuntimeError("prune fails undisturbed")
    return files_in(place)


def main() -> int:
    """Runs rounds until the time is over, and prints the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="how long to start rounds")
    parser.add_argument("--seed", type=int, default=0, help="seed of signals, steps and moments")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    # a job in the background, as CI may be, ignores Ctrl-C, and its children do too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        place = Path(os.path.realpath(folder))
        (place / "given").mkdir()
        stress = Stress(place, _given(place / "given"), random.Random(options.seed))
        rounds = [crash_rounds(stress), moment_rounds(stress)]
        while time.monotonic() < end or not stress.done.total():
            for one in rounds:
                one()
    print(json.dumps({"seed": options.seed, "rounds": dict(stress.done), "lost": stress.lost}, indent=1))
    return bool(stress.lost)


if __name__ == "__main__":
    sys.exit(main())
