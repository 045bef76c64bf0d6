"""What training costs: finetune against a loop written by hand, in turn, in one process."""

from __future__ import annotations

import time
from itertools import islice
from statistics import median

import torch

from benchmarks.hand_written import training
from benchmarks.networks import RESNET20, missing
from benchmarks.page import SEED, Page
from tightc.config.image_shape import ImageShape
from tightc.data.images import Images, Normalization
from tightc.data.source import open_images
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.prepare import TrainingInputs, prepare_training
from tightc.model.file import load_model
from tightc.progress import no_progress

TITLE = "Training: finetune against a loop written by hand"
_NETWORK = RESNET20.with_name("resnet20-cifar10-bn.onnx")
_DATA = RESNET20.parents[1] / "data" / "cifar10-jpeg.tar.gz"
_NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_BATCH = 128
_VARIANTS: dict[str, dict[str, object]] = {
    "finetune": {},
    "finetune --teacher": {"teacher": True},
    "finetune --sparsity 0.9 --regrow 0.1": {"sparsity": 0.9, "regrow": 0.1},
    "finetune --align 32x32 --budget compression=10": {"align": "32x32", "budget": "compression=10"},
    "finetune --ema-decay 0.999": {"ema_decay": 0.999},
}


def run(page: Page) -> None:
    """Images a second of every variant, in bfloat16 where the processor has it, and in float32."""
    absent = missing(_NETWORK)
    if absent:
        page.text(absent)
        return
    steps, rounds = (2, 1) if page.quick else (40, 5)
    images = _images(_BATCH * steps)
    page.text(
        f"ResNet-20 (`{_NETWORK.name}`), batches of {_BATCH}, shifted and mirrored, SGD; {torch.get_num_threads()} "
        f"threads, torch {torch.__version__}. Every figure is the median of {rounds} blocks of {steps} steps, one "
        "block of each in turn, so that what else the machine does meets all alike. Ratio: to the loop by hand "
        "(`scripts/benchmarks/hand_written.py`) of the same round, median."
    )
    for dtype in ("bfloat16", "float32"):
        page.text(f"### {dtype}")
        _compare(page, images, dtype, rounds)


def _compare(page: Page, images: Images, dtype: str, rounds: int) -> None:
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    mean, std = torch.tensor(_NORMALIZATION.mean), torch.tensor(_NORMALIZATION.std)
    steps = len(images) // _BATCH
    by_hand = training(pixels, labels, mean, std, batch=_BATCH, bf16=dtype == "bfloat16")
    next(by_hand)
    speeds: dict[str, list[float]] = {"by hand": [], **{name: [] for name in _VARIANTS}}
    for _ in range(rounds):
        began = time.perf_counter()
        seen = sum(islice(by_hand, steps))
        speeds["by hand"].append(seen / (time.perf_counter() - began))
        for name, options in _VARIANTS.items():
            speeds[name].append(_speed(images, {**options, "dtype": dtype}))
    page.head("loop", "images/s", "ratio")
    for name, found in speeds.items():
        ratios = [one / hand for one, hand in zip(found, speeds["by hand"], strict=True)]
        page.row(name, median(found), median(ratios))
    page.end()


def _speed(images: Images, options: dict[str, object]) -> float:
    """Images a second over one epoch of finetune, without what comes before the first step."""
    model = load_model(str(_NETWORK))
    given = {"epochs": 1, "batch_size": _BATCH, "augment": True, "device": "cpu", **options}
    teacher = model if given.pop("teacher", False) else None
    chosen = FinetuneOptions.of(given)
    prepared = prepare_training(TrainingInputs(model, images, _NORMALIZATION, SEED, teacher), chosen)
    began = time.perf_counter()
    prepared.train(no_progress, chosen)
    return len(images) / (time.perf_counter() - began)


def _images(count: int) -> Images:
    whole = open_images(str(_DATA), "train", ImageShape(3, 32, 32))
    return Images(whole.pixels[:count], whole.labels[:count], whole.classes)
