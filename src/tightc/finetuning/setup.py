"""A training made ready: model, teacher and images checked against each other and put on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from tightc.bridge.module import TorchGraph
from tightc.data.images import Images, Normalisation, check_labels
from tightc.data.validation_split import hold_apart
from tightc.errors import ModelError
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.batchnorm_unfolding import Norm, foldable_norms, folded, unfolded
from tightc.finetuning.network.classifier import Classifier, open_network, place
from tightc.finetuning.network.fake_quantization import Grid, as_whole, rescalable
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.checkpoint import Checkpoint
from tightc.finetuning.process.device import choose_compute
from tightc.finetuning.process.metrics import Outcome
from tightc.finetuning.process.process_group import Team
from tightc.finetuning.training.loop import Lesson, Training
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import Quantised
from tightc.model.onnx_proto.graph import Array, Graph, read_graph
from tightc.model.packings.metadata import read_packings
from tightc.report import Listener, silent
from tightc.selection.options import SelectionOptions
from tightc.selection.prunable import layers_but, prunable

_IMAGES_MEASURED = 512


@dataclass(frozen=True)
class Session:
    """A training that can begin, `key` naming all that its result depends on.

    `norms` were put in for its time; `whole` are the weights that are whole numbers.
    """

    student: Classifier
    training: Training
    norms: list[Norm]
    whole: tuple[Quantised, ...]
    team: Team
    key: str

    @property
    def layers(self) -> dict[str, str]:
        """Layer name to weight name."""
        return self.student.layers

    @property
    def parameters(self) -> list[str]:
        """Names of the tensors that are trained, as in the file."""
        return list(self.student.module.roles)

    @property
    def zeros(self) -> int:
        """How many weights were zero from the start."""
        return self.training.masks.zeros

    def train(self, listener: Listener, options: FinetuneOptions) -> Outcome:
        """Trains to the end; only the leader of a team speaks and writes."""
        checkpoint = None
        if options.checkpoint is not None:
            checkpoint = Checkpoint(Path(options.checkpoint), 60 * options.checkpoint_minutes, self.key)
        try:
            outcome = self.training.run(listener if self.team.leads else silent, checkpoint)
        except BaseException:
            self.team.part(together=False)
            raise
        self.team.part(together=not outcome.interrupted)
        return outcome

    def trained(self) -> dict[str, Array]:
        """The tensors as they are now, the norms folded back, whole numbers both as such and as real ones."""
        tensors, factors = folded(self.training.lesson.student.trained(), self.norms)
        return {**tensors, **as_whole(tensors, self.whole, factors)}


def open_session(
    model: Model,
    images: Images,
    normalisation: Normalisation,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None,
) -> Session:
    """Everything that training the plain `model` needs; ModelError, DataError or OptionError where it does not fit."""
    team = Team.of_environment()
    compute = choose_compute(options.device, options.precision, team.local_rank)
    key = _key(model, images, normalisation, options, seed, teacher, team)
    bits = _digit_bits(model, options)
    if options.granularity == "subword":
        network = read_network(model)
        network.demand_digits(layers_but(network, options.keep), model.origin)
    given = model
    model, whole = _made_real(given)
    trained_on, apart = hold_apart(images, options.validation)
    batches = Batches(trained_on, normalisation, options.batch_size, options.augment, compute.device)
    team.check(batches.batch_size)
    validation = None
    if options.validation:
        validation = Batches(apart, normalisation, options.batch_size, False, compute.device)
    student = open_network(model, batches.sample, compute.device)
    check_labels(images, student.classes)
    master = None
    if teacher is not None:
        master = open_network(_made_real(teacher)[0], batches.sample, compute.device)
        _check_classes(model, student.classes, teacher, master.classes)
    norms = _norms(student.graph, given, whole) if options.unfold_norms else []
    module = student.module
    if norms:
        measured = batches.drawn(_IMAGES_MEASURED, seed)
        taught = master.graph if master else None
        graph, factors = unfolded(student.graph, norms, measured, compute.device, taught)
        module = place(TorchGraph(graph), compute.device)
        whole = tuple(replace(entry, scale=entry.scale * factors.get(entry.value, 1)) for entry in whole)
    layers = [] if options.share is None else prunable(model, read_network(model), options)
    taught_by = master.module if master else None
    team.meet(compute.device)
    grid = None
    if whole:
        grid = Grid(module, whole, bits, fixed=options.share is None)
    lesson = Lesson(module, student.classes, taught_by, batches, validation, layers, compute, team, grid)
    return Session(student, Training(lesson, options, seed), norms, whole, team, key)


def _made_real(model: Model) -> tuple[Model, tuple[Quantised, ...]]:
    """`model` with real weights in place of whole ones, and those; a model without any comes back as it is."""
    if not any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node):
        return model, ()
    network = read_network(model)
    return network.made_real(model), tuple(network.quantised.values())


def _digit_bits(model: Model, options: FinetuneOptions) -> int | None:
    """Bits of the digits that are chosen, or kept zero: as asked for, as they were pruned, or as they are arranged."""
    if options.granularity == "subword":
        return options.digit_bits
    for stage in reversed(read_history(model)):
        pruned = stage.get("options")
        if isinstance(pruned, dict) and pruned.get("granularity") == "subword":
            return SelectionOptions(granularity="subword", subword_bits=pruned.get("subword_bits")).digit_bits
    arranged = (packing.subword_bits for packing in read_packings(model).values())
    return next((bits for bits in arranged if bits is not None), None)


def _norms(graph: Graph, given: Model, whole: tuple[Quantised, ...]) -> list[Norm]:
    """The norms to put in: where weights are whole, those whose factors the scales can take up."""
    scaled = read_graph(given.proto)
    fixed = {entry.value for entry in whole if not rescalable(entry, scaled)}
    return [norm for norm in foldable_norms(graph) if norm.node.inputs[1] not in fixed]


def _check_classes(model: Model, classes: int, teacher: Model, teacher_classes: int) -> None:
    if teacher_classes != classes:
        raise ModelError(
            f"{teacher.origin}: the teacher tells {teacher_classes} classes apart, {model.origin} {classes}",
            "give a teacher trained on the same classes",
        )


def _key(
    model: Model,
    images: Images,
    normalisation: Normalisation,
    options: FinetuneOptions,
    seed: int,
    teacher: Model | None,
    team: Team,
) -> str:
    seen = hashlib.sha256(images.pixels.tobytes())
    seen.update(images.labels.tobytes())
    parts = (
        version("tightc"),
        model.sha256,
        teacher.sha256 if teacher else "",
        seen.hexdigest(),
        repr(normalisation),
        repr(options.that_matter()),
        str(seed),
        str(team.size),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
