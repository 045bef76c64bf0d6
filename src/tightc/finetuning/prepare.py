"""Prepares a training: checks model, teacher and images against each other and puts them on the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version

from tightc.bridge.module import TorchGraph
from tightc.data.file_pixels import FilePixels
from tightc.data.images import Images, Normalization, check_labels
from tightc.data.samples import Samples, integer_labels
from tightc.data.validation_split import split_validation
from tightc.errors import DataError, OptionError
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.batches.sample_batches import SampleBatches
from tightc.finetuning.build import build_networks, check_options
from tightc.finetuning.labels import is_labeled
from tightc.finetuning.network.batchnorm_unfolding import InsertedNorm, insertable_norms, unfold
from tightc.finetuning.network.fake_quantization import FakeQuantization, is_rescalable
from tightc.finetuning.network.torch_network import TorchNetwork, require_classes, to_device
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.device import ComputeDevice, choose_device
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.loop import Training, TrainingSetup
from tightc.finetuning.training_run import TrainingRun
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import Array, Graph, read_graph
from tightc.model.packings.metadata import read_packings
from tightc.selection.network.prunable import Prunable, prunable, unskipped_layers
from tightc.selection.options import SelectionOptions

_STATISTICS_IMAGES = 512


@dataclass(frozen=True)
class TrainingInputs:
    """What a training starts from: the plain `model`, images or samples, seed, and an optional teacher."""

    model: Model
    images: Images | Samples
    normalization: Normalization
    seed: int
    teacher: Model | None = None


def prepare_training(inputs: TrainingInputs, options: FinetuneOptions) -> TrainingRun:
    """Builds the training of `inputs` as `options` say.

    ModelError, DataError or OptionError where model, teacher, data and options do not fit together.
    """
    group = ProcessGroup.from_environment()
    compute = choose_device(options.device, options.dtype, group.local_rank)
    if options.granularity == "subword":
        network = read_network(inputs.model)
        network.require_subwords(unskipped_layers(network, options.skip), inputs.model.origin)
    model, quantized = _dequantized(inputs.model)
    labeled = is_labeled(inputs.images, model)
    check_options(inputs.images, options, labeled=labeled, distills=inputs.teacher is not None)
    batches, validation = _split_batches(inputs, options, compute, labeled=labeled)
    group.check_batch_size(batches.batch_size)
    teacher = None if inputs.teacher is None else _dequantized(inputs.teacher)[0]
    networks = build_networks(model, teacher, batches.first, compute.device, options, labeled=labeled)
    student = networks.student
    _check_micro_batch(student, batches.batch_size // group.world_size, inputs.model.origin)
    classes = _check_classes(inputs, student) if labeled else 0
    norms = _norms(student.graph, inputs.model, quantized) if options.unfold_batchnorm else []
    module = student.module
    if norms:
        samples = batches.sample_batches(_STATISTICS_IMAGES, inputs.seed)
        teacher_graph = networks.teacher.graph if networks.teacher else None
        graph, factors = unfold(student.graph, norms, samples, compute.device, teacher_graph)
        module = to_device(TorchGraph(graph), compute.device)
        quantized = tuple(
            replace(entry, scale=entry.scale * factors.get(entry.value, 1)) for entry in quantized
        )
    group.init(compute.device)
    fake_quantization = None
    if quantized:
        subword_bits = _subword_bits(inputs.model, options)
        keep_zeros = options.kept_fraction is None
        fake_quantization = FakeQuantization(module, quantized, subword_bits, keep_zeros=keep_zeros)
    setup = TrainingSetup(
        student=module,
        classes=classes,
        teacher=networks.teacher.module if networks.teacher else None,
        objective=networks.objective,
        batches=batches,
        validation=validation,
        prunable=_prunable(inputs.model, model, module, options),
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
    """`model` with float weights in place of integer ones, and those; a model without any comes back unchanged."""
    if not any(node.op_type == "DequantizeLinear" for node in model.proto.graph.node):
        return model, ()
    network = read_network(model)
    return network.dequantized(model), tuple(
        entry for entry in network.quantized.values() if entry.is_dequantized
    )


def _check_micro_batch(student: TorchNetwork, batch_size: int, origin: str) -> None:
    """OptionError where the batch of a process is not made of batches as the network fixes them."""
    fixed = student.module.micro_batch
    if fixed is not None and batch_size % fixed:
        raise OptionError(
            f"--batch-size: expected a multiple of {fixed}, the batch that {origin} fixes, got {batch_size}",
            f"give a multiple of {fixed} for each process, and as many images",
        )


def _split_batches(
    inputs: TrainingInputs, options: FinetuneOptions, compute: ComputeDevice, *, labeled: bool
) -> tuple[Batches | SampleBatches, Batches | SampleBatches | None]:
    """Batches of the training split and of the validation split, None without one."""
    device, size = compute.device, options.batch_size
    if isinstance(inputs.images, Samples):
        labels = integer_labels(inputs.images, "training data") if labeled else None
        rows, held_out = split_validation(replace(inputs.images, labels=labels), options.validation)
        batches = SampleBatches(rows, rows.labels, size, device)
        return batches, SampleBatches(held_out, held_out.labels, size, device) if options.validation else None
    normalization = inputs.normalization
    train_images, validation_images = split_validation(inputs.images, options.validation)
    train = Batches(train_images, normalization, size, options.augment, device)
    if not options.validation:
        return train, None
    return train, Batches(validation_images, normalization, size, False, device)


def _prunable(given: Model, model: Model, module: TorchGraph, options: FinetuneOptions) -> list[Prunable]:
    """The layers of `model`, the `given` one with float weights, to prune while training.

    OptionError where the loss does not depend on one of them.
    """
    if options.kept_fraction is None:
        return []
    layers = prunable(model, read_network(model), options, read_network(given))
    for entry in layers:
        if entry.layer.weight not in module.roles:
            raise OptionError(
                f"--distill-values: expected values that depend on every layer to prune, got none that depends on "
                f"{entry.layer.label}",
                f"add --skip {entry.layer.label}, or name values that depend on it",
            )
    return layers


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


def _check_classes(inputs: TrainingInputs, student: TorchNetwork) -> int:
    """The number of classes; DataError where a label is none of them."""
    classes = require_classes(student, inputs.model.origin)
    if isinstance(inputs.images, Images):
        check_labels(inputs.images, classes)
    else:
        labels = integer_labels(inputs.images, "training data")
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise DataError(
                f"training data: expected labels of the network's {classes} classes (0 to {classes - 1}), "
                f"got {outside[0]}",
                "number the classes from 0",
            )
    return classes


def _run_key(inputs: TrainingInputs, options: FinetuneOptions, world_size: int) -> str:
    """A digest of all that the result of the training depends on."""
    images = hashlib.sha256()
    for array in _arrays(inputs.images):
        images.update(array.digest() if isinstance(array, FilePixels) else array.tobytes())
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


def _arrays(data: Images | Samples) -> list[Array | FilePixels]:
    """All numbers of the data."""
    arrays: list[Array | FilePixels] = (
        [data.pixels] if isinstance(data, Images) else list(data.inputs.values())
    )
    return arrays if data.labels is None else [*arrays, data.labels]
