"""The check of words finds what it is for, wherever a name or a help text can be."""

from __future__ import annotations

from pathlib import Path

import pytest

import check_words

WORDS = {
    "names": {"zork": "executor"},
    "help": {"held apart": "held out"},
    "kept": {"old_zork": "a name of others"},
}


def found(folder: Path, text: str, name: str = "src/options.py") -> list[str]:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return [f"{one.line}: {one.word}" for one in check_words.check(file, folder, WORDS)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("class DaskZork: pass", "zork in DaskZork"),
        ("def zork_of(): pass", "zork in zork_of"),
        ("def f(zork): pass", "zork"),
        ("zork = 1", "zork"),
        ("a.zork", "zork"),
        ("from a import b as zork", "zork"),
        ("f(zork=1)", "zork"),
        ("f('--zork-size')", "zork in --zork-size"),
        ("row['zork']", "zork"),
        ("Field(description='images held  apart')", "held apart"),
        ("option(help='images '\n 'held apart')", "held apart"),
        ("raise ValueError(f'{x} images are held apart')", "held apart"),
        ("def f():\n    '''Images held apart.'''", "held apart"),
    ],
)
def test_names_and_texts(tmp_path: Path, text: str, word: str) -> None:
    assert found(tmp_path, text) == [f"1: {word}"]


@pytest.mark.parametrize("text", ["szork = 1", "'a zork of ten'", "# zork", "f('held apart')"])
def test_what_is_no_name_and_no_help(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == []


def test_names_of_files(tmp_path: Path) -> None:
    assert found(tmp_path, "", "tests/dask_zork.py") == ["1: zork"]


def test_the_list_says_what_to_use_instead() -> None:
    words = check_words.tomllib.loads(check_words.LIST.read_text())
    assert words.keys() == WORDS.keys()
    for section in words.values():
        assert all(word == word.lower() and instead for word, instead in section.items())
        assert list(section) == sorted(section)


def test_the_exit_status_and_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("src", "tests", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\ntelling = 2\n")
    assert check_words.main(tmp_path) == 1
    assert capsys.readouterr().out == "src/a.py:2: 'telling' is not used: say reporter\n"
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    assert check_words.main(tmp_path) == 0
