"""The types of the verbs' keywords. Written by scripts/make_keywords.py from the options: do not edit."""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from tightc import ArrayShape, Budget, EnergyTable, Hardware, Pattern, TemperatureSchedule


class InspectKeywords(TypedDict, total=False):
    """Options of `inspect` as keywords."""

    batch: int | None
    input_shape: Sequence[str]


class PruneKeywords(TypedDict, total=False):
    """Options of `prune` as keywords."""

    sparsity: float | None
    scope: Literal["global", "layer"]
    keep: Sequence[str]
    floor: float
    granularity: Literal["weight", "filter", "subword"]
    subword_bits: Literal[2, 4] | None
    align: ArrayShape | tuple[int, int] | str | None
    budget: Budget | tuple[str, float] | str | None
    criterion: Literal["magnitude", "fisher", "obs"]


class FinetuneKeywords(TypedDict, total=False):
    """Options of `finetune` as keywords."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    rate: Literal["cosine", "one-cycle"]
    warm_up: float
    label_smoothing: float
    average: float
    renorm_images: int
    distil_temperature: float
    distil_weight: float
    unfold_norms: bool
    augment: bool
    mixup: float
    validation: int
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    sparsity: float | None
    scope: Literal["global", "layer"]
    keep: Sequence[str]
    floor: float
    granularity: Literal["weight", "filter", "subword"]
    subword_bits: Literal[2, 4] | None
    align: ArrayShape | tuple[int, int] | str | None
    budget: Budget | tuple[str, float] | str | None
    schedule: Literal["cubic", "linear", "one-shot"]
    prune_from: float
    prune_until: float
    prune_every: int
    regrow: float
    regrow_until: float
    checkpoint: str | PathLike[str] | None
    checkpoint_minutes: float


class QuantizeKeywords(TypedDict, total=False):
    """Options of `quantize` as keywords."""

    keep: Sequence[str]
    calibration: Literal["min-max", "percentile", "entropy"]
    percentile: float


class PermuteKeywords(TypedDict, total=False):
    """Options of `permute` as keywords."""

    array: ArrayShape | tuple[int, int] | str
    fan_in: int
    subword_bits: Literal[2, 4] | None
    method: Literal["tight", "first-fit", "column-combine", "nm", "structured", "dense"]
    alpha: int
    gamma: float
    pattern: Pattern | tuple[int, int] | str
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    objective: Literal["passes", "area", "inputs", "cycles", "side-by-side", "energy"]
    time_limit: float | str | None
    jobs: int
    dask: str | None


class PackKeywords(TypedDict, total=False):
    """Options of `pack` as keywords."""

    strip: bool


class SimulateKeywords(TypedDict, total=False):
    """Options of `simulate` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    array: ArrayShape | tuple[int, int] | str | None
    arrays: int | None
    prefetch_weights: bool | None
    side_by_side: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    dataflow: Literal["ws", "os", "is"]
    verify: bool
    inputs: str | PathLike[str] | None


class CompareKeywords(TypedDict, total=False):
    """Options of `compare` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    array: ArrayShape | tuple[int, int] | str | None
    arrays: int | None
    prefetch_weights: bool | None
    side_by_side: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    method: Sequence[Literal["dense", "structured", "column-combine", "nm", "first-fit", "tight"]] | Literal["dense", "structured", "column-combine", "nm", "first-fit", "tight"] | str
    fan_in: Sequence[int] | int | str
    alpha: int
    gamma: Sequence[float] | float | str
    pattern: Sequence[Pattern | tuple[int, int] | str] | Pattern | tuple[int, int] | str
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    objective: Sequence[Literal["passes", "area", "inputs", "cycles", "side-by-side", "energy"]] | Literal["passes", "area", "inputs", "cycles", "side-by-side", "energy"] | str
    time_limit: float | str | None
    jobs: int


class EvaluateKeywords(TypedDict, total=False):
    """Options of `evaluate` as keywords."""

    batch_size: int
    threads: int
