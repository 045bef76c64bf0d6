"""The parts of the training loop, each against a slow reference."""

import numpy as np
import pytest
import torch

from tightc.data.images import Images, Normalization
from tightc.finetuning.batches.augment import Crop, cut_crops, draw_crops, draw_mixup_ratios, mixup
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import TrainingOptions
from tightc.finetuning.training.loss import Objective, distillation_loss, training_loss
from tightc.finetuning.training.lr_schedules import cosine_lr

CPU = torch.device("cpu")


def colored(count: int, dtype: type = np.uint8) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 8)).astype(dtype)
    return Images(pixels, np.arange(count, dtype=np.int64))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_batches_are_the_normalized_images_in_another_order(dtype: type) -> None:
    images = colored(24, dtype)
    normalization = Normalization((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    batches = Batches(images, normalization, 8, False, CPU)
    wanted = normalization.apply(images.pixels)
    seen = []
    for (pixels,), labels in batches.epoch(torch.Generator().manual_seed(0)):
        assert pixels.shape == (8, 3, 16, 8)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(pixels.numpy(), wanted[labels.numpy()], rtol=1e-4, atol=1e-5)
        seen += labels.tolist()
    assert sorted(seen) == list(range(24))
    assert seen != sorted(seen)
    np.testing.assert_allclose(batches.first(2)[0].numpy(), wanted[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "batch_size", "batches", "size"), [(20, 8, 2, 8), (7, 8, 1, 7), (16, 8, 2, 8)]
)
def test_a_partial_batch_is_dropped_unless_it_is_the_only_one(
    count: int, batch_size: int, batches: int, size: int
) -> None:
    found = Batches(colored(count), Normalization(), batch_size, False, CPU)
    assert len(found) == batches
    assert [len(labels) for _, labels in found.epoch(torch.Generator())] == [size] * batches


def test_augmented_sample_is_not_shifted() -> None:
    images = colored(4)
    plain = Batches(images, Normalization(), 2, False, CPU).first(2)[0]
    assert torch.equal(Batches(images, Normalization(), 2, True, CPU).first(2)[0], plain)


def test_every_crop_is_a_window_of_its_image_or_its_mirror() -> None:
    pixels = torch.randint(0, 256, (3, 6, 8, 2), dtype=torch.uint8)
    index = torch.arange(3).repeat(40)
    rows, columns = draw_crops(len(index), Crop(4, 4, 1, 2), torch.Generator().manual_seed(0))
    views = cut_crops(pixels, index, rows, columns)
    places = set()
    for image, view in zip(index.tolist(), views, strict=True):
        found = [
            (top, left, mirrored)
            for top in range(3)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(_window(pixels[image], top, left, mirrored), view)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) == 3 * 5 * 2


def _window(image: torch.Tensor, top: int, left: int, mirrored: bool) -> torch.Tensor:
    cut = image[top : top + 4, left : left + 4]
    return cut.flip(1) if mirrored else cut


def test_distillation_loss_is_the_divergence_at_temperature() -> None:
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 5, 3))
    total = 0.0
    for s, t in zip(student / 3, teacher / 3, strict=True):
        p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
        total += float((p * np.log(p / q)).sum())
    found = distillation_loss(torch.from_numpy(student), torch.from_numpy(teacher), 3.0)
    assert float(found) == pytest.approx(9 * total / 5)


def test_loss_is_a_weighted_sum_of_labels_and_teacher() -> None:
    logits, teacher = torch.randn(2, 5, 3)
    labels = torch.tensor([0, 1, 2, 0, 1])
    options = TrainingOptions(distill_temperature=3.0, distill_weight=0.25)
    plain = training_loss((logits,), labels, None, Objective(labeled=True), options)
    both = training_loss((logits,), labels, (teacher,), Objective(labeled=True), options)
    assert float(both) == pytest.approx(
        float(0.75 * plain + 0.25 * distillation_loss(logits, teacher, 3.0)), rel=1e-5
    )


def test_masks_clear_gradient_weight_and_momentum() -> None:
    pruned = torch.nn.Parameter(torch.tensor([[0.0, 1.0], [-0.0, 2.0]]))
    full = torch.nn.Parameter(torch.ones(2, 2))
    masks = Masks([pruned, full])
    assert masks.initial_zeros == 2
    optimizer = torch.optim.SGD([pruned, full], lr=0.1, momentum=0.9)
    for weight in (pruned, full):
        weight.grad = torch.ones(2, 2)
    masks.mask_gradients()
    assert pruned.grad is not None
    assert pruned.grad.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert full.grad is not None
    assert full.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    pruned.grad.fill_(1.0)  # as if other code had changed them
    optimizer.step()
    masks.mask_update(optimizer)
    assert pruned[:, 0].tolist() == [0.0, 0.0]
    assert optimizer.state[pruned]["momentum_buffer"][:, 0].tolist() == [0.0, 0.0]
    assert optimizer.state[full]["momentum_buffer"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_learning_rate_rises_and_falls() -> None:
    rates = [cosine_lr(step, 100, 0.1, 0.05) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert top == 4
    assert 0 < rates[-1] < 1e-4
    assert cosine_lr(0, 1, 0.1, 0.05) == 0.1


def test_mixup_ratios_fill_their_range() -> None:
    shares = draw_mixup_ratios(2000, 0.3, torch.Generator().manual_seed(0))
    assert 0 <= shares.min() < 0.01 and 0.29 < shares.max() <= 0.3 and abs(shares.mean() - 0.15) < 0.01


def test_mixup_blends_images_and_labels() -> None:
    images, labels = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 4, 4), torch.tensor([2, 0, 2])
    mixed, probabilities = mixup(images, labels, torch.tensor([0.5, 0.25, 0.0]), 4)
    for image, level in zip(mixed, (1.0, 0.75, 2.0), strict=True):
        assert torch.equal(image, torch.full((2, 4, 4), level))
    assert probabilities.tolist() == [[0, 0, 1, 0], [0.75, 0, 0.25, 0], [0, 0, 1, 0]]
