"""Reports: the result of a stage as typed measures, as a table, as JSON and as a data frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from tightc.errors import OptionError

if TYPE_CHECKING:
    from tightc.model.file import Model

Figures = Mapping[str, Any]
Value = TypeVar("Value")

# the number after the stage in `schema`: raised where a key of that report is renamed or removed
_FIRST_SCHEMA = 1
SCHEMA_VERSIONS: Mapping[str, int] = {"simulate": 2, "compare": 2}


class Measure(Generic[Value]):
    """A measure as a typed attribute; AttributeError where the report does not hold it."""

    def __init__(self, meaning: str) -> None:
        self.__doc__ = meaning
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: type) -> Measure[Value]: ...
    @overload
    def __get__(self, record: MeasureAttributes, owner: type) -> Value: ...
    def __get__(self, record: MeasureAttributes | None, owner: type) -> Measure[Value] | Value:
        if record is None:
            return self
        figures = record.figures()
        if self._name not in figures:
            raise AttributeError(
                f"expected one of {', '.join(figures)}, got {self._name}: this report does not hold it"
            )
        value: Value = figures[self._name]
        return value


class MeasureAttributes:
    """The measures of the glossary as attributes; each report holds those of its stage."""

    weights = Measure[int]("Weights of the layers, zeros included.")
    nonzeros = Measure[int]("Weights that are not zero.")
    density = Measure[float]("Nonzeros / all weights.")
    matrix_compression_rate = Measure[float]("Size of the layer matrices / slots that the tiles occupy.")
    tightness = Measure[float]("Nonzeros packed / slots that the tiles occupy; 1: no empty slot.")
    passes = Measure[int]("Tiles, each loaded once.")
    dense_passes = Measure[int]("Passes of the dense network.")
    pass_compression = Measure[float]("dense_passes / passes.")
    passes_lower_bound = Measure[int]("No lossless packing within the fan-in needs fewer passes.")
    gap = Measure[int | None]("Passes beyond passes_lower_bound; None where weights were dropped.")
    fan_in_max = Measure[int]("Largest number of inputs on a lane.")
    lane_inputs = Measure[int]("Inputs carried, summed over lanes and tiles.")
    packed_bits = Measure[int]("Bits of weights, select bits, lane and column tables.")
    bit_compression = Measure[float]("Dense bits / packed_bits.")
    stream_bits = Measure[int | None](
        "Bits of the entropy-coded memory image; None where all layers run dense."
    )
    dropped_weights = Measure[int]("Nonzeros that a lossy method leaves out.")
    dropped_magnitude = Measure[float]("Their fraction of the sum of squares.")
    cycles = Measure[int]("Cycles of the array.")
    dense_cycles = Measure[int]("Cycles of the dense network.")
    stall_cycles = Measure[int]("Cycles in which the array waits for a buffer or DRAM.")
    speedup = Measure[float]("dense_cycles / cycles.")
    utilisation = Measure[float]("Useful MACs / (PEs x cycles).")
    energy_pj = Measure[float]("Energy in pJ.")
    dense_energy_pj = Measure[float]("Energy of the dense network in pJ.")
    energy_gain = Measure[float]("dense_energy_pj / energy_pj.")
    energy_per_inference_uj = Measure[float]("Energy of one input of the network in uJ.")
    latency_ms = Measure[float | None]("Time of the whole network in ms; None if unknown.")
    accuracy = Measure[float]("Top-1 accuracy in percent.")
    accuracy_drop = Measure[float]("Accuracy of the dense network minus this, in points.")
    agreement = Measure[float]("Images to which a teacher gives the same class, in percent.")
    auc = Measure[float]("Area under the ROC curve, 0 to 1.")
    mae = Measure[float]("Mean absolute error from the labels.")
    macs = Measure[int]("Multiply-accumulates of the dense layers.")
    macs_covered = Measure[float | None]("Fraction of the MACs in layers that tightc packs; None if unknown.")
    bytes_in = Measure[int]("Size of the model before, in bytes.")
    bytes_out = Measure[int]("Size of the model after, in bytes.")
    passed = Measure[bool]("Whether a check or verification holds.")
    equal = Measure[bool]("Whether two models are the same.")

    def figures(self) -> Figures:
        """All measures by name."""
        raise NotImplementedError

    def __dir__(self) -> list[str]:
        held = self.figures()
        hidden = {name for name, kind in vars(MeasureAttributes).items() if isinstance(kind, Measure)}
        return [name for name in object.__dir__(self) if name not in hidden or name in held]


class LayerReport(dict[str, Any], MeasureAttributes):
    """The measures of one layer, or of one row of `compare` and `run`: as keys and as attributes."""

    name = Measure[str]("Name of the layer's node.")
    label = Measure[str]("Readable name of the layer: its module, or else its node.")
    weight = Measure[str]("Name of the layer's weight.")

    def figures(self) -> Figures:
        """All measures by name."""
        return self


@dataclass(frozen=True, repr=False)
class Report(MeasureAttributes):
    """The result of a stage: measures of the whole network as attributes, and those of each layer.

    Parameters
    ----------
    stage : str
        Name of the verb that made the report.
    totals : mapping
        All measures of the network by name; most are attributes too, such as `report.passes`.
    layers : tuple of LayerReport
        A row for each layer (`compare`: for each variant; `run`: for each stage).
    uncovered : tuple of mapping
        Operators that multiply but that tightc does not pack, each with the reason.
    notes : tuple of str
        Remarks, a sentence each.
    """

    stage: str
    totals: Figures
    layers: tuple[LayerReport, ...] = ()
    uncovered: tuple[Figures, ...] = ()
    notes: tuple[str, ...] = field(default=())

    if TYPE_CHECKING:  # rows may be given as any mapping

        def __init__(
            self,
            stage: str,
            totals: Figures,
            layers: Sequence[Figures] = (),
            uncovered: Sequence[Figures] = (),
            notes: Sequence[str] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(map(LayerReport, self.layers)))

    def figures(self) -> Figures:
        """All measures of the network by name."""
        return self.totals

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that `--json` prints. NaN and infinity, which JSON does not have, become null."""
        version = SCHEMA_VERSIONS.get(self.stage, _FIRST_SCHEMA)
        return {
            "schema": f"tightc.{self.stage}/{version}",
            "totals": _plain(self.totals),
            "layers": _plain(self.layers),
            "uncovered": _plain(self.uncovered),
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each layer, or with the totals where there are no layers.

        Mappings within a row become columns of their own, such as `parts.macs`. OptionError without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise OptionError(
                "to_pandas needs pandas, which is not installed", "pip install 'tightc[pandas]'"
            ) from None
        from tightc.reporting.rows import flat_row

        rows = [flat_row(row) for row in self.layers or (self.totals,)]
        return pandas.DataFrame(rows)

    def __str__(self) -> str:
        from tightc.reporting.printing import report_text

        return report_text(self)

    def __repr__(self) -> str:
        from tightc.reporting.text import summary

        return f"<Report of {summary(self)}>"

    def _repr_html_(self) -> str:
        from tightc.reporting.html import report_html

        return report_html(self)


class Result(NamedTuple):
    """What a verb that makes a model returns; it unpacks as a pair: `model, report = tightc.prune(...)`."""

    model: Model
    report: Report

    def __str__(self) -> str:
        return str(self.report)

    def __repr__(self) -> str:
        return f"Result(model=<Model {self.model.origin}>, report={self.report!r})"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a stage early; `result` is what the stage would have returned, with the best by then."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.report.stage} was interrupted; its best result so far is kept")
        self.result = result


def join_names(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _plain(value: Any) -> Any:
    """`value` of dicts and lists of its own, without NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
