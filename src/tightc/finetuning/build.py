"""Student and teacher as networks of torch, and the objective that their outputs make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from tightc.bridge.precision import as_float32
from tightc.bridge.subgraph import computing
from tightc.data.images import Images
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError, OptionError
from tightc.finetuning.network.matches import Match, divergence_axes, find_matches
from tightc.finetuning.network.torch_network import Inputs, TorchNetwork, build_network
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.training.loss import Objective
from tightc.model.file import Model
from tightc.model.layer_view.logits import without_softmax
from tightc.model.layer_view.network_inputs import fixed_batch, float_outputs, network_inputs
from tightc.model.onnx_proto.graph import Graph, read_graph

_FOR_LABELS = ("distill_weight", "label_smoothing")
_FOR_IMAGES = ("augment", "mixup")


@dataclass(frozen=True)
class Networks:
    """The student, the teacher or None, and what is minimized of their outputs."""

    student: TorchNetwork
    teacher: TorchNetwork | None
    objective: Objective


def check_options(data: Images | Samples, options: FinetuneOptions, *, labeled: bool, distills: bool) -> None:
    """DataError with neither labels nor a teacher; OptionError for options that need labels or images."""
    if not labeled and not distills:
        raise DataError(
            "training data: expected a class number for each sample, or a teacher to distill from, got neither",
            "add --teacher MODEL, or labels",
        )
    needed = {} if labeled else dict.fromkeys(_FOR_LABELS, "labels")
    needed |= {} if isinstance(data, Images) else dict.fromkeys(_FOR_IMAGES, "images")
    for name, missing in needed.items():
        if getattr(options, name) != type(options).model_fields[name].default:
            flag = f"--{name.replace('_', '-')}"
            raise OptionError(f"{flag}: expected data with {missing}, got data without", f"leave {flag} out")


def build_networks(
    model: Model,
    teacher: Model | None,
    sample: Callable[[int], Inputs],
    device: torch.device,
    options: FinetuneOptions,
    *,
    labeled: bool,
) -> Networks:
    """Builds both plain models in float32 on `device`, with the outputs that the loss reads.

    `sample` returns the inputs of that many samples. ModelError or OptionError where they do not fit together.
    """
    graph = _trainable(model)
    logits = without_softmax(graph).outputs[:1] if labeled else ()
    if teacher is None:
        student = build_network(replace(graph, outputs=logits), model.origin, sample, device)
        return Networks(student, None, Objective(labeled=True))
    teacher_graph = _with_inputs_of(graph, _trainable(teacher))
    origins = (model.origin, teacher.origin)
    matches = find_matches(graph, teacher_graph, options.distill_values, float_outputs(model.proto), origins)
    if not matches:
        raise ModelError(
            f"{model.origin}: expected an output of floats to match with the teacher's, got none",
            "name values of floats with --distill-values",
        )
    outputs = tuple(dict.fromkeys([*logits, *(match.student for match in matches)]))
    graph = replace(graph, outputs=outputs) if outputs == logits else computing(graph, outputs)
    student = build_network(graph, model.origin, sample, device)
    teacher_outputs = tuple(match.teacher for match in matches)
    master = build_network(computing(teacher_graph, teacher_outputs), teacher.origin, sample, device)
    _check_shapes(matches, student, master, origins, outputs)
    axes = _axes(matches, student, outputs, [tuple(tensor.shape) for tensor in sample(2)], options, logits)
    places = tuple(outputs.index(match.student) for match in matches)
    return Networks(student, master, Objective(labeled=labeled, matched=places, axes=axes))


def _trainable(model: Model) -> Graph:
    """The graph of `model` in float32, with the batch size that it fixes."""
    batch = fixed_batch(network_inputs(model.proto, model.origin))
    return replace(as_float32(read_graph(model.proto)), micro_batch=batch)


def _axes(
    matches: tuple[Match, ...],
    student: TorchNetwork,
    outputs: tuple[str, ...],
    inputs: list[tuple[int, ...]],
    options: FinetuneOptions,
    logits: tuple[str, ...],
) -> tuple[int | None, ...]:
    """The axis of the classes of each match; the output that is compared with labels is logits, whatever its size."""
    shapes = tuple(student.shapes[outputs.index(match.student)] for match in matches)
    axes = divergence_axes(matches, shapes, inputs, options.distill_loss)
    if options.distill_loss != "auto":
        return axes
    return tuple(1 if match.student in logits else axis for match, axis in zip(matches, axes, strict=True))


def _with_inputs_of(student: Graph, teacher: Graph) -> Graph:
    """The graph of the teacher with its inputs in the order of those of the student, where they have the same names."""
    same = sorted(student.inputs) == sorted(teacher.inputs)
    return replace(teacher, inputs=student.inputs) if same else teacher


def _check_shapes(
    matches: tuple[Match, ...],
    student: TorchNetwork,
    teacher: TorchNetwork,
    origins: tuple[str, str],
    outputs: tuple[str, ...],
) -> None:
    """ModelError where a value and its match differ in size."""
    for match, wanted in zip(matches, teacher.shapes, strict=True):
        own = student.shapes[outputs.index(match.student)]
        if own == wanted:
            continue
        if match.is_output and len(own) == len(wanted) == 2:
            raise ModelError(
                f"{origins[1]}: expected a teacher with the {own[1]} classes of {origins[0]}, got {wanted[1]}",
                "give a teacher trained on the same classes",
            )
        raise ModelError(
            f"{origins[1]}: expected {_times(own)} for {match.teacher}, as in {origins[0]}, got {_times(wanted)}",
            "give a teacher with values of the same size",
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
