"""Training without labels: the outputs of a teacher, or values inside it, are matched; and floats of 16 bits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from helpers import training
from helpers.loading import loaded
from tightc.data.images import Images, Normalization
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError, OptionError
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.report import Result

QUICK = {**training.QUICK, "epochs": 12, "learning_rate": 0.2}
AUTOENCODER = """<ir_version: 8, opset_import: ["" : 18]> g (float[N, 12] x) => (float[N, 12] y) {
  [down] a = Gemm<transB = 1>(x, w1, b1)\nb = Tanh(a)\n[up] y = Gemm<transB = 1>(b, w2, b2)\n}"""
DETECTOR = """<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3, 8, 8] image)
  => (float[N, 4, 8, 8] boxes, float[N, 64, 3] probabilities, int64[N, 64] best) {
  [stem] a = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)\nb = Gelu(a)\n[box] boxes = Conv(b, w2, b2)
  [class] c = Conv(b, w3, b3)\nd = Transpose<perm = [0, 2, 3, 1]>(c)\ne = Reshape(d, s)
  probabilities = Softmax<axis = -1>(e)\nbest = ArgMax<axis = -1, keepdims = 0>(probabilities)\n}"""
CLIPS = """<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3, 4, 6, 6] x) => (float[N, 4, 4, 6, 6] y) {
  [stem] a = Conv<pads = [1, 1, 1, 1, 1, 1]>(x, w1, b1)\nb = Tanh(a)
  [head] y = ConvTranspose<pads = [1, 1, 1, 1, 1, 1]>(b, w2, b2)\n}"""
TOKENS = """<ir_version: 8, opset_import: ["" : 18]> g (int64[N, L] ids, float[N, L, 1] mask) => (float[N, 3] y) {
  e = Gather(table, ids)\n[q] a = MatMul(e, w1)\nn = LayerNormalization(a, scale, shift)\nb = Gelu(n)
  m = Mul(b, mask)\nr = ReduceSum<keepdims = 0>(m, axis)\n[head] y = MatMul(r, w2)\n}"""
# exporters know Gelu from opset 20 on
DETECTOR, TOKENS = (text.replace('"" : 18', '"" : 20') for text in (DETECTOR, TOKENS))


def network(text: str, density: float = 1.0, half: bool = False, **shapes: tuple[int, ...]) -> Model:
    random = np.random.default_rng(1)
    proto = parser.parse_model(text.replace("float[", "float16[") if half else text)
    for name, shape in shapes.items():
        array = random.standard_normal(shape) * 0.5
        if name.startswith("w"):
            array[np.random.default_rng(2).random(shape) >= density] = 0
        if name == "scale":
            array += 1
        proto.graph.initializer.append(
            numpy_helper.from_array(array.astype(np.float16 if half else np.float32), name)
        )
    if "axis)" in text:
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    if ", s)" in text:
        proto.graph.initializer.append(numpy_helper.from_array(np.array([-1, 64, 3]), "s"))
    return loaded(proto)


def autoencoder(density: float = 1.0, half: bool = False) -> Model:
    return network(AUTOENCODER, density, half, w1=(8, 12), b1=(8,), w2=(12, 8), b2=(12,))


def detector(density: float = 1.0) -> Model:
    return network(
        DETECTOR, density, w1=(8, 3, 3, 3), b1=(8,), w2=(4, 8, 1, 1), b2=(4,), w3=(3, 8, 1, 1), b3=(3,)
    )


def clips_network(density: float = 1.0) -> Model:
    return network(CLIPS, density, w1=(8, 3, 3, 3, 3), b1=(8,), w2=(8, 4, 3, 3, 3), b2=(4,))


def tokens(density: float = 1.0) -> Model:
    return network(TOKENS, density, table=(20, 8), w1=(8, 16), scale=(16,), shift=(16,), w2=(16, 3))


def vectors(count: int = 64) -> Samples:
    return Samples({"x": np.random.default_rng(3).standard_normal((count, 12)).astype(np.float32)})


def clips(count: int = 64) -> Samples:
    return Samples({"x": np.random.default_rng(6).uniform(-0.3, 0.3, (count, 3, 4, 6, 6)).astype(np.float32)})


def pictures(count: int = 64) -> Images:
    return Images(np.random.default_rng(4).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), None)


def sentences(count: int = 64, length: int = 5) -> Samples:
    random = np.random.default_rng(5)
    mask = (random.random((count, length, 1)) < 0.8).astype(np.float32)
    return Samples({"ids": random.integers(0, 20, (count, length)), "mask": mask})


def distilled(
    student: Model, data: Images | Samples, teacher: Model | None, seed: int = 0, **options: Any
) -> Result:
    return finetune(
        student, data, Normalization(), FinetuneOptions.of({**QUICK, **options}), seed=seed, teacher=teacher
    )


def outputs(model: Model, data: Images | Samples) -> list[np.ndarray]:
    feeds = {"image": Normalization().apply(data.pixels)} if isinstance(data, Images) else dict(data.inputs)
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    kinds = {value.name: value.type for value in session.get_inputs()}
    feeds = {n: a.astype(np.float16) if "float16" in kinds[n] else a for n, a in feeds.items()}
    return session.run(None, feeds)


def distance(one: Model, two: Model, data: Images | Samples, which: int = 0) -> float:
    a, b = (outputs(model, data)[which].astype(float) for model in (one, two))
    if a.shape[-1] == 3 and a.ndim == 2:  # logits, of which the divergence sees the differences only
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return float(np.square(a - b).mean() / np.square(b).mean())


def zeros(model: Model) -> dict[str, np.ndarray]:
    return {name: array == 0 for name, array in training.tensors(model).items() if name.startswith("w")}


@pytest.mark.parametrize(
    ("make", "data", "places"),
    [
        (autoencoder, vectors(), (0,)),
        (detector, pictures(), (0, 1)),
        (tokens, sentences(), (0,)),
        (clips_network, clips(), (0,)),
    ],
)
def test_a_student_comes_near_its_teacher_without_labels(
    make: Any, data: Any, places: tuple[int, ...]
) -> None:
    teacher, student = make(), make(0.5)
    after, report = distilled(student, data, teacher)
    for place in places:
        assert distance(after, teacher, data, place) < 0.7 * distance(student, teacher, data, place)
    wanted = zeros(student)
    assert all((wanted[name] <= found).all() for name, found in zeros(after).items())
    assert report.totals["train_accuracy"] is None and report.totals["train_loss"] > 0


def test_the_loss_is_the_relative_squared_error() -> None:
    teacher, student, data = autoencoder(), autoencoder(0.5), vectors(16)
    _, report = distilled(student, data, teacher, epochs=1, unfold_batchnorm=False)
    assert report.totals["train_loss"] == pytest.approx(distance(student, teacher, data), rel=1e-4)


def test_the_loss_of_logits_is_the_divergence_and_of_several_outputs_the_mean() -> None:
    teacher, student, data = detector(), detector(0.5), pictures(16)
    _, report = distilled(student, data, teacher, epochs=1, unfold_batchnorm=False, distill_temperature=1.0)
    p, q = (outputs(model, data)[1].astype(float) for model in (teacher, student))
    divergence = float((p * np.log(p / q)).sum(-1).mean())
    wanted = (distance(student, teacher, data) + divergence) / 2
    assert report.totals["train_loss"] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_a_classifier_learns_from_its_teacher_alone(loss: str) -> None:
    images = training.quadrants()
    teacher, _ = training.train(training.network("folded"), epochs=6)
    unlabeled = Images(images.pixels, None)
    student = training.network("folded", 0.4, seed=3)
    after, report = training.train(
        student, unlabeled, teacher=teacher, epochs=10, distill_loss=loss, validation=16
    )
    x = training.NORMALIZATION.apply(images.pixels)
    classes = [
        onnxruntime.InferenceSession(model.to_bytes()).run(None, {"image": x})[0].argmax(1)
        for model in (teacher, after, student)
    ]
    assert (classes[0] == classes[1]).mean() > 0.7 > 2 * (classes[0] == classes[2]).mean()
    assert report.totals["validation_accuracy"] is None and report.totals["validation_loss"] > 0


def test_a_value_inside_is_matched_and_what_follows_it_stays() -> None:
    teacher, data = autoencoder(), vectors()
    student = teacher.with_tensors({"w1": 0.3 * training.tensors(teacher)["w1"]})
    after, _ = distilled(student, data, teacher, distill_values=("a",))
    before, trained = training.tensors(student), training.tensors(after)
    assert (before["w2"] == trained["w2"]).all() and (before["b2"] == trained["b2"]).all()
    codes = [data.inputs["x"] @ t["w1"].T + t["b1"] for t in (training.tensors(teacher), before, trained)]
    assert np.abs(codes[2] - codes[0]).mean() < 0.5 * np.abs(codes[1] - codes[0]).mean()


def test_labels_and_a_value_inside_train_together() -> None:
    teacher, _ = training.train(training.network("folded"), epochs=6)
    student = training.network("folded", 0.5)
    after, report = training.train(student, teacher=teacher, distill_values=("s",), epochs=6)
    assert report.totals["train_accuracy"] > 80
    assert json_options(after)["distill_values"] == ["s"]


def json_options(model: Model) -> dict[str, Any]:
    (entry,) = (p for p in model.proto.metadata_props if p.key == "tightc.history")
    return json.loads(entry.value)[-1]["options"]


def test_labels_of_samples_train_a_classifier() -> None:
    data = sentences()
    truth = outputs(tokens(), data)[0].argmax(1)
    student = tokens(0.5)
    after, report = distilled(student, Samples(data.inputs, truth), None)
    assert report.totals["train_accuracy"] > 60
    assert (outputs(after, data)[0].argmax(1) == truth).mean() > (
        outputs(student, data)[0].argmax(1) == truth
    ).mean()


def test_labels_that_are_no_classes_are_left_aside() -> None:
    teacher, student = autoencoder(), autoencoder(0.5)
    labeled = Samples(vectors().inputs, np.arange(64) % 2)
    assert (
        distilled(student, labeled, teacher).model.to_bytes()
        == distilled(student, vectors(), teacher).model.to_bytes()
    )


def test_windows_of_a_recording_are_rows_to_train_on() -> None:
    teacher, student, data = autoencoder(), autoencoder(0.5), vectors()
    in_windows = Samples(data.inputs, None, parts=4)
    assert (
        distilled(student, in_windows, teacher).model.to_bytes()
        == distilled(student, data, teacher).model.to_bytes()
    )


def test_pruning_while_distilling_meets_its_target() -> None:
    _, report = distilled(autoencoder(), vectors(), autoencoder(), sparsity=0.75, pruning_interval=2)
    assert report.totals["density"] == pytest.approx(0.25, abs=0.01)


def test_half_precision_is_trained_as_float32_and_saved_as_it_came() -> None:
    teacher, student, data = autoencoder(half=True), autoencoder(0.5, half=True), vectors()
    after, _ = distilled(student, data, teacher)
    for tensor in after.proto.graph.initializer:
        assert tensor.data_type == onnx.TensorProto.FLOAT16
    assert distance(after, teacher, data) < 0.5 * distance(student, teacher, data)
    assert all((zeros(student)[name] == found).all() for name, found in zeros(after).items())


def test_a_weight_below_the_smallest_half_stays_a_weight() -> None:
    teacher, student = autoencoder(half=True), autoencoder(half=True)
    tiny = training.tensors(student)["w1"].copy()
    tiny[0, 0] = 6e-8
    student = student.with_tensors({"w1": tiny})
    after, _ = distilled(student, vectors(), teacher, epochs=1, learning_rate=1e-9, weight_decay=1.0)
    assert training.tensors(after)["w1"][0, 0] > 0


def test_inputs_of_a_teacher_with_other_names_are_taken_in_order() -> None:
    teacher = autoencoder()
    renamed = teacher.copy_proto()
    renamed.graph.input[0].name = "other"
    renamed.graph.node[0].input[0] = "other"
    student, data = autoencoder(0.5), vectors()
    assert training.tensors(distilled(student, data, loaded(renamed)).model)["w1"].tolist() == (
        training.tensors(distilled(student, data, teacher).model)["w1"].tolist()
    )


@pytest.mark.parametrize(
    ("student", "data", "teacher", "options", "error", "said"),
    [
        (
            autoencoder,
            vectors(),
            None,
            {},
            DataError,
            "expected a class number for each sample, or a teacher",
        ),
        (detector, pictures(), None, {}, DataError, "expected a class number for each sample, or a teacher"),
        (autoencoder, vectors(), detector, {}, DataError, "expected the inputs of net.onnx, image"),
        (autoencoder, vectors(1), autoencoder, {}, DataError, "expected at least 2 samples, got 1"),
        (
            autoencoder,
            vectors(),
            autoencoder,
            {"augment": True},
            OptionError,
            "--augment: expected data with images",
        ),
        (
            autoencoder,
            vectors(),
            autoencoder,
            {"mixup": 0.2},
            OptionError,
            "--mixup: expected data with images",
        ),
        (
            autoencoder,
            vectors(),
            autoencoder,
            {"label_smoothing": 0.1},
            OptionError,
            "--label-smoothing: expected data with labels, got data without; leave --label-smoothing out",
        ),
        (
            autoencoder,
            vectors(),
            autoencoder,
            {"distill_values": ("nothing",)},
            OptionError,
            "--distill-values: expected a value that net.onnx computes, got 'nothing'",
        ),
        (
            autoencoder,
            vectors(),
            autoencoder,
            {"distill_values": ("a",), "sparsity": 0.5},
            OptionError,
            "--distill-values: expected values that depend on every layer to prune, got none that depends on up",
        ),
        (
            autoencoder,
            vectors(),
            None,
            {"distill_values": ("a",)},
            OptionError,
            "--distill-values: expected a teacher with --distill-values a, got none",
        ),
        (
            autoencoder,
            vectors(),
            None,
            {"distill_loss": "mse"},
            OptionError,
            "--distill-loss: expected a teacher with --distill-loss mse, got none",
        ),
    ],
)
def test_refusals(
    student: Any, data: Any, teacher: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        distilled(student(), data, teacher() if teacher else None, **options)


def test_a_teacher_with_other_outputs_is_refused() -> None:
    wide = AUTOENCODER.replace("float[N, 12] y", "float[N, 9] y")
    other = network(wide, w1=(8, 12), b1=(8,), w2=(9, 8), b2=(9,))
    with pytest.raises(ModelError, match=r"expected a teacher with the 12 classes of net.onnx, got 9"):
        distilled(autoencoder(), vectors(), other)
    text = AUTOENCODER.replace("=> (float[N, 12] y)", "=> (float[N, 12] y, float[N, 8] b)")
    two = network(text, w1=(8, 12), b1=(8,), w2=(12, 8), b2=(12,))
    with pytest.raises(ModelError, match=r"expected a teacher with 1 outputs, as net.onnx has, got 2"):
        distilled(autoencoder(), vectors(), two)
    narrow = network(AUTOENCODER, w1=(5, 12), b1=(5,), w2=(12, 5), b2=(12,))
    with pytest.raises(ModelError, match=r"expected 2 x 8 for a, as in net.onnx, got 2 x 5"):
        distilled(autoencoder(), vectors(), narrow, distill_values=("a",))


def test_kl_of_a_value_without_classes_is_refused() -> None:
    text = TOKENS.replace("float[N, 3] y", "float[N] y").replace(
        "[head] y = MatMul(r, w2)", "[head] z = MatMul(r, w2)\ny = Squeeze(z, axis)"
    )
    model = network(text, table=(20, 8), w1=(8, 16), scale=(16,), shift=(16,), w2=(16, 1))
    with pytest.raises(OptionError, match="--distill-loss: expected mse for y, which has 1 axes, got kl"):
        distilled(model, sentences(), model, distill_loss="kl")


def test_a_model_without_an_output_of_floats_is_refused() -> None:
    text = DETECTOR.replace("float[N, 4, 8, 8] boxes, float[N, 64, 3] probabilities, ", "")
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (4, 8, 1, 1), "b2": (4,), "w3": (3, 8, 1, 1), "b3": (3,)}
    model = network(text, **shapes)
    with pytest.raises(
        ModelError, match="expected an output of floats to match with the teacher's, got none"
    ):
        distilled(model, pictures(), model)
    after, _ = distilled(model, pictures(), model, distill_values=("probabilities",))
    assert after.proto.graph.output[0].name == "best"
