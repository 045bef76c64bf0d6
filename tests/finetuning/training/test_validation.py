"""Validation: the best epoch is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from helpers import training
from tightc.data.images import Images
from tightc.data.validation_split import split_validation
from tightc.errors import DataError, OptionError
from tightc.finetuning.training.loop import Training
from tightc.model.file import Model


def accuracy(model: Model, images: Images) -> float:
    """Top-1 accuracy in percent, by onnxruntime."""
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": training.NORMALIZATION.apply(images.pixels)})[0]
    return 100 * float((logits.argmax(1) == images.labels).mean())


def with_random_labels(count: int = 96) -> Images:
    """Images with random labels, so that the validation accuracy varies from epoch to epoch."""
    return Images(training.quadrants(count).pixels, np.random.default_rng(1).integers(0, 4, count))


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The accuracy of each validation, the last one of the kept weights."""
    found: list[float] = []
    measure = Training._accuracy

    def recorded(self: Training, batches: Any) -> float:
        found.append(measure(self, batches))
        return found[-1]

    monkeypatch.setattr(Training, "_accuracy", recorded)
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ema": {"ema_decay": 0.8},
    "pruned at once": {"sparsity": 0.5, "pruning_end": 0.0, "regrow": 0.0},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.05},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("which", ["folded", "normed", "dropout"])
def test_the_best_epoch_is_kept(which: str, variant: str, accuracies: list[float]) -> None:
    images, chosen = with_random_labels(), []
    _, held_out = split_validation(images, 40)
    for seed in range(4):
        accuracies.clear()
        options = {"epochs": 6, "learning_rate": 0.2, "validation": 40, **VARIANTS[variant]}
        after, report = training.train(training.network(which), images, seed=seed, **options)
        *epochs, kept = accuracies
        assert len(epochs) == 6
        assert kept == max(epochs) == report.totals["validation_accuracy"]
        assert accuracy(after, held_out) == pytest.approx(kept)
        chosen.append(epochs[-1] < kept)
    assert any(chosen), "a case in which the choice matters"


def test_the_first_of_equal_epochs_is_kept(accuracies: list[float]) -> None:
    images = training.quadrants(96)
    short, _ = training.train(training.network("folded"), images, epochs=6, validation=40)
    assert accuracies.count(100.0) > 3, "a case in which several epochs are perfect"
    first = accuracies.index(100.0)
    reported: list[Model] = []

    def stop(_task: str, done: float, _figures: object) -> None:
        if done > (first + 1) / 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        training.train(training.network("folded"), images, epochs=6, validation=40, progress=stop)
    reported.append(caught.value.result[0])  # type: ignore[attr-defined]
    for name in training.WEIGHTS["folded"]:
        assert (training.tensors(reported[0])[name] == training.tensors(short)[name]).all()


def test_no_epoch_before_the_end_of_pruning_is_kept(
    accuracies: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dense network is better than the pruned one: epochs before the end of pruning must not count."""
    seen: list[np.ndarray] = []
    measure = Training._accuracy

    def recorded(self: Training, batches: Any) -> float:
        seen.append(self.setup.student.parameter("last_w").detach().numpy().copy())
        return measure(self, batches)

    monkeypatch.setattr(Training, "_accuracy", recorded)
    options = {"epochs": 6, "validation": 40, "sparsity": 0.9, "pruning_schedule": "one-shot", "regrow": 0.0}
    after, report = training.train(
        training.network("normed"), training.quadrants(96), pruning_start=0.5, pruning_end=0.5, **options
    )
    assert max(accuracies[:3]) > max(accuracies[3:])
    best = 3 + accuracies[3:-1].index(max(accuracies[3:-1]))
    assert report.totals["validation_accuracy"] == accuracies[-1] == accuracies[best]
    assert (training.tensors(after)["last_w"] == seen[best]).all()
    assert sum(training.counts(after, "normed").values()) == 20


def test_no_validation_image_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    images = training.quadrants()
    plain, _ = training.train(training.network("folded"), images, validation=20, epochs=1)
    _, held_out = split_validation(images, 20)
    held = (images.pixels[:, None] == held_out.pixels[None]).all(axis=(2, 3, 4)).any(axis=1)
    other = Images(
        np.where(held[:, None, None, None], np.uint8(255), images.pixels), images.labels, images.classes
    )
    again, _ = training.train(training.network("folded"), other, validation=20, epochs=1)
    for name, tensor in training.tensors(plain).items():
        assert (training.tensors(again)[name] == tensor).all(), name


def test_the_split_does_not_depend_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tightc.finetuning.prepare as prepare

    held: list[np.ndarray] = []

    def recorded(images: Images, count: int) -> tuple[Images, Images]:
        parts = split_validation(images, count)
        held.append(parts[1].pixels)
        return parts

    monkeypatch.setattr(prepare, "split_validation", recorded)
    for seed in (0, 1):
        training.train(training.network("folded"), seed=seed, validation=20, epochs=1)
    assert (held[0] == held[1]).all()


def test_a_validation_split_of_all_images_is_refused() -> None:
    with pytest.raises(OptionError) as fault:
        training.train(training.network("folded"), validation=63)
    assert str(fault.value) == (
        "--validation: expected at most 62 of 64 images, got 63; "
        "lower --validation, so that training images are left"
    )


@pytest.mark.parametrize("place", range(0, 64, 9))
def test_a_wrong_label_in_either_split_is_named_by_its_index(place: int) -> None:
    images = training.quadrants()
    images.labels[place] = 7
    with pytest.raises(
        DataError, match=rf"^image {place}: expected a label of the network's 4 classes .* got 7"
    ):
        training.train(training.network("folded"), images, validation=30)
