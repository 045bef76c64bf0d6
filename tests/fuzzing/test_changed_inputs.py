"""Changed inputs of each kind: a reader takes them, or raises a TightcError. `make fuzz` does the same for longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fuzz_targets import CORPUS, TARGETS, run_target

# examples a run: fewer where one takes longer
EXAMPLES = {"onnx": 60, "metadata": 100, "header": 60, "packed": 60, "yaml": 80}
FILES = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}
ODD = (0, 1, 0x7F, 0x80, 0xFF)


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """A file of the corpus with some bytes changed, removed, inserted or repeated."""
    content = bytearray(draw(st.sampled_from(FILES[name])).read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((1, 1, 2, 4, 8, 64, 1000)))
        match draw(st.integers(0, 4)):
            case 0:
                content[at : at + 1] = bytes([draw(st.sampled_from(ODD))])
            case 1:
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[draw(st.integers(0, at)) :][:length]
            case 4:
                content[at : at + length] = draw(st.binary(min_size=0, max_size=length))
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read(name: str) -> None:
    assert len(FILES[name]) > 0
    for file in FILES[name]:
        assert run_target(name, file.read_bytes()), file


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_read_or_refused(name: str) -> None:
    @settings(max_examples=EXAMPLES.get(name, 200))
    @given(changed(name))
    def check(content: bytes) -> None:
        run_target(name, content)

    check()
