"""A recipe runs no code without permission, and none before the rest of it is checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import models
from tightc.cli.main import run
from tightc.data import function as data_function
from tightc.data.function import module_file
from tightc.errors import ConfigError, DataError, ModelError, OptionError, TightcError
from tightc.recipe.run import run_recipe
from tightc.recipe.workspace import hash_data

MARKER = "from pathlib import Path\nPath('ran').open('a').write(__name__ + ' ')\n"
IMAGES = (
    "import numpy as np\ndef images(): return [(np.full((8, 8, 3), i, np.uint8), i % 4) for i in range(8)]\n"
)
RECIPE = "model: net.onnx\ndata: {data: '%s'}\nstages: [prune: {sparsity: 0.5}]\n"
REFUSED = (
    "r.yaml: data.data: %r names a function, and a recipe may not run code; "
    "if you trust the recipe, run it with --allow-code"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model, and a package `made` with modules that write to the file `ran` when they are imported."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "made" / "inner").mkdir(parents=True)
    for file in ("made/__init__.py", "made/inner/__init__.py"):
        (tmp_path / file).write_text(MARKER)
    (tmp_path / "made" / "inner" / "sets.py").write_text(MARKER + IMAGES)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("made", "bare"):
            del sys.modules[name]


def recipe(text: str) -> Path:
    Path("r.yaml").write_text(text)
    return Path("r.yaml")


def refusal(text: str, **settings: bool) -> str:
    with pytest.raises(TightcError) as caught:
        run_recipe(recipe(text), Path("out"), **settings)
    assert not Path("ran").exists()
    return str(caught.value)


def test_a_function_that_deletes_folders_is_not_called(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        (place / split / "kept").mkdir(parents=True)
    recipe(RECIPE % "shutil:rmtree")
    assert run(["run", "r.yaml", "-o", "out"]) == 2
    assert capsys.readouterr().err == f"tightc: error: {REFUSED % 'shutil:rmtree'}\n"
    assert (place / "train" / "kept").is_dir() and (place / "test" / "kept").is_dir()
    assert not (place / "out").exists()


@pytest.mark.parametrize("source", ["made.inner.sets:images", "made:images", "no_such_module:f"])
def test_nothing_is_imported_without_permission(place: Path, source: str) -> None:
    assert refusal(RECIPE % source) == REFUSED % source


def test_no_key_of_a_recipe_grants_permission(place: Path) -> None:
    for key in ("allow_code", "allow-code"):
        said = refusal(RECIPE % "made.inner.sets:images" + f"{key}: true\n")
        assert said.startswith(f"r.yaml:4: {key}: expected one of ")


@pytest.mark.parametrize("source", ["made.inner", "made/inner.sets:images", "made.inner:sets.images"])
def test_a_source_that_is_neither_path_nor_function_imports_nothing(place: Path, source: str) -> None:
    assert (
        refusal(RECIPE % source)
        .partition(": ")[2]
        .startswith("expected a file or folder, got none of that name")
    )


def test_a_scheduler_that_a_recipe_names_is_not_asked(place: Path) -> None:
    text = "model: net.onnx\nstages:\n  - prune: {sparsity: 0.5}\n  - permute: {dask: 'tcp://127.0.0.1:1'}\n"
    with pytest.raises(ConfigError) as caught:
        run_recipe(recipe(text), Path("out"))
    assert str(caught.value) == (
        "r.yaml: stages.1.permute.dask: 'tcp://127.0.0.1:1' names a scheduler, which can run code here, "
        "and a recipe may not run code; if you trust the recipe, run it with --allow-code"
    )
    with pytest.raises(OptionError, match=r"--dask tcp://127.0.0.1:1: "):
        run_recipe(recipe(text), Path("out"), allow_code=True)


def test_with_permission_the_function_loads_the_data(place: Path) -> None:
    recipe(RECIPE % "made.inner.sets:images")
    assert run(["run", "r.yaml", "-o", "out", "-q", "--allow-code"]) == 0
    assert (place / "ran").read_text() == "made made.inner made.inner.sets "
    rows = run_recipe(place / "r.yaml", place / "out", allow_code=True).layers
    assert [row["state"] for row in rows] == ["unchanged"] * 2 and rows[0]["accuracy"] is not None


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("stages: [prune", "stages: [pack, prune", ConfigError, "stages.0: pack without permute"),
        ("sparsity: 0.5", "sparsity: 5", ConfigError, "sparsity: expected .*, got 5; give a number below 1"),
        ("net.onnx", "no.onnx", ModelError, "no.onnx: no such file"),
        ("net.onnx", "r.yaml", ModelError, "r.yaml: not an ONNX model"),
        ("images'", "images', std: 0", OptionError, "expected numbers above 0, got"),
        (
            "images'",
            "images', mean: [1, 2]",
            OptionError,
            "expected one number, or one per channel \\(3\\), got 2",
        ),
    ],
)
def test_the_rest_of_the_recipe_is_checked_before_the_function_is_imported(
    place: Path, old: str, new: str, error: type[Exception], words: str
) -> None:
    text = (RECIPE % "made.inner.sets:images").replace(old, new)
    assert text != RECIPE % "made.inner.sets:images"
    with pytest.raises(error, match=words):
        run_recipe(recipe(text), Path("out"), allow_code=True)
    assert not Path("ran").exists()


def test_images_for_a_network_that_takes_vectors_are_refused(place: Path) -> None:
    models.save(models.gemm(), place / "flat.onnx")
    text = (RECIPE % "made.inner.sets:images").replace("net.onnx", "flat.onnx")
    with pytest.raises(DataError, match=r"expected an array for each input of the network \(x\), got images"):
        run_recipe(recipe(text), Path("out"), allow_code=True)


# --- where a module is


def test_the_file_of_a_module_is_found_without_importing_its_packages(place: Path) -> None:
    (place / "bare" / "folders").mkdir(parents=True)
    (place / "bare" / "sets.py").write_text(MARKER)
    assert module_file("made.inner.sets:images") == place / "made" / "inner" / "sets.py"
    assert module_file("made.inner:images") == place / "made" / "inner" / "__init__.py"
    assert module_file("bare.sets:images") == place / "bare" / "sets.py"
    assert not Path("ran").exists()


def test_nested_folders_are_packages_too(place: Path) -> None:
    (place / "bare" / "folders").mkdir(parents=True)
    (place / "bare" / "folders" / "sets.py").write_text(IMAGES)
    assert module_file("bare.folders.sets:images") == place / "bare" / "folders" / "sets.py"


@pytest.mark.parametrize("source", ["no_such_module:f", "json.decoder.further:f", "sys:exit"])
def test_a_module_without_a_file_has_none(place: Path, source: str) -> None:
    assert module_file(source) is None
    assert hash_data(source) == source


def test_a_package_that_fails_is_named(place: Path) -> None:
    (place / "made" / "__init__.py").write_text("1 / 0\n")
    (place / "made" / "bare" / "folder").mkdir(parents=True)
    words = r"made.bare.folder.sets:f: it raised ZeroDivisionError: .*; correct the function"
    with pytest.raises(DataError, match=words):
        module_file("made.bare.folder.sets:f")


def test_a_file_of_that_name_is_no_function(place: Path) -> None:
    assert data_function.names_function("made.inner.sets:images")
    (place / "made.inner.sets:images").mkdir()
    assert not data_function.names_function("made.inner.sets:images")
    assert not Path("ran").exists()
