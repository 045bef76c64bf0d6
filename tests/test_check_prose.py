"""The checker of sentence lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

import check_prose
from check_prose import problems, sentences


def lengths(markdown: str) -> list[tuple[int, int]]:
    return [(one.line, one.words) for one in sentences(markdown)]


def test_sentences_end_at_full_stops_and_at_blocks() -> None:
    text = "One two three. Four\nfive six!\n\n- Seven eight:\n- nine\n  ten. Eleven?\n"
    assert lengths(text) == [(1, 3), (1, 3), (4, 2), (5, 2), (6, 1)]


@pytest.mark.parametrize(
    "left_out",
    [
        "```sh\nnot. counted. here.\n```",
        "````md\n```\nnot. counted.\n````",
        "# Not counted.",
        "| not | counted. |\n|---|---|",
        "<!-- not.\ncounted. -->",
        "![not counted.](a.svg)",
        "    indented code. is none.",
    ],
)
def test_what_is_no_prose_is_left_out(left_out: str) -> None:
    assert lengths(f"Two words.\n\n{left_out}\n\nThree more words.\n") == [
        (1, 2),
        (4 + left_out.count("\n") + 1, 3),
    ]


def test_code_links_and_abbreviations_end_no_sentence() -> None:
    assert lengths("See `a.onnx. b` and [the page.md](x.md), e.g. Kung et al. in 2019.") == [(1, 12)]
    assert lengths("Version 0.3 has 1.5 times more.") == [(1, 6)]


def test_a_long_sentence_is_named_with_its_line() -> None:
    text = "Short one.\n\nShort two. " + "word " * 35 + "end.\n"
    (found,) = problems("docs/a.md", text)
    assert found.startswith("docs/a.md:3: 36 words, permitted 35: word word")
    assert problems("docs/a.md", text.replace("word end", "end")) == []


def test_the_median_of_a_file_has_a_limit() -> None:
    long, short = "word " * 20 + "end. ", "One two. "
    assert problems("a.md", long + short) == []
    (found,) = problems("a.md", long * 2 + short)
    assert found == "a.md:1: median of 21 words a sentence, permitted 20"


def test_the_exit_code_says_whether_something_is_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Short.\n")
    assert check_prose.main([str(page)]) == 0
    page.write_text("word " * 36 + "\n")
    assert check_prose.main([str(page)]) == 1
    assert capsys.readouterr().out.startswith(f"{page}:1: 36 words")


def test_the_generated_page_is_left_out() -> None:
    names = {path.name for path in check_prose.pages()}
    assert "README.md" in names and "cli.md" not in names
