"""Numbers with units: what they come to, that they read back, and what a wrong one is told."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from tightc.config.options import Options
from tightc.config.quantity import (
    PICOJOULE_PER_BYTE,
    SIZE,
    BytesPerSecond,
    Frequency,
    Nanometre,
    Nanosecond,
    OperationsPerCycle,
    Picojoule,
    PicojoulePerByte,
    Size,
    SquareMicrometre,
    Volt,
    WordsPerCycle,
)
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OptionError

# the ends of the range in the unit that numbers are stored in, and whether 0 is permitted beside it
RANGES = {
    WordsPerCycle: (1e-3, 1e9, False),
    OperationsPerCycle: (1e-3, 1e9, False),
    BytesPerSecond: (1.0, 1e18, False),
    Frequency: (1.0, 1e12, False),
    Picojoule: (1e-9, 1e9, True),
    PicojoulePerByte: (1e-9, 1e9, True),
    Nanometre: (0.1, 1e6, False),
    Volt: (1e-3, 1e3, False),
    SquareMicrometre: (1e-6, 1e12, False),
    Nanosecond: (1e-6, 1e9, False),
}


class Everything(Options):
    """One field of each kind."""

    size: Size = Field("1 B", description="a size", validate_default=True)
    words: WordsPerCycle = Field("1 words/cycle", description="a width", validate_default=True)
    bandwidth: BytesPerSecond = Field("1 B/s", description="a bandwidth", validate_default=True)
    clock: Frequency = Field("1 Hz", description="a clock", validate_default=True)
    energy: Picojoule = Field("1 pJ", description="an energy", validate_default=True)
    access: PicojoulePerByte = Field("1 pJ/byte", description="an access", validate_default=True)
    node: Nanometre = Field("1 nm", description="a node", validate_default=True)
    voltage: Volt = Field("1 V", description="a voltage", validate_default=True)
    other: PicojoulePerByte | None = Field(None, description="another access")


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "f.yaml", Everything)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("size", "64 KiB", 65536),
        ("size", "1 B", 1),
        ("size", "1.5 KiB", 1536),
        ("size", "24MiB", 24 * 2**20),
        ("size", "1 GiB", 2**30),
        ("size", "8 kB", 8000),
        ("size", "0.5 MB", 500_000),
        ("size", "1099511627775 B", 2**40 - 1),
        ("words", "32 words/cycle", 32.0),
        ("words", "0.5 words/cycle", 0.5),
        ("bandwidth", "3.2 GB/s", 3.2e9),
        ("bandwidth", "480 MB/s", 4.8e8),
        ("bandwidth", "30 GiB/s", 30 * 2.0**30),
        ("bandwidth", "5 B/s", 5.0),
        ("clock", "400 MHz", 4e8),
        ("clock", "1.1 GHz", 1.1e9),
        ("clock", "32 kHz", 32e3),
        ("energy", "0.2 pJ", 0.2),
        ("energy", "5 fJ", 0.005),
        ("energy", "0.1 nJ", 100.0),
        ("energy", "0 pJ", 0.0),
        ("access", "10 pJ/64bit", 1.25),
        ("access", "1.25 pJ/byte", 1.25),
        ("access", "1.3 nJ/64bit", 162.5),
        ("access", "2 pJ/bit", 16.0),
        ("access", "0 pJ/bit", 0.0),
        ("node", "45 nm", 45.0),
        ("voltage", "0.9 V", 0.9),
        ("voltage", "900 mV", 0.9),
        ("voltage", " +9e-1  V ", 0.9),
        ("other", "1 pJ/byte", 1.0),
    ],
)
def test_texts_come_to_numbers(key: str, text: str, value: float) -> None:
    found = getattr(parse_options(f"{key}: '{text}'", "f.yaml", Everything), key)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "size: 65536",
            "65536 | a number with its unit (B, KiB, MiB, GiB, kB or MB), such as 64 KiB",
        ),
        (
            "bandwidth: 3.2e9",
            "3200000000.0 | a number with its unit (B/s, KiB/s, MiB/s, GiB/s, kB/s, MB/s or GB/s), such as 3.2 GB/s",
        ),
        (
            "clock: '400'",
            "'400' | a number with its unit (Hz, kHz, MHz or GHz), such as 400 MHz",
        ),
        ("words: 32", "32 | a number with its unit (words/cycle), such as 32 words/cycle"),
        (
            "access: 1.25",
            "1.25 | a number with its unit (pJ/byte, pJ/bit, pJ/64bit or nJ/64bit), such as 10 pJ/64bit",
        ),
        (
            "size: 64 KB",
            "'64 KB' | a number in B, KiB, MiB, GiB, kB or MB, such as 64 KiB or 64 kB",
        ),
        ("size: 1.5 mib", "'1.5 mib' | a number in B, KiB, MiB, GiB, kB or MB, such as 1.5 MiB or 1.5 MB"),
        ("size: 8 Kb", "'8 Kb' | a number in B, KiB, MiB, GiB, kB or MB, such as 64 KiB"),  # of bits
        ("clock: 600 Mhz", "'600 Mhz' | a number in Hz, kHz, MHz or GHz, such as 600 MHz"),
        (
            "bandwidth: 2 GBps",
            "'2 GBps' | a number in B/s, KiB/s, MiB/s, GiB/s, kB/s, MB/s or GB/s, such as 2 GB/s",
        ),
        (
            "bandwidth: 2 Gb/s",
            "'2 Gb/s' | a number in B/s, KiB/s, MiB/s, GiB/s, kB/s, MB/s or GB/s, such as 3.2 GB/s",
        ),
        (
            "access: 1 pJ",
            "'1 pJ' | a number in pJ/byte, pJ/bit, pJ/64bit or nJ/64bit, such as 10 pJ/64bit",
        ),
        ("node: 45 um", "'45 um' | a number in nm, such as 45 nm"),
        ("voltage: 0.9 v", "'0.9 v' | a number in V or mV, such as 0.9 V"),
        ("size: 0 KiB", "'0 KiB' | a value from 1 B to 1024 GiB"),
        ("size: -64 KiB", "'-64 KiB' | a value from 1 B to 1024 GiB"),
        ("size: 0.3 B", "'0.3 B' | a value from 1 B to 1024 GiB"),
        ("size: 1.3 B", "'1.3 B' | an integer number of bytes"),
        ("size: 1e300 GiB", "'1e300 GiB' | a value from 1 B to 1024 GiB"),
        ("bandwidth: 0 GB/s", "'0 GB/s' | a value from 1 B/s to 1e9 GB/s"),
        ("clock: -1 MHz", "'-1 MHz' | a value from 1 Hz to 1000 GHz"),
        ("clock: 1e-9999 Hz", "'1e-9999 Hz' | a value from 1 Hz to 1000 GHz"),
        ("clock: 1e9999 Hz", "'1e9999 Hz' | a value from 1 Hz to 1000 GHz"),
        ("energy: -0.1 pJ", "'-0.1 pJ' | 0 or a value from 1e-9 pJ to 1e9 pJ"),
        ("energy: -1e9999 pJ", "'-1e9999 pJ' | 0 or a value from 1e-9 pJ to 1e9 pJ"),
        ("other: -1 pJ/bit", "'-1 pJ/bit' | 0 or a value from 1e-9 pJ/byte to 1e9 pJ/byte"),
        (
            "energy: .inf",
            "inf | a number with its unit, such as 0.2 pJ",
        ),
        ("energy: pJ", "'pJ' | a number with its unit, such as 0.2 pJ"),
        ("size: true", "True | a number with its unit, such as 64 KiB"),
        ("size:", "None | a number with its unit, such as 64 KiB"),
        ("size: [64 KiB]", "['64 KiB'] | a number with its unit, such as 64 KiB"),
        (
            "size: 1_000 B",
            "'1_000 B' | a number in B, KiB, MiB, GiB, kB or MB, such as 64 KiB",
        ),
    ],
)
def test_wrong_quantities_get_one_sentence(line: str, sentence: str) -> None:
    key = line.partition(":")[0]
    meaning = Everything.model_fields[key].description
    value, _, wanted = sentence.partition(" | ")
    assert (
        error(f"# a comment\n{line}\n") == f"f.yaml:2: {key}: expected {meaning}, got {value}; give {wanted}"
    )


def test_a_number_of_endless_digits_is_refused() -> None:
    assert "give a number with its unit" in error(f"size: {'9' * 5000} B")


def test_flags_take_the_same() -> None:
    assert Everything.of({"size": "2 KiB"}).size == 2048
    with pytest.raises(OptionError, match=r"^--size: expected a size, got 5; give a number with its unit"):
        Everything.of({"size": 5})


@pytest.mark.parametrize(
    ("size", "text"),
    [(65536, "64 KiB"), (1000, "1 kB"), (24 * 2**20, "24 MiB"), (1536, "1536 B"), (336, "336 B"), (1, "1 B")],
)
def test_sizes_are_written_short(size: int, text: str) -> None:
    assert SIZE.write(size) == text


def test_accesses_are_written_short() -> None:
    assert [PICOJOULE_PER_BYTE.write(value) for value in (0.0, 1.25, 162.5)] == [
        "0 pJ/bit",
        "10 pJ/64bit",
        "1.3 nJ/64bit",
    ]


@given(st.integers(1, 2**40))
def test_sizes_read_back(size: int) -> None:
    assert SIZE.read(SIZE.write(size)) == size


@pytest.mark.parametrize("kind", RANGES)
@given(data=st.data())
def test_numbers_in_range_read_back_to_the_last_bit(kind: Any, data: st.DataObject) -> None:
    least, most, zero = RANGES[kind]
    value = data.draw(
        st.sampled_from([least, most]) | st.floats(least, most) | st.just(0.0 if zero else least)
    )
    adapter = TypeAdapter[float](kind)
    assert adapter.validate_python(adapter.dump_python(value, mode="json")) == value


@pytest.mark.parametrize("kind", RANGES)
@given(data=st.data())
def test_numbers_out_of_range_are_refused(kind: Any, data: st.DataObject) -> None:
    least, most, zero = RANGES[kind]
    quantity = get_args(kind)[1]
    unit = next(unit for unit, scale in quantity.units.items() if scale == 1)
    value = data.draw(
        st.floats(0, least, exclude_min=True, exclude_max=True)
        | st.floats(most, exclude_min=True, allow_infinity=False)
        | st.floats(max_value=0, exclude_max=zero, allow_infinity=False).filter(lambda x: x or not zero)
    )
    with pytest.raises(ValueError, match=r"^should be ") as caught:
        quantity.read(f"{value!r} {unit}")
    least_text, most_text = quantity.least, quantity.most
    assert str(caught.value) == f"should be {'0 or ' * zero}a value from {least_text} to {most_text}"
    assert quantity.range == f"{'0 or ' * zero}from {least_text} to {most_text}"


NEARLY_SIZES = st.from_regex(r"\A[-+]?\d{1,3}(\.\d{0,3})?(e[-+]?\d{1,4})? ?(B|KiB|kB|MB|GiB|b|)\Z")


@given(NEARLY_SIZES | st.text() | st.floats() | st.integers() | st.none() | st.booleans() | st.binary())
def test_whatever_is_given_is_a_size_or_refused(value: object) -> None:
    try:
        assert SIZE.read(value) > 0
    except ValueError as fault:
        assert str(fault).startswith(("should ", "has no unit"))
