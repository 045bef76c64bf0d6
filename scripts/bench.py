"""What tightc costs in time, as ratios within one run: machines differ and are shared, so seconds alone say little.

    python scripts/bench.py [MODEL]

Without MODEL it takes the embedded example.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tightc
from tightc.example import RECIPE
from tightc.model.image_input import image_input
from tightc.model.session import open_session
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions

REPEATS = 7


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of `action`: the best of REPEATS, after one to warm up."""
    action()
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """Prints one line for each ratio."""
    source = sys.argv[1] if len(sys.argv) > 1 else str(RECIPE.parent / "digits.onnx")
    command = str(Path(sys.executable).parent / "tightc")
    pruned, _ = tightc.prune(tightc.load(source), PruneOptions(sparsity=0.9))
    permuted, report = tightc.permute(pruned, PermuteOptions(), seed=0)
    packed, _ = tightc.pack(permuted)

    wanted = image_input(pruned.proto, pruned.origin)
    batch = np.zeros(
        (64, *(side or 1 for side in (wanted.shape.channels, wanted.shape.height, wanted.shape.width)))
    )
    feeds = {wanted.name: batch.astype(np.float32)}
    plain_session, packed_session = (open_session(m.to_bytes(), m.origin) for m in (pruned, packed))
    plain = seconds(lambda: plain_session.run(None, feeds))
    compact = seconds(lambda: packed_session.run(None, feeds))
    print(
        f"inference, packed / plain:               {compact / plain:6.2f}   ({1e3 * plain:.1f} ms plain, batch 64)"
    )

    one = seconds(lambda: tightc.permute(pruned, PermuteOptions(jobs=1), seed=0))
    two = seconds(lambda: tightc.permute(pruned, PermuteOptions(jobs=2), seed=0))
    moves = report.totals["nonzeros"] * PermuteOptions().temp_schedule.moves_per_weight
    print(
        f"permute, one thread / two:               {one / two:6.2f}   ({moves / one / 1e6:.0f} M moves/s on one)"
    )

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/pruned.onnx"
        tightc.save(pruned, path)
        call = [command, "permute", path, "-q", "-o", f"{folder}/permuted.onnx"]
        whole = seconds(lambda: subprocess.run(call, check=True))
        start = seconds(lambda: subprocess.run([command, "inspect", path, "-q"], check=True))
        help_ = seconds(lambda: subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL))
        bare = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    print(
        f"tightc permute / tightc inspect:         {whole / start:6.2f}   ({whole:.2f} s in all, warm cache)"
    )
    print(f"tightc --help / python -c pass:          {help_ / bare:6.2f}   ({1e3 * help_:.0f} ms)")


if __name__ == "__main__":
    main()
