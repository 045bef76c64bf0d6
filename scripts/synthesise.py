"""Area, timing and energy of the array on a cell library: writes both tables and their page.

    python scripts/synthesise.py --liberty nangate45_typ.lib.gz --name nangate45 --node 45 --sram fakeram45_*.lib.gz

Needs Yosys, OpenSTA (sta) and Icarus Verilog. The energies come from tiles of `--model`, pruned and packed, while they
run on `--images`. Results of each run of a tool are kept in `--build`; what is there is not run again. No text of a
library file enters the tables.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthesis.bench import (
    Bench,
    Measured,
    Stimuli,
    adder_words,
    measure,
    nm_words,
    pe_words,
    subword_words,
    zero_gated_words,
)
from synthesis.designs import BANKS, PeForm, bank_port, baseline_designs, feeder, pe_forms, peripheral_designs
from synthesis.liberty import LibertyError, read_liberty
from synthesis.library import Library, read_library, read_sram
from synthesis.page import write_page
from synthesis.search import Found, common_clock, fastest, search
from synthesis.tables import (
    REFERENCE_FAN_IN,
    Energies,
    Origin,
    area_table,
    energies_of,
    energy,
    energy_table,
    entry_of,
    write_table,
)
from synthesis.tools import ROOT, Design, Setup, ToolError, require_tools, setup_of
from synthesis.vectors import Slot, Source, picked, read_slots
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.errors import TightcError

SHARED = ROOT.parent / "shared"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 where a program, a file or a value is not as it has to be."""
    options = parse_arguments(arguments)
    try:
        make_tables(options)
    except (ToolError, LibertyError, TightcError, OSError) as fault:
        print(f"synthesise.py: {fault}", file=sys.stderr)
        return 2
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--liberty", type=Path, required=True, metavar="FILE", help="cell library, .lib or .lib.gz"
    )
    parser.add_argument("--name", help="name of the tables; default: that of the file up to its first dot")
    parser.add_argument(
        "--node", type=int, required=True, metavar="NM", help="process node in nm, such as 45"
    )
    parser.add_argument(
        "--sram", type=Path, nargs="*", default=[], metavar="FILE", help="SRAM macros, .lib or .lib.gz"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=SHARED / "models" / "resnet20-cifar10.onnx",
        metavar="FILE",
        help="float network",
    )
    parser.add_argument(
        "--images",
        type=Path,
        default=SHARED / "data" / "cifar10-jpeg.tar.gz",
        metavar="PATH",
        help="its images, in splits",
    )
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "synthesis", metavar="FOLDER", help="folder of results"
    )
    return parser.parse_args(arguments)


def make_tables(options: argparse.Namespace) -> None:
    """Both tables of the library, and the page of all libraries."""
    versions = require_tools()
    name = options.name or options.liberty.name.split(".")[0]
    group = read_liberty(options.liberty)
    library = read_library(group)
    setup = setup_of(library, _uncompressed(options.liberty, options.build / name), options.build / name)
    forms = pe_forms()
    baselines = baseline_designs()
    clock = common_clock(
        [fastest(design, setup) for design in [*(f.design for f in forms), *baselines.values()]]
    )
    _report(f"{name}: a clock of {clock:g} ns")
    found = {form: _searched(form.design, clock, setup) for form in forms}
    source = Source(options.model, options.images, options.build)
    energies = measure_energies(found, source, Surroundings(setup, library, clock))
    origin = Origin(
        name,
        options.node,
        library.voltage,
        clock,
        command_of(options, name),
        ", ".join(f"{tool} {version}" for tool, version in versions.items()),
    )
    macros = [_macro(path) for path in options.sram]
    lists = {
        "nm": [
            {
                "weights": 2,
                "inputs": 8,
                **_entry(baselines["nm_2_8"], clock, setup),
                **energies_of(energies.nm),
            }
        ],
        "banks": [{"banks": banks, **_entry(bank_port(banks), clock, setup)} for banks in BANKS],
        "sram": macros,
    }
    others = {
        "zero_gated": _entry(baselines["zero_gated"], clock, setup),
        "feeder_input": _entry(feeder(REFERENCE_FAN_IN), clock, setup, REFERENCE_FAN_IN),
        "shadow_feeder_input": _entry(feeder(REFERENCE_FAN_IN, True), clock, setup, REFERENCE_FAN_IN),
        **{key: _entry(design, clock, setup) for key, design in peripheral_designs().items()},
    }
    configs = ROOT / "configs"
    table = area_table(origin, found, others.__getitem__, energies, lists)
    write_table(configs / "area" / f"{name}.yaml", table, AreaTable)
    write_table(configs / "energy" / f"{name}.yaml", energy_table(origin, energies, macros), EnergyTable)
    write_page(configs, ROOT / "docs" / "benchmarks" / "synthesis.md")


def command_of(options: argparse.Namespace, name: str) -> str:
    """The command without folders, which differ from machine to machine."""
    words = ["python scripts/synthesise.py", f"--liberty {options.liberty.name}", f"--name {name}"]
    words.append(f"--node {options.node}")
    if options.sram:
        words.append(f"--sram {' '.join(path.name for path in options.sram)}")
    return " ".join(words)


@dataclass(frozen=True)
class Surroundings:
    """The tools' setup, the library and the clock in ns that energies are measured at."""

    setup: Setup
    library: Library
    clock: float


def measure_energies(found: dict[PeForm, Found], source: Source, at: Surroundings) -> Energies:
    """What each processing element takes on tiles of its fan-in."""
    slots = {fan_in: read_slots(source, fan_in) for fan_in in sorted({form.fan_in for form in found})}

    def run(design: Design, words: Stimuli, seen: list[Slot]) -> Measured:
        netlists = _searched(design, at.clock, at.setup)
        bench = Bench(design, words, at.clock, at.setup.arrival, at.setup.slew)
        return measure(bench, netlists.at_clock or netlists.fastest, seen, at.library)

    def words_of(form: PeForm) -> Stimuli:
        return subword_words(form.fan_in) if form.subword_bits else pe_words(form.fan_in, form.one_hot)

    baselines, plain = baseline_designs(), PeForm(1).design
    reference = slots[REFERENCE_FAN_IN]
    return Energies(
        {form: run(form.design, words_of(form), slots[form.fan_in]) for form in found},
        {fan_in: run(plain, pe_words(1), [picked(slot) for slot in seen]) for fan_in, seen in slots.items()},
        run(peripheral_designs()["adder"], adder_words, [picked(slot) for slot in reference]),
        run(baselines["zero_gated"], zero_gated_words, slots[1]),
        run(baselines["nm_2_8"], nm_words(reference, REFERENCE_FAN_IN), reference),
    )


def _searched(design: Design, clock: float, setup: Setup) -> Found:
    _report(design.name)
    return search(design, clock, setup)


def _entry(design: Design, clock: float, setup: Setup, each: int = 1) -> dict[str, Any]:
    return entry_of(_searched(design, clock, setup), design, each)


def _macro(path: Path) -> dict[str, Any]:
    """The entry of an SRAM macro."""
    macro = read_sram(read_liberty(path))
    return {
        "words": macro.words,
        "bits": macro.bits,
        "area": f"{macro.area:g} um2",
        "access": energy(macro.access),
        "source": path.name,
    }


def _uncompressed(liberty: Path, folder: Path) -> Path:
    """The library where the tools can read it."""
    packed = liberty.read_bytes()
    path = folder / "library.lib"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    return path


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
