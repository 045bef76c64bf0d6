"""The types of the verbs' keywords. Written by scripts/make_keywords.py from the options: do not edit."""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from tightc import AreaTable, ArrayShape, Budget, EnergyTable, Hardware, Pattern, TemperatureSchedule


class InspectKeywords(TypedDict, total=False):
    """Options of `inspect` as keywords."""

    batch: int | None
    input_shape: Sequence[str]


class PruneKeywords(TypedDict, total=False):
    """Options of `prune` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    sparsity: float | None
    scope: Literal["global", "layer"]
    skip: Sequence[str]
    min_density: float
    granularity: Literal["weight", "filter", "subword"]
    subword_bits: Literal[2, 4] | None
    align: ArrayShape | tuple[int, int] | str | None
    budget: Budget | tuple[str, float] | str | None
    fill_passes: bool
    tile_heights: Sequence[int] | int | str
    fan_in: int | None
    criterion: Literal["magnitude", "balanced", "fisher", "obs"]
    calibration_images: int | None


class FinetuneKeywords(TypedDict, total=False):
    """Options of `finetune` as keywords."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    lr_schedule: Literal["cosine", "one-cycle"]
    warmup: float
    label_smoothing: float
    ema_decay: float
    bn_recalibration_images: int
    distill_temperature: float
    distill_weight: float
    distill_loss: Literal["auto", "kl", "mse"]
    distill_values: Sequence[str]
    unfold_batchnorm: bool
    augment: bool
    mixup: float
    validation: int
    device: str
    dtype: Literal["auto", "float32", "bfloat16"]
    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    sparsity: float | None
    scope: Literal["global", "layer"]
    skip: Sequence[str]
    min_density: float
    granularity: Literal["weight", "filter", "subword"]
    subword_bits: Literal[2, 4] | None
    align: ArrayShape | tuple[int, int] | str | None
    budget: Budget | tuple[str, float] | str | None
    fill_passes: bool
    tile_heights: Sequence[int] | int | str
    fan_in: int | None
    criterion: Literal["magnitude", "balanced"]
    pruning_schedule: Literal["cubic", "linear", "one-shot"]
    pruning_start: float
    pruning_end: float
    pruning_interval: int
    regrow: float
    regrow_end: float
    checkpoint: str | PathLike[str] | None
    checkpoint_minutes: float


class QuantizeKeywords(TypedDict, total=False):
    """Options of `quantize` as keywords."""

    skip: Sequence[str]
    calibration: Literal["min-max", "percentile", "entropy"]
    percentile: float
    calibration_images: int


class PermuteKeywords(TypedDict, total=False):
    """Options of `permute` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    fan_in: int | Literal["auto"]
    subword_bits: Literal[2, 4] | None
    method: str
    alpha: int
    gamma: float
    budget: Budget | tuple[str, float] | str | None
    pattern: Pattern | tuple[int, int] | str
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    objective: Literal["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"]
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
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    dataflow: Literal["ws", "os", "is"]
    weights: Literal["packed", "stream"]
    decoder: float | None
    verify: bool
    why: bool
    inputs: str | PathLike[str] | None


class WriteRtlKeywords(TypedDict, total=False):
    """Options of `write_rtl` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    array: ArrayShape | tuple[int, int] | str | None
    fan_in: int | None
    multiplexer: Literal["tree", "one-hot"]
    columns_per_lane_register: int
    prefetch_weights: bool
    overlap_drain: bool
    accumulator_bypass: bool
    simulate: Literal["icarus", "verilator"] | None
    chain: bool
    inputs: str | PathLike[str] | None


class CompareKeywords(TypedDict, total=False):
    """Options of `compare` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    method: Sequence[str] | str
    fan_in: Sequence[int] | int | str
    alpha: int
    gamma: Sequence[float] | float | str
    pattern: Sequence[Pattern | tuple[int, int] | str] | Pattern | tuple[int, int] | str
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    objective: Sequence[Literal["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"]] | Literal["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"] | str
    equal_area: bool
    time_limit: float | str | None
    jobs: int


class ExploreKeywords(TypedDict, total=False):
    """Options of `explore` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: Sequence[ArrayShape | tuple[int, int] | str] | ArrayShape | tuple[int, int] | str
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    fan_in: Sequence[int] | int | str
    sparsity: Sequence[float] | float | str
    method: Sequence[str] | str
    pattern: Pattern | tuple[int, int] | str
    front: Sequence[Literal["cycles", "energy", "area", "bytes", "accuracy"]] | Literal["cycles", "energy", "area", "bytes", "accuracy"] | str
    exhaustive: bool
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    jobs: int
    dask: str | None


class WriteReportKeywords(TypedDict, total=False):
    """Options of `write_report` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    layer: Sequence[str]
    compare: str | None
    dataflow: Literal["ws", "os", "is"]


class EvaluateKeywords(TypedDict, total=False):
    """Options of `evaluate` as keywords."""

    metric: str | None
    batch_size: int
    threads: int


class CompressKeywords(TypedDict, total=False):
    """Options of `compress` as keywords."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    lr_schedule: Literal["cosine", "one-cycle"]
    warmup: float
    label_smoothing: float
    ema_decay: float
    bn_recalibration_images: int
    distill_temperature: float
    distill_weight: float
    distill_loss: Literal["auto", "kl", "mse"]
    distill_values: Sequence[str]
    unfold_batchnorm: bool
    augment: bool
    mixup: float
    validation: int
    device: str
    dtype: Literal["auto", "float32", "bfloat16"]
    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    data: str
    mean: Sequence[float]
    std: Sequence[float]
    resize: int | None
    crop: int | None
    max_drop: float
    goal: Literal["cycles", "energy", "area", "bytes"]
    teacher: str | None
    trials: int
    trial_epochs: int | None
    margin: float
    validation_from: Literal["train", "test"]
    skip: Sequence[str]
    fan_in: int | Literal["auto"]
    temp_schedule: TemperatureSchedule | Mapping[str, Any] | str | PathLike[str]
    jobs: int


class CheckKeywords(TypedDict, total=False):
    """Options of `check` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    require: Sequence[str] | str
    dataflow: Literal["ws", "os", "is"]
    batch_size: int
    threads: int


class DiffKeywords(TypedDict, total=False):
    """Options of `diff` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    hardware: Hardware | Mapping[str, Any] | str | PathLike[str] | None
    arrays: int | None
    prefetch_weights: bool | None
    replicate_tiles: bool | None
    columns_per_lane_register: int | None
    overlap_drain: bool | None
    accumulator_bypass: bool | None
    energy: EnergyTable | Mapping[str, Any] | str | PathLike[str]
    array: ArrayShape | tuple[int, int] | str | None
    area: AreaTable | Mapping[str, Any] | str | PathLike[str] | None
    dataflow: Literal["ws", "os", "is"]


class VerifyKeywords(TypedDict, total=False):
    """Options of `verify` as keywords."""

    batch: int | None
    input_shape: Sequence[str]
    inputs: str | PathLike[str] | None
    tolerance: float | None
