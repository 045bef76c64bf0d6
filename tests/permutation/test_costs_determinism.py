"""With hardware and by energy: the same bytes for any number of jobs, the same tiles without JIT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE

TESTS = Path(__file__).parents[1]
QUICK = tightc.TemperatureSchedule(steps=4, moves_per_weight=20)
OBJECTIVES = ("passes", "area", "inputs", "cycles", "replicated-cycles", "energy")


def network() -> tightc.Model:
    return loaded(
        models.build(
            """net (float[1, 6, 6, 6] x) => (float[1, 9] y) {
                [grouped] a = Conv<group = 2>(x, u)
                [wide] b = Conv(a, v)
                c = Flatten(b)
                [last] y = MatMul(c, w)
            }""",
            u=models.sparse(12, 3, 3, 3),
            v=models.sparse(16, 12, 3, 3, seed=1),
            w=models.sparse(64, 9, seed=2),
        )
    )


@pytest.mark.parametrize("fan_in", [2, "auto"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_any_number_of_jobs_gives_the_same_bytes(objective: str, fan_in: object) -> None:
    table = tightc.simulate(network()).totals["energy_file"]
    given = {"hardware": HARDWARE, "energy": {**table, "name": "other"}, "replicate_tiles": True, "batch": 1}
    found = {
        tightc.permute(
            network(), fan_in=fan_in, objective=objective, temp_schedule=QUICK, jobs=jobs, seed=4, **given
        ).model.to_bytes()
        for jobs in (1, 2, 4)
    }
    assert len(found) == 1


SCRIPT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_costs_determinism import HARDWARE, network
import tightc
from tightc.permutation.methods.tight import tile_heights
tile_heights._TRIES = (20, 20)
quick = tightc.TemperatureSchedule(steps=2, moves_per_weight=3)
for objective in ("energy", "passes"):
    given = {"hardware": HARDWARE, "objective": objective, "temp_schedule": quick, "jobs": 1, "fan_in": 2}
    print(hashlib.sha256(tightc.permute(network(), **given).model.to_bytes()).hexdigest())
"""


def test_the_bytes_are_the_same_without_jit() -> None:
    found = []
    for disabled in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": disabled,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-B", "-c", SCRIPT, str(TESTS / "permutation")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert found[0] == found[1] and len(set(found[0])) == 2
