"""Prepares a training: checks model, teacher and images against each other and puts them on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version

from tightc.bridge.module import TorchGraph
from tightc.data.images import Images, Normalization, check_labels
from tightc.data.validation_split import split_validation
from tightc.errors import ModelError
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.batchnorm_unfolding import InsertedNorm, insertable_norms, unfold
from tightc.finetuning.network.classifier import build_classifier, to_device
from tightc.finetuning.network.fake_quantization import FakeQuantization, is_rescalable
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.device import ComputeDevice, choose_device
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.loop import Training, TrainingSetup
from tightc.finetuning.training_run import TrainingRun
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import Graph, read_graph
from tightc.model.packings.metadata import read_packings
from tightc.selection.network.prunable import prunable, unskipped_layers
from tightc.selection.options import SelectionOptions

_STATISTICS_IMAGES = 512


@dataclass(frozen=True)
class TrainingInputs:
    """What a training starts from: the plain `model`, training images, seed, and an optional teacher."""

    model: Model
    images: Images
    normalization: Normalization
    seed: int
    teacher: Model | None = None


def prepare_training(inputs: TrainingInputs, options: FinetuneOptions) -> TrainingRun:
    """Builds the training of `inputs` as `options` say.

    ModelError, DataError or OptionError where model, teacher, images and options do not fit together.
    """
    group = ProcessGroup.from_environment()
    compute = choose_device(options.device, options.dtype, group.local_rank)
    if options.granularity == "subword":
        network = read_network(inputs.model)
        network.require_subwords(unskipped_layers(network, options.skip), inputs.model.origin)
    model, quantized = _dequantized(inputs.model)
    batches, validation = _split_batches(inputs, options, compute)
    group.check_batch_size(batches.batch_size)
    student = build_classifier(model, batches.first, compute.device)
    check_labels(inputs.images, student.classes)
    teacher = None
    if inputs.teacher is not None:
        teacher = build_classifier(_dequantized(inputs.teacher)[0], batches.first, compute.device)
        _check_classes(model, student.classes, inputs.teacher, teacher.classes)
    norms = _norms(student.graph, inputs.model, quantized) if options.unfold_batchnorm else []
    module = student.module
    if norms:
        samples = batches.sample_batches(_STATISTICS_IMAGES, inputs.seed)
        teacher_graph = teacher.graph if teacher else None
        graph, factors = unfold(student.graph, norms, samples, compute.device, teacher_graph)
        module = to_device(TorchGraph(graph), compute.device)
        quantized = tuple(
            replace(entry, scale=entry.scale * factors.get(entry.value, 1)) for entry in quantized
        )
    layers = [] if options.kept_fraction is None else prunable(model, read_network(model), options)
    group.init(compute.device)
    fake_quantization = None
    if quantized:
        subword_bits = _subword_bits(inputs.model, options)
        keep_zeros = options.kept_fraction is None
        fake_quantization = FakeQuantization(module, quantized, subword_bits, keep_zeros=keep_zeros)
    setup = TrainingSetup(
        student=module,
        classes=student.classes,
        teacher=teacher.module if teacher else None,
        batches=batches,
        validation=validation,
        prunable=layers,
        compute=compute,
        group=group,
        fake_quantization=fake_quantization,
    )
    return TrainingRun(
        student=student,
        training=Training(setup, options, inputs.seed),
        norms=norms,
        quantized=quantized,
        group=group,
        key=_run_key(inputs, options, group.world_size),
    )


def _dequantized(model: Model) -> tuple[Model, tuple[QuantizedWeight, ...]]:
    """`model` with float weights in place of int8 ones, and those; a model without any comes back unchanged."""
    if not any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node):
        return model, ()
    network = read_network(model)
    return network.dequantized(model), tuple(network.quantized.values())


def _split_batches(
    inputs: TrainingInputs, options: FinetuneOptions, compute: ComputeDevice
) -> tuple[Batches, Batches | None]:
    """Batches of the training split and of the validation split, None without one."""
    normalization, device = inputs.normalization, compute.device
    train_images, validation_images = split_validation(inputs.images, options.validation)
    train = Batches(train_images, normalization, options.batch_size, options.augment, device)
    if not options.validation:
        return train, None
    return train, Batches(validation_images, normalization, options.batch_size, False, device)


def _subword_bits(model: Model, options: FinetuneOptions) -> int | None:
    """Width of the subwords to prune or to keep zero, from the options, the last pruning or the packings."""
    if options.granularity == "subword":
        return options.bits_per_subword
    for stage in reversed(read_history(model)):
        recorded = stage.get("options")
        if isinstance(recorded, dict) and recorded.get("granularity") == "subword":
            bits = recorded.get("subword_bits")
            return SelectionOptions(granularity="subword", subword_bits=bits).bits_per_subword
    packed = (packing.subword_bits for packing in read_packings(model).values())
    return next((bits for bits in packed if bits is not None), None)


def _norms(graph: Graph, model: Model, quantized: tuple[QuantizedWeight, ...]) -> list[InsertedNorm]:
    """The norms to insert; before int8 weights only those that can be folded into the scales of `model`."""
    original = read_graph(model.proto)
    fixed = {entry.value for entry in quantized if not is_rescalable(entry, original)}
    return [norm for norm in insertable_norms(graph) if norm.node.inputs[1] not in fixed]


def _check_classes(model: Model, classes: int, teacher: Model, teacher_classes: int) -> None:
    if teacher_classes != classes:
        raise ModelError(
            f"{teacher.origin}: expected a teacher with the {classes} classes of {model.origin}, "
            f"got {teacher_classes}",
            "give a teacher trained on the same classes",
        )


def _run_key(inputs: TrainingInputs, options: FinetuneOptions, world_size: int) -> str:
    """A digest of all that the result of the training depends on."""
    images = hashlib.sha256(inputs.images.pixels.tobytes())
    images.update(inputs.images.labels.tobytes())
    parts = (
        version("tightc"),
        inputs.model.sha256,
        inputs.teacher.sha256 if inputs.teacher else "",
        images.hexdigest(),
        repr(inputs.normalization),
        repr(options.recorded()),
        str(inputs.seed),
        str(world_size),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
