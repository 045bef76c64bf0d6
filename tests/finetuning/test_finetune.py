"""The finetune stage on a small separable problem: which quadrant of the image is bright."""

import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper, parser

from helpers import training
from helpers.training import NORMALIZATION
from tightc.data.images import Images, Normalization
from tightc.errors import DataError, ModelError, OptionError, TightcError
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model, load_model_bytes
from tightc.model.history import read_history
from tightc.model.onnx_proto.graph import read_graph
from tightc.report import Report

PLAIN = "h = Conv <pads = [1, 1, 1, 1]> (image, w1, b1)\n"
NORMED = (
    "c = Conv <pads = [1, 1, 1, 1]> (image, w1)\n"
    "h = BatchNormalization <momentum = 0.9> (c, scale, shift, mean, variance)\n"
)
REST = (
    "r = Relu (h)\ns = Mul (r, half)\np = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (s)\n"
    "f = Flatten (p)\nlogits = Gemm <transB = 1> (f, w2, b2)\n"
)
quadrants = partial(training.quadrants, 256)
QUICK = {"epochs": 4, "batch_size": 32, "learning_rate": 0.05, "device": "cpu", "dtype": "float32"}


def network(
    front: str = PLAIN, rest: str = REST, image: str = "batch, 1, 8, 8", seed: int = 0, **given: np.ndarray
) -> Model:
    """A small CNN, with three quarters of its weights exactly zero; `given` are constants by name."""
    random = np.random.default_rng(seed)
    shapes = {
        **{"w1": (8, 1, 3, 3), "b1": (8,), "scale": (8,), "shift": (8,), "mean": (8,), "variance": (8,)},
        **{"half": (1,), "w2": (4, 32), "b2": (4,)},
    }
    text = front + rest
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[{image}] image) => (float[batch, k] logits) {{ {text} }}'
    )
    for name, shape in shapes.items():
        if name not in given and (f"{name}," in text or f"{name})" in text):
            array = random.standard_normal(shape).astype(np.float32)
            if name in ("w1", "w2"):
                array[random.random(shape) < 0.75] = 0
            array = np.abs(array) if name in ("scale", "variance", "half") else array
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in given.items())
    return load_model_bytes(proto.SerializeToString(), "small.onnx")


def train(
    model: Model, images: Images | None = None, seed: int = 0, **options: object
) -> tuple[Model, Report]:
    finetune_options = FinetuneOptions.of({**QUICK, **options})
    return finetune(model, images or quadrants(), NORMALIZATION, finetune_options, seed=seed)


def tensors(model: Model) -> dict[str, np.ndarray]:
    return dict(read_graph(model.proto).tensors)


def accuracy(model: Model, images: Images) -> float:
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": NORMALIZATION.apply(images.pixels)})[0]
    return float((logits.argmax(1) == images.labels).mean())


@pytest.mark.parametrize("front", [PLAIN, NORMED], ids=["plain", "normed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_learns_and_zeros_stay_zeros(front: str, dtype: str) -> None:
    before = network(front)
    after, report = train(before, epochs=8, dtype=dtype, momentum=0.9, weight_decay=0.01)
    assert accuracy(before, quadrants(seed=1)) < 0.6
    assert accuracy(after, quadrants(seed=1)) > 0.95
    for name in ("w1", "w2"):
        zero = tensors(before)[name] == 0
        assert (tensors(after)[name][zero] == 0).all()
        assert (tensors(after)[name][~zero] != tensors(before)[name][~zero]).all()
    assert report.totals["zeros_kept"] == sum((tensors(before)[name] == 0).sum() for name in ("w1", "w2"))
    onnx.checker.check_model(after.proto, full_check=True)


def test_loss_falls() -> None:
    losses = []

    def listen(_task: str, _done: float, figures: dict[str, str]) -> None:
        losses.append(float(figures["loss"]))

    finetune(network(), quadrants(), NORMALIZATION, FinetuneOptions.of(QUICK), seed=0, progress=listen)
    assert losses[-1] < losses[0] / 2


def test_only_trained_tensors_change() -> None:
    before = network(NORMED)
    after, _ = train(before)
    trained = {"w1", "scale", "shift", "mean", "variance", "w2", "b2"}
    for name, array in tensors(before).items():
        assert (tensors(after)[name].tobytes() == array.tobytes()) is (name not in trained)
        assert tensors(after)[name].dtype == array.dtype
    for model in (before, after):
        model.proto.graph.ClearField("initializer")
        model.proto.ClearField("metadata_props")
    assert after.proto == before.proto


def test_history() -> None:
    before = network()
    teacher, _ = train(network(seed=1))
    options = FinetuneOptions.of(QUICK)
    after, _ = finetune(before, quadrants(), NORMALIZATION, options, seed=7, teacher=teacher)
    (entry,) = read_history(after)
    assert (entry["stage"], entry["seed"], entry["input"]) == ("finetune", 7, before.sha256)
    assert entry["options"]["epochs"] == options.epochs
    assert entry["options"]["teacher"] == teacher.sha256


@pytest.mark.parametrize("options", [{}, {"augment": True}, {"dtype": "bfloat16"}])
def test_same_seed_same_bytes(options: dict[str, object]) -> None:
    once, report = train(network(NORMED), seed=3, **options)
    again, same_report = train(network(NORMED), seed=3, **options)
    other, _ = train(network(NORMED), seed=4, **options)
    assert once.to_bytes() == again.to_bytes()
    assert report == same_report
    assert once.to_bytes() != other.to_bytes()


def test_does_not_disturb_the_random_state_of_its_caller() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    train(network(), epochs=1)
    assert torch.equal(torch.rand(1), wanted)


def test_the_distillation_weight_replaces_labels_by_the_teacher() -> None:
    teacher, _ = train(network(), epochs=8)
    images = quadrants()
    shuffled = Images(images.pixels, np.random.default_rng(9).permutation(images.labels))
    student = network(seed=1)

    def taught(labeled: Images, share: float) -> Model:
        options = FinetuneOptions.of({**QUICK, "epochs": 12, "distill_weight": share})
        return finetune(student, labeled, NORMALIZATION, options, seed=0, teacher=teacher)[0]

    assert taught(shuffled, 1.0).to_bytes() == taught(images, 1.0).to_bytes()
    assert accuracy(taught(shuffled, 1.0), quadrants(seed=1)) > 0.9
    assert accuracy(taught(shuffled, 0.0), quadrants(seed=1)) < 0.6


def test_batchnorm_unfolding_is_optional() -> None:
    with_norms, _ = train(network())
    without, report = train(network(), unfold_batchnorm=False)
    assert with_norms.to_bytes() != without.to_bytes()
    assert report.totals["zeros_kept"] == sum((tensors(network())[name] == 0).sum() for name in ("w1", "w2"))
    assert accuracy(without, quadrants(seed=1)) > 0.8


def test_the_final_softmax_is_part_of_the_loss() -> None:
    softmax = REST.replace("logits =", "l =") + "logits = Softmax <axis = 1> (l)"
    with_softmax, _ = train(network(rest=softmax))
    without, _ = train(network())
    assert tensors(with_softmax)["w1"].tobytes() == tensors(without)["w1"].tobytes()


def test_report_and_progress() -> None:
    reported: list[tuple[str, float, dict[str, str]]] = []
    after, report = finetune(
        network(),
        quadrants(),
        NORMALIZATION,
        FinetuneOptions.of({**QUICK, "epochs": 2}),
        seed=0,
        progress=lambda task, done, figures: reported.append((task, done, dict(figures))),
    )
    assert {task for task, _, _ in reported} == {"finetune"}
    shares = [done for _, done, _ in reported]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(reported[-1][2]) == ["epoch", "loss", "accuracy", "img/s", "left"]
    assert reported[-1][2]["epoch"] == "2/2"
    assert reported[-1][2]["left"] == "0:00"
    assert report.stage == "finetune"
    assert list(report.totals) == [
        "train_loss",
        "train_accuracy",
        "validation_accuracy",
        "epochs",
        "parameters",
        "nonzeros",
        "density",
        "zeros_kept",
    ]
    assert report.totals["parameters"] == 72 + 8 + 128 + 4
    assert [layer["name"] for layer in report.layers] == ["h", "logits"]
    for layer, name in zip(report.layers, ("w1", "w2"), strict=True):
        assert layer["nonzeros"] == np.count_nonzero(tensors(after)[name])
        assert layer["density"] == layer["nonzeros"] / tensors(after)[name].size


def test_an_interrupt_is_passed_on() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(network(), quadrants(), NORMALIZATION, FinetuneOptions.of(QUICK), seed=0, progress=interrupt)


def check_error(kind: type[TightcError], sentence: str, remedy: str, error: TightcError) -> None:
    assert type(error) is kind
    assert (error.sentence, error.remedy) == (sentence, remedy)


def test_diverging_loss() -> None:
    with pytest.raises(ModelError) as fault:
        train(network(), learning_rate=10.0, epochs=40, unfold_batchnorm=False)
    assert fault.value.sentence.startswith("expected a finite loss, got ")
    assert "epoch " in fault.value.sentence
    assert "learning rate" in fault.value.sentence
    assert fault.value.remedy == "lower --learning-rate"


@pytest.mark.parametrize("label", [4, 9])
def test_label_outside_the_classes(label: int) -> None:
    images = quadrants()
    images.labels[7] = label
    with pytest.raises(
        DataError, match=rf"^image 7: expected a label of the network's 4 classes .* got {label}"
    ):
        train(network(), images)


def test_single_image() -> None:
    with pytest.raises(DataError) as fault:
        train(network(), training.quadrants(1))
    check_error(
        DataError,
        "training images: expected at least 2, got 1",
        "give more images",
        fault.value,
    )


def test_images_of_another_size() -> None:
    images = Images(np.zeros((4, 1, 9, 9), np.uint8), np.zeros(4, np.int64))
    with pytest.raises(DataError, match=r"^training images: expected images of 1 x 8 x 8 .* got 1 x 9 x 9"):
        train(network(), images)


def test_mean_of_another_channel_count() -> None:
    with pytest.raises(OptionError, match=r"^mean: expected one number, or one per channel \(1\), got 3"):
        finetune(
            network(),
            quadrants(),
            Normalization((0.5, 0.5, 0.5), (1.0,)),
            FinetuneOptions.of(QUICK),
            seed=0,
        )


def test_teacher_of_other_classes() -> None:
    teacher = network(rest=REST.replace("logits =", "l =") + "logits = Concat <axis = 1> (l, l)")
    with pytest.raises(ModelError) as fault:
        finetune(network(), quadrants(), NORMALIZATION, FinetuneOptions.of(QUICK), seed=0, teacher=teacher)
    check_error(
        ModelError,
        "small.onnx: expected a teacher with the 4 classes of small.onnx, got 8",
        "give a teacher trained on the same classes",
        fault.value,
    )


def test_an_open_input_and_a_fixed_shape() -> None:
    flat = "shape = Constant <value_ints = [1, 32]> ()\nf = Reshape (p, shape)\n"
    with pytest.raises(
        ModelError, match=r"^small.onnx: torch cannot run it on a batch of 2 x 1 x 8 x 8"
    ) as fault:
        train(network(rest=REST.replace("f = Flatten (p)\n", flat)))
    assert fault.value.remedy == "export the model with a dynamic batch size"


def test_unknown_operator() -> None:
    with pytest.raises(
        ModelError, match=r"^operator Acosh of node r: expected an operator that finetune supports"
    ):
        train(network(rest=REST.replace("Relu", "Acosh")))


def test_nothing_to_train() -> None:
    rest = "a = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (image)\nlogits = Flatten (a)"
    with pytest.raises(ModelError) as fault:
        train(network("", rest))
    check_error(
        ModelError,
        "small.onnx: expected a model with weights to train, got none",
        "give a model with Conv, Gemm or MatMul layers",
        fault.value,
    )


def test_float64_weights() -> None:
    rest = REST.replace("f, w2, b2", "d, w2, b2").replace("logits =", "d = Cast <to = 11> (f)\nl =")
    model = network(
        rest=rest.replace("w2", "w3") + "logits = Cast <to = 1> (l)", w3=np.ones((4, 32)), b2=np.ones(4)
    )
    with pytest.raises(ModelError) as fault:
        train(model)
    check_error(
        ModelError,
        "small.onnx: tensor w3 is float64, finetune trains float32",
        "finetune before the model is converted",
        fault.value,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device() -> None:
    with pytest.raises(OptionError) as fault:
        train(network(), device="cuda")
    check_error(
        OptionError,
        "--device: expected a device that torch sees (0 CUDA devices), got cuda",
        "give --device auto or cpu",
        fault.value,
    )


def test_torch_is_imported_only_to_train() -> None:
    script = (
        "import sys, tightc.finetuning.finetune, tightc.finetuning.options; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OptionError) as fault:
        train(network())
    check_error(
        OptionError,
        "finetune needs torch, which is not installed",
        "pip install 'tightc[finetune]'",
        fault.value,
    )


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("device", "gpu", "give auto, cpu, cuda or cuda:N"),
        ("epochs", 0, "give a number of at least 1"),
        ("batch_size", 1, "give a number of at least 2"),
        ("momentum", 1.0, "give a number below 1"),
    ],
)
def test_option_out_of_range(option: str, value: object, remedy: str) -> None:
    with pytest.raises(OptionError) as fault:
        FinetuneOptions.of({option: value})
    meaning = (FinetuneOptions.model_fields[option].description or "").partition(";")[0]
    assert fault.value.sentence == f"--{option.replace('_', '-')}: expected {meaning}, got {value!r}"
    assert fault.value.remedy == remedy


def test_a_choice_that_is_not_offered() -> None:
    with pytest.raises(
        OptionError,
        match=r"^--dtype: expected 'auto', 'float32' or 'bfloat16', got 'float16'; did you mean bfloat16\?$",
    ):
        FinetuneOptions.of({"dtype": "float16"})
