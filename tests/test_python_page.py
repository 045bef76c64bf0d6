"""The code of docs/python.md runs, with `import tightc` alone, and passes a strict type check."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import tightc

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", CODE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "7,944 of 79,440 weights are left, density 0.10" in done.stdout
    assert "did you mean sparsity?" in done.stdout
    assert "tightc.simulate/" in done.stdout
    assert (tmp_path / "packed.onnx").is_file()
    (tmp_path / "packed.onnx").unlink()


def test_the_page_imports_tightc_alone() -> None:
    assert re.findall(r"^(?:import|from) .*$", CODE, re.MULTILINE) == ["import tightc"]


def test_the_page_names_every_verb_and_no_other_name() -> None:
    named = set(re.findall(r"tightc\.(\w+)", PAGE))
    assert named <= set(tightc.__all__)
    verbs = "inspect prune finetune quantize permute pack unpack simulate compare evaluate check diff verify"
    for verb in verbs.split():
        assert f"`{verb}`" in PAGE


def test_the_sentences_are_short() -> None:
    for page in (PAGE, (ROOT / "docs" / "design" / "stability.md").read_text(encoding="utf-8")):
        prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
        prose = re.sub(r"^[|#].*$", ".", prose, flags=re.MULTILINE)
        for sentence in re.split(r"(?<=[.:?])\s+|\n\n|^- ", prose, flags=re.MULTILINE):
            assert len(sentence.split()) <= 35, sentence


def test_a_strict_type_check_passes_the_page_and_finds_wrong_keywords(tmp_path: Path) -> None:
    page = CODE.replace("    tightc.prune(model, sparsety=0.9)\n", "    pass\n")
    (tmp_path / "page.py").write_text(page, encoding="utf-8")
    wrong = 'import tightc\n\nmodel = tightc.load("m.onnx")\ntightc.prune(model, sparsety=0.9)\n'
    wrong += 'tightc.permute(model, fan_in="8")\n'
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    source = str(Path(tightc.__file__).parents[1])
    (tmp_path / "mypy.ini").write_text("[mypy]\nplugins = pydantic.mypy\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(tmp_path / "cache"),
            "page.py",
            "wrong.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "MYPYPATH": source},
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 2, done.stdout
    assert errors[0].startswith('wrong.py:4: error: Unexpected keyword argument "sparsety" for "prune"')
    assert errors[1].startswith('wrong.py:5: error: Argument "fan_in" to "permute"')


def _environment() -> dict[str, str]:
    """The environment of a script that imports the tightc under test."""
    return {**os.environ, "PYTHONPATH": str(Path(tightc.__file__).parents[1])}
