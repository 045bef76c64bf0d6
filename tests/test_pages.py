"""Every command that README and docs show runs, and prints what they show.

Left out are docs/cli.md and docs/results/runs, which scripts write, and the blocks of scripts/bench.py in the pages
that it writes. scripts/pages/pages.toml lists every other block that does not run, or runs with less. Outputs are
compared as they are, but for spaces at the ends of lines. Where a training is in them, numbers are left out: they
depend on the processor.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

import refresh_pages
from pages import running
from pages.blocks import Block, Command, read_blocks, read_commands
from pages.exceptions import PageRules, read_rules
from pages.folder import make_folder, run_commands, write_program
from pages.running import RUN, command_blocks, find_pages, run_page
from tightc.cli.main import tightc

ROOT = Path(__file__).parents[1]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def is_run(page: str) -> bool:
    rules = read_rules().get(page, PageRules())
    return any(rules.reason_not_to_run(block.text) is None for block in command_blocks(text_of(page)))


@pytest.mark.parametrize("page", [page for page in find_pages() if is_run(page)])
def test_the_commands_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    found = run_page(page, tmp_path / "page")
    assert not found.failures, "\n".join(found.failures)
    assert not found.differences, "\n".join([*found.differences, "see scripts/refresh_pages.py"])
    if found.missing:
        pytest.skip(f"needs {', '.join(found.missing)}, which is not installed; all else on the page ran")


def test_no_exception_is_stale() -> None:
    rules = read_rules()
    assert set(rules) <= set(find_pages())
    for page, rule in rules.items():
        blocks = command_blocks(text_of(page))
        for text in rule.texts():
            assert any(text in block.text for block in blocks), f"{page}: no block has {text!r}"
        reasons = [left.reason for left in (*rule.not_run, *rule.run_with)]
        assert all(reasons), page
        unused = [left.text for left in rule.not_run if len([b for b in blocks if left.text in b.text]) > 1]
        assert not unused, f"{page}: more than one block has {unused}; name each"


def test_what_is_not_run_names_options_scripts_and_targets_that_there_are(tmp_path: Path) -> None:
    """Programs that only note their arguments stand in for those of the blocks that are not run."""
    place, notes = make_folder(tmp_path / "page", small=False), tmp_path / "notes"
    notes.mkdir()
    shown = 0
    for program, command in {
        "tightc": f'printf "%s\\0" "$@" > {notes}/$$',
        "python": f'test -f {ROOT}/"$1"',
        "make": f'exec {shutil.which("make")} -n "$@"',
        "pip": 'test "$1" = install',
        "apt-get": 'test "$1" = install',
    }.items():
        write_program(place.parent / "bin" / program, command)
    for page, rule in read_rules().items():
        blocks = [block for block in command_blocks(text_of(page)) if rule.reason_not_to_run(block.text)]
        shown += sum(len(re.findall(r"\btightc [a-z]+\s", block.text)) for block in blocks)
        commands = [command.text for block in blocks for command in read_commands(block)]
        for command, ended in zip(commands, run_commands(commands, place, stop=True), strict=True):
            assert ended.code == 0, f"{page}: {command}{ended.output}"
    called = [note.read_text().split("\0")[:-1] for note in notes.iterdir()]
    assert len(called) == shown > 0
    with click.Context(tightc) as context:
        for arguments in called:
            name, command, rest = tightc.resolve_command(context, arguments)
            assert command is not None and name is not None
            command.make_context(name, rest, parent=context)  # raises where an option is wrong


def test_no_command_hides_in_a_block_of_another_kind() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for block in read_blocks(path.read_text(encoding="utf-8")):
            if block.language not in RUN:
                command = re.search(r"^(?:\$ |tightc [a-z]+ (?!\[)|make |pip )", block.text, re.MULTILINE)
                is_reference = path.name == "cli.md"
                assert command is None or is_reference, f"{path.name}: ```{block.language}: {command}"


def test_commands_continue_and_end_at_their_output() -> None:
    page = "a\n```console\n$ one \\\n>   two\nx\n$ y\n$ three\n```\n```sh\n$ no\n```\n"
    console, sh = read_blocks(page)
    assert page[console.start : console.end] == console.text
    assert read_commands(console) == [
        Command("one \\\n  two\n", "$ one \\\n>   two\n", "x\n"),
        Command("y\n", "$ y\n", ""),
        Command("three\n", "$ three\n", ""),
    ]
    assert read_commands(sh) == [Command("$ no\n", "$ no\n", "")]


def test_a_console_block_begins_with_a_command() -> None:
    with pytest.raises(ValueError, match=r"expected a console block to begin with '\$ ', got 'x'"):
        read_commands(Block("console", "x\n", 0, 2))


def test_the_shell_keeps_functions_and_its_folder_and_tells_codes(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    commands = ["f() { echo f $1 ; }", "mkdir a; cd a", "f 1; pwd", "f 2 >&2; (exit 3)"]
    ended = run_commands(commands, place)
    assert [end.code for end in ended] == [0, 0, 0, 3]
    assert [end.output for end in ended] == ["", "", f"f 1\n{place}/a\n", "f 2\n"]
    (stopped,) = run_commands(["false | true\necho x"], place, stop=True)
    assert stopped.code == 1 and not stopped.output


PAGE = """# Page

```console
$ cat name.txt; false
{}
```

```sh
touch {}
```
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one page, whose folder has a file `name.txt` with the word `new`."""

    def make(folder: Path, small: bool) -> Path:
        place = folder / "place"
        place.mkdir(parents=True)
        (place / "name.txt").write_text("new  \n")
        return place

    monkeypatch.setattr(running, "make_folder", make)
    monkeypatch.setattr(running, "read_rules", lambda: {"README.md": PageRules(ends={"false": 1})})
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(PAGE.format("old", "x"))
    return tmp_path


def test_another_output_is_a_difference_and_refresh_writes_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_pages(project) == ["README.md"]
    found = run_page("README.md", project / "first", project)
    assert found.differences == ["cat name.txt; false\nexpected\nold\ngot\nnew\n"] and not found.failures
    assert refresh_pages.refresh("README.md", project) == []
    assert (project / "README.md").read_text() == PAGE.format("new", "x")
    assert not run_page("README.md", project / "second", project).differences
    assert refresh_pages.refresh("README.md", project) == []
    assert capsys.readouterr().out == "README.md: written\nREADME.md: up to date\n"


def test_another_exit_code_is_a_failure(project: Path) -> None:
    (project / "README.md").write_text(PAGE.format("new", "no/x").replace("; false", "; false || true"))
    first, second = refresh_pages.refresh("README.md", project)
    assert first == "README.md: cat name.txt; false || true\nexit code 0: new\n"
    assert second.startswith("README.md: touch no/x\nexit code 1: ")


def test_a_program_that_is_not_there_leaves_its_block_out(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = PageRules(needs={"no-such-program": "cat"})
    monkeypatch.setattr(running, "read_rules", lambda: {"README.md": rules})
    found = run_page("README.md", project / "first", project)
    assert found.missing == {"no-such-program"} and not found.failures and not found.differences
    assert found.text == PAGE.format("old", "x")


def test_numbers_of_a_training_are_left_out_and_words_are_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = PageRules(ends={"false": 1}, trained=("echo",))
    monkeypatch.setattr(running, "read_rules", lambda: {"README.md": rules})
    for shown, same in (("a 7 b", True), ("a 7 c", False), ("a 7", False)):
        (project / "README.md").write_text(
            PAGE.format(shown, "x").replace("cat name.txt", "echo 'a  1,234.5 b'")
        )
        assert bool(run_page("README.md", project / shown, project).differences) != same


def test_an_unknown_page_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["refresh_pages.py", "docs/none.md"])
    with pytest.raises(SystemExit, match="2"):
        refresh_pages.main()
    assert "expected pages with commands, such as README.md, got docs/none.md" in capsys.readouterr().err
