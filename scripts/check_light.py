"""Proves that all but finetune works without torch: runs every command of the `tightc` given, in a folder of its own.

python scripts/check_light.py .venv-light/bin/tightc
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tightc
from tightc.example import RECIPE

MODEL = str(RECIPE.parent / "digits.onnx")
DATA = str(RECIPE.parent / "digits.npz")


def call(command: str, *arguments: str, status: int = 0) -> str:
    """Standard output of `tightc ARGUMENTS`, which must end with `status`."""
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != status:
        sys.exit(f"tightc {' '.join(arguments)}: exit {done.returncode}, not {status}\n{done.stderr}")
    return done.stdout if status == 0 else done.stderr


def main() -> None:
    """Runs the chain on the embedded example."""
    command = str(Path(sys.argv[1]).absolute())
    for tool in ("torch", "pytest", "mypy", "hypothesis"):
        if importlib.util.find_spec(tool):
            sys.exit(f"{tool} is installed: this is not the light environment")
    with tempfile.TemporaryDirectory() as folder:
        pruned, permuted, packed, plain = (f"{folder}/{name}.onnx" for name in ("a", "b", "c", "d"))
        call(command, "inspect", MODEL, "--sensitivity", DATA)
        call(command, "prune", MODEL, "--sparsity", "0.7", "--criterion", "obs", "--data", DATA, "-o", pruned)
        call(command, "prune", MODEL, "--sparsity", "0.9", "-o", pruned)
        call(command, "permute", pruned, "--array", "16x16", "--fan-in", "8", "-o", permuted)
        call(command, "pack", permuted, "-o", packed)
        call(command, "unpack", packed, "-o", plain)
        speedup = json.loads(call(command, "simulate", packed, "--verify", "--json"))["totals"]["speedup"]
        call(command, "compare", pruned, "--method", "dense,tight", "--array", "16x16", "--fan-in", "8")
        before, after = (
            json.loads(call(command, "evaluate", model, "--data", DATA, "--json"))["totals"]["accuracy"]
            for model in (pruned, packed)
        )
        call(command, "check", packed, "--against", pruned, "--data", DATA, "--require", "accuracy_drop==0")
        call(command, "check", packed, "--require", "speedup>=100", status=1)
        call(command, "diff", pruned, packed, status=1)
        call(command, "verify", pruned, packed)
        call(command, "quantize", pruned, "--data", DATA, "-o", plain)
        rtl = json.loads(call(command, "rtl", plain, "-o", f"{folder}/rtl", "--json"))
        modules = [path.name for path in Path(folder, "rtl").glob("*.sv")]
        recipe = Path(folder) / "chain.yaml"
        recipe.write_text(f"model: {MODEL}\nstages:\n  - prune: {{sparsity: 0.8}}\n  - permute\n  - pack\n")
        call(command, "run", str(recipe), "-o", f"{folder}/run")
        training = call(command, "finetune", pruned, "--data", DATA, "-o", plain, status=2)
        fisher = ("prune", MODEL, "--sparsity", "0.5", "--criterion", "fisher", "--data", DATA, "-o", plain)
        refusals = [training, call(command, *fisher, status=2)]
        page = call(command, "report", packed, "-o", f"{folder}/page.html", status=2)
    if "tightc[report]" not in page:
        sys.exit(f"not as it should be: {page}")
    if not all("tightc[finetune]" in refusal for refusal in refusals) or speedup <= 1 or before != after:
        sys.exit(f"not as it should be: {refusals}, speedup {speedup}, accuracy {before} and {after}")
    if len(rtl["layers"]) != 5 or "pe.sv" not in modules:
        sys.exit(f"not as it should be: {modules}, {rtl}")
    print(
        f"light: 17 commands passed without torch, tightc in {Path(tightc.__file__).parent.name}; "
        "finetune, fisher and report say why not"
    )


if __name__ == "__main__":
    main()
