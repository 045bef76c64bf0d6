"""Names from files: what is printed of them, and the names of files made of them."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.errors import ModelError
from tightc.names import escape, file_stem, file_stems, message_text

ANY = st.text(st.characters())  # halves of surrogate pairs too
CONTROLS = st.text(st.sampled_from("\x00\x07\x08\n\r\x1b[]2J0;\u202e\u2066\u200f\ud800\udfff\x7f\x9bab é漢"))


@given(ANY | CONTROLS)
def test_escaped_text_has_letters_that_a_terminal_shows(text: str) -> None:
    found = escape(text)
    assert not {unicodedata.category(letter)[0] for letter in found} & {"C"}
    assert not {"\u2028", "\u2029", "\xa0"} & set(found)
    found.encode()


@given(ANY | CONTROLS)
def test_escapes_are_those_of_python(text: str) -> None:
    """But for backslashes, which stay as they are, Python reads what was there."""
    text = text.replace("\\", "/")
    units = re.sub(
        r"\\(?:x(..)|u(....)|U(........)|([nrt]))",
        lambda found: (
            {"n": "\n", "r": "\r", "t": "\t"}.get(found[4]) or chr(int(found[1] or found[2] or found[3], 16))
        ),
        escape(text),
    )
    assert units == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("Schicht ä 漢", "Schicht ä 漢"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown == message_text(text)


@given(ANY | CONTROLS, st.integers(0, 3000))
def test_messages_are_escaped_and_short(text: str, times: int) -> None:
    found = message_text(text * times)
    assert len(found) <= 2000
    assert found.isprintable()
    assert max(map(len, found.split()), default=0) <= 300


def test_long_words_keep_both_ends() -> None:
    found = message_text(f"net.onnx: the layer {'a' * 10**6}b is odd")
    assert re.fullmatch(r"net\.onnx: the layer a{150}…a{148}b is odd", found)
    assert message_text("a" * 300) == "a" * 300


def test_long_messages_keep_both_ends() -> None:
    found = message_text("begin " + "a b " * 10**6 + "end")
    assert len(found) == 2000 and found.startswith("begin a b") and found.endswith("b end")


def test_errors_are_printable_text() -> None:
    fault = ModelError("\x1b[2Jnet.onnx: " + "a" * 10**6, "give \u202eanother")
    assert str(fault).isprintable() and len(str(fault)) < 400
    assert str(fault).endswith("; give \\u202eanother")
    assert fault.sentence.startswith("\x1b"), "as it was, for who adds to it"


@given(ANY | CONTROLS | st.sampled_from(["..", ".", "", "/", "a/../b", "-rf", "a" * 10_000, "CON"]))
def test_stems_are_names_of_files_in_the_folder(name: str) -> None:
    stem = file_stem(name)
    assert re.fullmatch(r"[A-Za-z0-9-][A-Za-z0-9_.-]*", stem) and len(stem) <= 100
    assert not stem.startswith((".", "_")) and not stem.endswith((".", "_"))


@given(
    st.lists(
        st.sampled_from(["a", "A", "a/b", "a_b", "a b", "A_B", "a_2", "a_b_2", "", "layer", "é"]) | ANY,
        max_size=9,
    )
)
def test_no_two_files_have_one_name(names: list[str]) -> None:
    stems = file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    assert stems == file_stems(names)


def test_names_of_one_beginning_differ_in_a_digest() -> None:
    one, other = file_stem("a" * 10_000), file_stem("a" * 10_001)
    assert one != other and len(one) == len(other) == 100


def test_a_number_does_not_take_the_name_of_another() -> None:
    assert file_stems(["a/b", "a_b", "a_b_2", "a b"]) == ["a_b", "a_b_3", "a_b_2", "a_b_4"]
