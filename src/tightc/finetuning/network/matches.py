"""Which values of the student are matched to which values of the teacher, and by which loss."""

from __future__ import annotations

from dataclasses import dataclass

from tightc.errors import ModelError, OptionError
from tightc.model.layer_view.network_inputs import are_logits, before_softmax
from tightc.model.onnx_proto.graph import Graph

_AXES_OF_SEQUENCES = 3  # samples x positions x classes; images have their classes along the axis of channels


@dataclass(frozen=True)
class Match:
    """A value of the student, and the one of the teacher that it is to equal.

    `is_output`: whether it is an output; `has_softmax`: whether the network itself turns it into probabilities.
    """

    student: str
    teacher: str
    is_output: bool
    has_softmax: bool


def find_matches(
    student: Graph, teacher: Graph, names: tuple[str, ...], outputs: tuple[str, ...], origins: tuple[str, str]
) -> tuple[Match, ...]:
    """The values `names` of both graphs, or the float `outputs` of the student and those of the teacher in their place.

    A Softmax at the end of an output is left out. `origins` name student and teacher in errors: OptionError where a
    value does not exist, ModelError where the teacher has another number of outputs.
    """
    for graph, origin in zip((student, teacher), origins, strict=True):
        known = {name for node in graph.nodes for name in node.outputs}
        for name in names:
            if name not in known:
                raise OptionError(
                    f"--distill-values: expected a value that {origin} computes, got {name!r}",
                    "give the name of an output of one of its nodes, which both models have",
                )
    if not names and len(student.outputs) != len(teacher.outputs):
        raise ModelError(
            f"{origins[1]}: expected a teacher with {len(student.outputs)} outputs, as {origins[0]} has, "
            f"got {len(teacher.outputs)}",
            "give a teacher with the same outputs, or name values with --distill-values",
        )
    places = dict(zip(student.outputs, teacher.outputs, strict=False))
    if not names:
        places = {own: own if own in teacher.outputs else places[own] for own in outputs}
    matches = []
    for own, other in ((name, name) for name in names) if names else places.items():
        if own in student.outputs:
            pair = before_softmax(student, own), before_softmax(teacher, other)
            matches.append(Match(*pair, is_output=True, has_softmax=pair != (own, other)))
        else:
            matches.append(Match(own, other, is_output=False, has_softmax=False))
    return tuple(matches)


def divergence_axes(
    matches: tuple[Match, ...],
    shapes: tuple[tuple[int, ...], ...],
    inputs: list[tuple[int, ...]],
    distill_loss: str,
) -> tuple[int | None, ...]:
    """The axis of the classes of each matched value, for the KL divergence; None where the squared error is taken.

    `shapes` are those of the values, `inputs` those of the network's inputs. With `distill_loss` auto the divergence is
    that of outputs which are logits. OptionError where kl is asked of a value with fewer than two axes.
    """
    axes: list[int | None] = []
    for match, shape in zip(matches, shapes, strict=True):
        if distill_loss == "kl" and len(shape) < 2:
            raise OptionError(
                f"--distill-loss: expected mse for {match.student}, which has {len(shape)} axes, got kl",
                "give --distill-loss mse",
            )
        logits = match.is_output and (match.has_softmax or are_logits(shape, inputs))
        by_divergence = distill_loss == "kl" or (distill_loss == "auto" and logits)
        last = len(shape) <= _AXES_OF_SEQUENCES or match.has_softmax
        axes.append((-1 if last else 1) if by_divergence else None)
    return tuple(axes)
