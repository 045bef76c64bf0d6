"""The table of methods: tightc's own, and the example of docs/design/methods.md as an installed package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from helpers import models
from helpers.packings import PackingCase, arrays, check, matrices
from tightc.errors import OptionError
from tightc.permutation import registry
from tightc.permutation.options import PermuteOptions
from tightc.permutation.registry import BUILT_IN, GROUP, Method, find_method, method_names
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design" / "methods.md").read_text()
SCRIPT = "from tightc.cli.main import main; main()"


def block(language: str) -> str:
    """The first code block of a language on the page for authors."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with the example as an installed package, and a model."""
    (tmp_path / "by_size.py").write_text(block("python"))
    info = tmp_path / "by_size-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: by-size\nVersion: 1.0\n")
    entries = tomllib.loads(block("toml"))["project"]["entry-points"][GROUP]
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    models.save(
        models.build(
            "net (float[1, 24] x) => (float[1, 10] y) { y = MatMul(x, w) }", w=models.sparse(24, 10)
        ),
        tmp_path / "net.onnx",
    )
    return tmp_path


def tightc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that finds the packages in `folder`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")])}
    command = [sys.executable, "-B", "-c", SCRIPT, *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_permute_and_simulate_run_a_method_of_an_installed_package(plugin: Path) -> None:
    flags = ["--method", "by-size", "--array", "8x8", "--json", "-o", "out.onnx"]
    done = tightc(plugin, "permute", "net.onnx", *flags)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)["totals"]
    assert (totals["method"], totals["dropped_weights"]) == ("by-size", 0)
    done = tightc(plugin, "simulate", "out.onnx", "--verify", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["passes"] == totals["passes"]


def test_compare_has_a_row_for_a_method_of_an_installed_package(plugin: Path) -> None:
    done = tightc(plugin, "compare", "net.onnx", "--method", "dense,by-size", "--array", "8x8", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["layers"]
    assert [row["variant"] for row in rows] == ["dense", "by-size"]
    assert rows[1]["cycles"] <= rows[0]["cycles"] and rows[1]["dropped_weights"] == 0


@pytest.mark.parametrize("command", ["permute", "compare"])
def test_an_unknown_method_is_refused_with_all_names(plugin: Path, command: str) -> None:
    done = tightc(plugin, command, "net.onnx", "--method", "magic")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "tightc: error: --method: expected one of tight, first-fit, column-combine, nm, row-nm, "
        "series-nm, displace, vusa, whole-filters, structured, dense, "
        "by-size, got 'magic'; choose one of these, or install the package that adds it\n"
    )


def test_a_package_that_cannot_be_imported_is_one_sentence(plugin: Path) -> None:
    (plugin / "by_size.py").write_text("import no_such_module\n")
    done = tightc(plugin, "permute", "net.onnx", "--method", "by-size", "-o", "out.onnx")
    assert done.returncode == 2
    assert done.stderr == (
        "tightc: error: --method: method by-size: by_size:METHOD cannot be imported (No module named "
        "'no_such_module'); reinstall or remove the package that adds it\n"
    )


def test_a_wrong_packing_of_an_installed_package_is_one_sentence(plugin: Path) -> None:
    code = (plugin / "by_size.py").read_text()
    (plugin / "by_size.py").write_text(code.replace("tiles=tuple(tiles)", "tiles=tuple(tiles[1:])"))
    done = tightc(plugin, "permute", "net.onnx", "--method", "by-size", "-o", "out.onnx")
    assert done.returncode == 2 and not (plugin / "out.onnx").exists()
    assert done.stderr.startswith("tightc: error: method by-size gave a wrong packing of ")
    assert done.stderr.endswith("have no slot; report this to the package that adds the method\n")


@settings(max_examples=60)
@given(matrices(), arrays())
def test_the_example_of_the_page_packs_every_matrix(matrix: LayerMatrix, array: ArrayShape) -> None:
    own: dict[str, object] = {}
    exec(block("python"), own)
    case = PackingCase(array)
    packing = own["pack"](matrix, case.problem(matrix))  # type: ignore[operator]
    check(packing, matrix, case)


def test_listing_names_and_help_import_no_kernel() -> None:
    script = (
        "import sys\n"
        "from tightc.permutation.registry import method_names\n"
        "from tightc.permutation.options import PermuteOptions\n"
        "from tightc.comparison.options import CompareOptions\n"
        "PermuteOptions(method='nm')\n"
        "assert 'tight' in method_names()\n"
        "print([name for name in ('numba', 'torch', 'onnx', 'onnxruntime') if name in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_entry_points_of_tightc_are_its_table() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"][GROUP]
    loaded = {name: EntryPoint(name, value, GROUP).load() for name, value in entries.items()}
    assert loaded == BUILT_IN


@pytest.mark.parametrize("method", BUILT_IN.values(), ids=BUILT_IN)
def test_every_method_packs_with_what_it_registers(method: Method) -> None:
    matrix = LayerMatrix(np.eye(4, dtype=np.float32))
    packing = PackingCase(fan_in=8).pack(matrix, method.name)
    assert packing.method == method.name
    assert packing.fan_in == 1 or {"fan_in", "alpha", "pattern"} & method.options


def test_names_of_tightc_come_first_and_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [EntryPoint(name, "os:getcwd", GROUP) for name in ("zeta", "tight", "alpha")]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: others)
    registry._installed.cache_clear()
    try:
        assert method_names() == (*BUILT_IN, "alpha", "zeta")
        assert find_method("tight") is BUILT_IN["tight"]
        with pytest.raises(OptionError, match="expected os:getcwd to be a Method of that name"):
            find_method("alpha")
    finally:
        monkeypatch.undo()
        registry._installed.cache_clear()


def test_options_refuse_what_is_no_method() -> None:
    with pytest.raises(OptionError, match=r"^--method: expected one of tight, .*, got 'magic'; choose"):
        PermuteOptions.of({"method": "magic"})
