"""A training made ready: model, teacher and images checked against each other and put on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from tightc.bridge.module import TorchGraph
from tightc.data.images import Images, Normalization, check_labels
from tightc.data.validation_split import split_validation
from tightc.errors import ModelError
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.batchnorm_unfolding import Norm, foldable_norms, folded, unfolded
from tightc.finetuning.network.classifier import Classifier, open_network, place
from tightc.finetuning.network.fake_quantization import FakeQuantization, as_whole, rescalable
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.checkpoint import Checkpoint
from tightc.finetuning.process.device import choose_device
from tightc.finetuning.process.metrics import TrainingOutcome
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.loop import Training, TrainingSetup
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import Array, Graph, read_graph
from tightc.model.packings.metadata import read_packings
from tightc.progress import Progress, no_progress
from tightc.selection.network.prunable import prunable, unskipped_layers
from tightc.selection.options import SelectionOptions

_IMAGES_MEASURED = 512


@dataclass(frozen=True)
class TrainingRun:
    """A training that can begin, `key` naming all that its result depends on.

    `norms` were put in for its time; `whole` are the weights that are whole numbers.
    """

    student: Classifier
    training: Training
    norms: list[Norm]
    whole: tuple[QuantizedWeight, ...]
    team: ProcessGroup
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

    def train(self, progress: Progress, options: FinetuneOptions) -> TrainingOutcome:
        """Trains to the end; only the leader of a team speaks and writes."""
        checkpoint = None
        if options.checkpoint is not None:
            checkpoint = Checkpoint(Path(options.checkpoint), 60 * options.checkpoint_minutes, self.key)
        try:
            outcome = self.training.run(progress if self.team.leads else no_progress, checkpoint)
        except BaseException:
            self.team.part(together=False)
            raise
        self.team.part(together=not outcome.interrupted)
        return outcome

    def trained(self) -> dict[str, Array]:
        """The tensors as they are now, the norms folded back, whole numbers both as such and as real ones."""
        tensors, factors = folded(self.training.lesson.student.trained(), self.norms)
        return {**tensors, **as_whole(tensors, self.whole, factors)}


def prepare_training(
    model: Model,
    images: Images,
    normalization: Normalization,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None,
) -> TrainingRun:
    """Everything that training the plain `model` needs; ModelError, DataError or OptionError where it does not fit."""
    team = ProcessGroup.of_environment()
    compute = choose_device(options.device, options.precision, team.local_rank)
    key = _key(model, images, normalization, options, seed, teacher, team)
    bits = _digit_bits(model, options)
    if options.granularity == "subword":
        network = read_network(model)
        network.require_subwords(unskipped_layers(network, options.skip), model.origin)
    given = model
    model, whole = _dequantized(given)
    trained_on, apart = split_validation(images, options.validation)
    batches = Batches(trained_on, normalization, options.batch_size, options.augment, compute.device)
    team.check(batches.batch_size)
    validation = None
    if options.validation:
        validation = Batches(apart, normalization, options.batch_size, False, compute.device)
    student = open_network(model, batches.sample, compute.device)
    check_labels(images, student.classes)
    master = None
    if teacher is not None:
        master = open_network(_dequantized(teacher)[0], batches.sample, compute.device)
        _check_classes(model, student.classes, teacher, master.classes)
    norms = _norms(student.graph, given, whole) if options.unfold_norms else []
    module = student.module
    if norms:
        measured = batches.drawn(_IMAGES_MEASURED, seed)
        taught = master.graph if master else None
        graph, factors = unfolded(student.graph, norms, measured, compute.device, taught)
        module = place(TorchGraph(graph), compute.device)
        whole = tuple(replace(entry, scale=entry.scale * factors.get(entry.value, 1)) for entry in whole)
    layers = [] if options.kept_fraction is None else prunable(model, read_network(model), options)
    taught_by = master.module if master else None
    team.meet(compute.device)
    grid = None
    if whole:
        grid = FakeQuantization(module, whole, bits, fixed=options.kept_fraction is None)
    lesson = TrainingSetup(
        module, student.classes, taught_by, batches, validation, layers, compute, team, grid
    )
    return TrainingRun(student, Training(lesson, options, seed), norms, whole, team, key)


def _dequantized(model: Model) -> tuple[Model, tuple[QuantizedWeight, ...]]:
    """`model` with real weights in place of whole ones, and those; a model without any comes back as it is."""
    if not any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node):
        return model, ()
    network = read_network(model)
    return network.dequantized(model), tuple(network.quantized.values())


def _digit_bits(model: Model, options: FinetuneOptions) -> int | None:
    """Bits of the digits that are chosen, or kept zero: as asked for, as they were pruned, or as they are arranged."""
    if options.granularity == "subword":
        return options.bits_per_subword
    for stage in reversed(read_history(model)):
        pruned = stage.get("options")
        if isinstance(pruned, dict) and pruned.get("granularity") == "subword":
            return SelectionOptions(
                granularity="subword", subword_bits=pruned.get("subword_bits")
            ).bits_per_subword
    arranged = (packing.subword_bits for packing in read_packings(model).values())
    return next((bits for bits in arranged if bits is not None), None)


def _norms(graph: Graph, given: Model, whole: tuple[QuantizedWeight, ...]) -> list[Norm]:
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
    normalization: Normalization,
    options: FinetuneOptions,
    seed: int,
    teacher: Model | None,
    team: ProcessGroup,
) -> str:
    seen = hashlib.sha256(images.pixels.tobytes())
    seen.update(images.labels.tobytes())
    parts = (
        version("tightc"),
        model.sha256,
        teacher.sha256 if teacher else "",
        seen.hexdigest(),
        repr(normalization),
        repr(options.that_matter()),
        str(seed),
        str(team.size),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
