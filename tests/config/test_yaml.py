"""YAML to options: strict at every level, with file, line, key and what is permitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.config.options import Options
from tightc.config.yaml import parse_options, read_options
from tightc.data.formats import FORMATS
from tightc.data.options import DataOptions
from tightc.errors import ConfigError, OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.recipe.recipe import Recipe
from tightc.simulation.options import SimulateOptions
from tightc.tile.array import ArrayShape


def error(text: str, kind: type[Options] = TemperatureSchedule) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "f.yaml", kind)
    return str(caught.value)


def test_values_reach_their_fields() -> None:
    text = "t_start: 1e-1  # a comment\nt_end: 0.05\nsteps: 7\nmoves_per_weight: 0\n"
    assert parse_options(text, "f.yaml", TemperatureSchedule) == TemperatureSchedule(
        t_start=0.1, t_end=0.05, steps=7, moves_per_weight=0
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_means_the_defaults(text: str) -> None:
    assert parse_options(text, "f.yaml", TemperatureSchedule) == TemperatureSchedule()


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("steps: 3\nstep: 3\n", 2, "step"),
        ("\n\n\nsteps: x\n", 4, "steps"),
        ("seed: 1\nsteps:\n", 2, "steps"),
        ("seed: 1\nsteps: [1]\n", 2, "steps"),
        ("seed: 1\nsteps: {a: 1}\n", 2, "steps"),
        ("steps: 3.0\n", 1, "steps"),
        ("steps: true\n", 1, "steps"),
        ("steps: '3'\n", 1, "steps"),
        ("t_start: '0.1'\n", 1, "t_start"),
        ("t_start: .nan\n", 1, "t_start"),
        ("t_start: .inf\n", 1, "t_start"),
        ("t_start: -1\n", 1, "t_start"),
        ("t_start: 0\n", 1, "t_start"),
        ("steps: 100001\n", 1, "steps"),
        ("steps: 2020-01-01\n", 1, "steps"),
        ("seed: one\n", 1, "seed"),
        ("1: 2\n", 1, "1"),
    ],
)
def test_wrong_keys_and_values_are_named_with_their_line(text: str, line: int, key: str) -> None:
    assert error(text).startswith(f"f.yaml:{line}: {key}: ")


@pytest.mark.parametrize(
    ("key", "nearest"), [("stepz", "steps"), ("moves", "moves_per_weight"), ("tstart", "t_start")]
)
def test_the_nearest_key_is_named(key: str, nearest: str) -> None:
    assert error(f"{key}: 3").endswith(
        f"expected one of {', '.join(sorted(TemperatureSchedule.model_fields))}, got {key}; did you mean {nearest}?"
    )


def test_a_key_that_is_near_to_nothing_has_to_go() -> None:
    assert error("qqqq: 3").endswith("; remove it")


def test_a_key_given_twice_is_refused() -> None:
    assert error("steps: 3\nsteps: 4\n") == "f.yaml:2: steps is given twice; keep one of them"


@pytest.mark.parametrize("text", ["- 1\n", "3\n", "text\n"])
def test_a_file_of_no_keys_is_refused(text: str) -> None:
    assert error(text).startswith("f.yaml:1: holds no keys; give keys such as t_start, t_end, steps, ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c", 1),
        ("steps: 3\n  kind: x\n", 2),
        ("a: [1\n", 2),
        ("steps: 1\n---\nsteps: 2\n", 2),
        ("steps: !!python/object:os.system x", 1),
        ("steps: !mine 3", 1),
        ("steps: *nothing", 1),
        ("\tsteps: 3", 1),
    ],
)
def test_what_is_not_yaml_is_named_with_its_line(text: str, line: int) -> None:
    assert error(text).startswith(f"f.yaml:{line}: not YAML (") and error(text).endswith("; mend the line")


@pytest.mark.parametrize(
    "text",
    [
        "steps: 2020-99-99",
        "steps: !!int abc",
        "steps: !!float x",
        "steps: !!bool x",
        "steps: !!timestamp x",
        "steps: \x07",
        "steps: &a [*a]",
        "steps: &a\n  b: *a",
        "steps: " + "9" * 5000,
        "[" * 3000,
    ],
    ids=lambda text: text[:20],
)
def test_what_yaml_cannot_read_is_refused(text: str) -> None:
    assert error(text).startswith("f.yaml:1: ")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("1E2", 100.0), (".5", 0.5), ("5.", 5.0), ("+1.5", 1.5), ("3", 3.0)]
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: float) -> None:
    assert parse_options(f"t_start: {text}\nt_end: 1e-4", "f.yaml", TemperatureSchedule).t_start == value


@pytest.mark.parametrize("text", ["0x10", "1_000", "0o17", "1:30", "010x"])
def test_other_numbers_are_texts(text: str) -> None:
    assert f"got '{text}'; give an integer" in error(f"steps: {text}")


def test_an_array_is_a_text_of_two_sides() -> None:
    assert parse_options("array: 8x4", "f.yaml", PermuteOptions).array == ArrayShape(8, 4)
    assert "give two integers from 1 to 4096 joined by x" in error("array: 0x32", PermuteOptions)
    assert error("array: 32", PermuteOptions).startswith(
        "f.yaml:1: array: expected array size, rows x columns, "
    )
    assert ", got 32; give two integers" in error("array: 32", PermuteOptions)
    assert ", got [8, 4]; give two integers" in error("array: [8, 4]", PermuteOptions)


def test_keys_inside_keys_are_strict_too() -> None:
    text = "array: 8x8\ntemp_schedule:\n  steps: 3\n  stepz: 3\n"
    assert error(text, PermuteOptions).startswith(
        "f.yaml:4: temp_schedule.stepz: expected one of moves_per_weight, seed, steps, "
    )


def test_a_rule_inside_a_key_names_the_line_of_the_culprit() -> None:
    text = "array: 8x8\ntemp_schedule:\n  t_start: 0.1\n  t_end: 0.5\n"
    assert error(text, PermuteOptions).startswith(
        "f.yaml:4: temp_schedule.t_end: t_end 0.5 is above t_start 0.1"
    )


def test_a_missing_key_says_what_it_is() -> None:
    assert (
        error("mean: [0.5]", DataOptions)
        == f"f.yaml:1: data: expected {FORMATS.partition(';')[0]}, got nothing; add it"
    )
    assert error("scope: layer", PruneOptions) == (
        "f.yaml:1: sparsity: expected a sparsity or a budget, got neither; "
        "give a sparsity such as 0.9, or --budget with --align"
    )


def test_lists_of_texts(tmp_path: Path) -> None:
    found = parse_options("sparsity: 0.5\nskip: [a, 'b*']", "f.yaml", PruneOptions)
    assert found.skip == ("a", "b*")
    assert error("sparsity: 0.5\nskip: a", PruneOptions).endswith(", got 'a'; give a list")
    found_wrong = error("sparsity: 0.5\nskip: [1]", PruneOptions)
    assert found_wrong.startswith("f.yaml:2: skip.0: expected layer to skip")
    assert found_wrong.endswith(", got 1; give a string")


ENERGY = yaml.safe_dump(default_table().model_dump(mode="json"))


def test_an_energy_table_reads_back() -> None:
    assert parse_options(ENERGY, "f.yaml", EnergyTable) == default_table()


@pytest.mark.parametrize(
    ("key", "negative"), [("int8_multiply", "-1 pJ"), ("sram", "-1 pJ/64bit"), ("dram", "-1 nJ/64bit")]
)
def test_an_energy_table_needs_every_entry_with_its_source(key: str, negative: str) -> None:
    table = default_table().model_dump(mode="json")
    for detail in ("source", "node", "voltage", "energy"):
        value = table[key].pop(detail)
        assert f"{key}.{detail}: expected " in error(yaml.safe_dump(table), EnergyTable)
        table[key][detail] = value
    entry = table.pop(key)
    assert f"{key}: expected " in error(yaml.safe_dump(table), EnergyTable)
    for value in (negative, negative.removeprefix("-").split()[0]):
        table[key] = {**entry, "energy": value}
        wrong = error(yaml.safe_dump(table), EnergyTable)
        meaning = "energy of one event" if key == "int8_multiply" else "energy per width of an access"
        assert (
            f"{key}.energy: expected {meaning}, 0 or from 1e-9 pJ" in wrong
            and f", got '{value}'; give " in wrong
        )


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    with pytest.raises(ConfigError, match=r"s.yaml: no such file; check the path of the YAML file"):
        read_options(path, TemperatureSchedule)
    path.write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(ConfigError, match=r"s.yaml: cannot be read as text .*; give a YAML file"):
        read_options(path, TemperatureSchedule)
    with pytest.raises(ConfigError, match=r"expected a regular file, got a folder; give the path of a file"):
        read_options(tmp_path, TemperatureSchedule)
    path.write_text("steps: 3\n")
    assert read_options(path, TemperatureSchedule).steps == 3


@settings(max_examples=60)
@given(
    st.builds(
        PermuteOptions,
        array=st.builds(ArrayShape, st.integers(1, 4096), st.integers(1, 4096)),
        fan_in=st.integers(1, 32767),
        method=st.sampled_from(["tight", "structured", "dense"]),
        temp_schedule=st.builds(
            TemperatureSchedule,
            t_start=st.floats(1e-3, 1e3),
            t_end=st.floats(1e-9, 1e-3),
            steps=st.integers(1, 100_000),
        ),
    )
)
def test_options_survive_a_round_trip_through_yaml(options: PermuteOptions) -> None:
    text = yaml.safe_dump(options.model_dump(mode="json"))
    assert parse_options(text, "f.yaml", PermuteOptions) == options


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        max_size=3,
    )
)
def test_whatever_keys_a_file_has_the_answer_is_options_or_one_sentence(values: dict[str, object]) -> None:
    text = yaml.safe_dump(values, allow_unicode=False)
    try:
        parse_options(text, "f.yaml", TemperatureSchedule)
    except ConfigError as fault:
        assert str(fault).startswith("f.yaml:")


def test_options_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TemperatureSchedule().steps = 4  # type: ignore[misc]


def test_flags_are_named_as_they_are_typed() -> None:
    with pytest.raises(
        OptionError,
        match=r"^--fan-in: expected inputs that a lane .*, got 0; give an integer from 1 to 32767 or auto$",
    ):
        PermuteOptions.of({"fan_in": 0})
    with pytest.raises(
        OptionError, match=r"^--batch: expected batch size, at least 1, got -1; give a number of at least 1$"
    ):
        SimulateOptions.of({"batch": -1})


def test_options_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("steps: 7\n")
    text = "model: a\nstages:\n  - permute: {temp_schedule: slow.yaml}\n"
    recipe = parse_options(text, "r.yaml", Recipe, tmp_path)
    assert recipe.stages[0].permute is not None
    assert recipe.stages[0].permute.temp_schedule == TemperatureSchedule(steps=7)
    (tmp_path / "slow.yaml").write_text("steps: 0\n")
    with pytest.raises(
        ConfigError, match=r"slow.yaml:1: steps: expected number of temperatures, .*, got 0; give "
    ):
        parse_options(text, "r.yaml", Recipe, tmp_path)
    with pytest.raises(
        ConfigError,
        match=r"r.yaml:3: .*temp_schedule: expected default, quick, thorough or the path of a YAML file, got 'slow'; "
        r"give one of them, or a path with a / or .yaml",
    ):
        parse_options(text.replace("slow.yaml", "slow"), "r.yaml", Recipe, tmp_path)


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("08", 8), ("-07", -7), ("+3", 3), ("0", 0)])
def test_integers_are_decimal_as_in_yaml_1_2(text: str, number: int) -> None:
    if number > 0:
        assert parse_options(f"steps: {text}\n", "s.yaml", TemperatureSchedule).steps == number
    else:
        with pytest.raises(ConfigError, match=f"got {number};"):
            parse_options(f"steps: {text}\n", "s.yaml", TemperatureSchedule)


def test_merge_keys_are_taken_and_own_keys_win() -> None:
    text = "<<: [{steps: 3, moves_per_weight: 7}, {steps: 4}]\nmoves_per_weight: 9\n"
    found = parse_options(text, "s.yaml", TemperatureSchedule)
    assert (found.steps, found.moves_per_weight) == (3, 9)
    assert parse_options("<<: &base {steps: 6}\n", "s.yaml", TemperatureSchedule).steps == 6
    with pytest.raises(
        ConfigError, match=r"s\.yaml:1: <<: expected a mapping or a list of mappings, got '3'"
    ):
        parse_options("<<: 3\n", "s.yaml", TemperatureSchedule)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 20,000 values, with those that aliases repeat"),
        (BOMB + "*a11 : x\n", "more than 20,000 values, with those that aliases repeat"),
        (
            "a: &a {b: 1}\n<<: [" + "*a, " * 9_000 + "]",
            "more than 20,000 values, with those that aliases repeat",
        ),
        (
            f"a: &a {'x' * 64_000}\nb: [{'*a, ' * 30}]",
            "more than 20,000 values, with those that aliases repeat",
        ),
        ("a: [" + "1, " * 20_000 + "]", "more than 20,000 values"),
        ("a: &a\n  b: *a", "an alias in what it stands for"),
        ("a: &a {<<: *a}", "an alias in what it stands for"),
        ("a: !!float '" + ":".join(["9"] * 300) + "'", "int too large to convert to float"),
    ],
    ids=lambda text: text[:20],
)
def test_aliases_and_sizes_are_bounded(text: str, said: str) -> None:
    assert error(text).startswith(f"f.yaml:1: cannot be read as YAML ({said}")


def test_aliases_may_repeat_within_the_bound() -> None:
    text = "permute: &a {steps: 3}\n" + "".join(f"b{i}: *a\n" for i in range(100))
    assert error(text).startswith("f.yaml:1: permute: expected one of ")


@pytest.mark.parametrize("key", ["[1, 2]", "{a: 1}", "? [1]\n"])
def test_a_key_has_to_be_a_name(key: str) -> None:
    assert error(f"\n{key}: 3") == "f.yaml:2: expected a name as key, got a list or mapping; give a name"


def test_a_merge_of_a_list_of_others() -> None:
    assert "expected a mapping or a list of mappings, got a list of others" in error("<<: [1, {a: 1}]\n")


def test_only_files_and_pipes_are_read_and_only_small_ones(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"s\.yaml: expected a regular file, got a device"):
        read_options(tmp_path / "s.yaml", TemperatureSchedule)
    with pytest.raises(ConfigError, match=r"temp_schedule|s\.yaml: expected a regular file"):
        parse_options("temp_schedule: s.yaml", "f.yaml", PermuteOptions, tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match=r"large\.yaml: expected at most 1\.0 MiB, got more"):
        read_options(tmp_path / "large.yaml", TemperatureSchedule)


@pytest.mark.parametrize("path", ["~nobody-of-that-name/s.yaml", '"a\\0b.yaml"', '"\\ud800.yaml"'])
def test_paths_that_cannot_be(path: str) -> None:
    assert re.search(r"no such file|cannot be read", error(f"temp_schedule: {path}", PermuteOptions))


def test_a_file_that_is_named_often_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tightc.config import yaml as module

    (tmp_path / "s.yaml").write_text("steps: 3\n")
    read = []
    monkeypatch.setattr(module, "read_stream", lambda path, *rest: read.append(path) or b"steps: 3\n")
    stages = "".join("  - permute: {temp_schedule: s.yaml}\n" for _ in range(5))
    recipe = parse_options(f"model: m.onnx\nstages:\n{stages}", "r.yaml", Recipe, tmp_path)
    assert len(recipe.stages) == 5 and read in ([], [tmp_path / "s.yaml"])


@pytest.mark.parametrize("value", ["1" + "0" * 400, "[1" + "0" * 400 + "]"])
def test_a_number_beyond_floats(value: str) -> None:
    assert "mean: " in error(f"data: d.npz\nmean: {value}", DataOptions)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("time_limit: " + "9" * 20_000 + "x", PermuteOptions, "time_limit: expected time limit"),
        ("time_limit: " + "9" * 350, PermuteOptions, "time_limit: expected time limit"),
        ("time_limit: ٣s", PermuteOptions, "time_limit: expected time limit"),
        ("input_shape: [x=" + "9" * 5000 + "]", SimulateOptions, "input_shape: expected shape of an input"),
        ("batch: 2147483648", SimulateOptions, "give a number of at most 2147483647"),
        ("seed: 9223372036854775808", Recipe, "give an integer of at most 9223372036854775807"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_numbers_of_many_digits(text: str, kind: type[Options], said: str) -> None:
    assert said in error(f"{text}\nmodel: m\nstages: [pack]" if kind is Recipe else text, kind)


def test_the_largest_numbers() -> None:
    assert parse_options("batch: 2147483647", "f.yaml", SimulateOptions).batch == 2**31 - 1
    text = "seed: 9223372036854775807\nmodel: m\nstages: [simulate]"
    assert parse_options(text, "f.yaml", Recipe).seed == 2**63 - 1
    assert parse_options("time_limit: 0.5e3m", "f.yaml", PermuteOptions).time_limit == 30_000
