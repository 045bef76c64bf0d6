"""The networks of MLPerf Tiny with their data: what calibrates or trains, and what measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import tightc
from benchmarks.intervals import Interval, auc, auc_interval, wilson
from tightc.files import write_file_atomically
from tightc.model.file import Model

_ROOT = Path(__file__).resolve().parents[2]
BUILD = _ROOT / "build" / "mlperf-tiny"  # as the recipes in configs/mlperf-tiny name it
SHARED = _ROOT.parent / "shared" / "mlperf-tiny"
PHOTOGRAPHS = _ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.gz"
MFCC_SCALE, MFCC_ZERO = (
    np.float32(0.58470290899),
    128 + 83,
)  # of the input of the official int8 model, and of uint8
SLICES, DECIBEL = 5, np.float32(1 / 256)  # of a recording that the autoencoder sees at once; of a stored unit
_BATCH = 256

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A network: its `floor` is the quality that MLPerf Tiny asks for, `dense` that of all official samples.

    `samples` reads the inputs as the network takes them, and the labels. They are all of the official ones; for a
    network that `is_trained` on CIFAR-10 as JPEG, the test images of that.
    """

    name: str
    title: str
    floor: float
    dense: float
    samples: Callable[[], tuple[Array, Array]]
    is_autoencoder: bool = False
    is_trained: bool = False

    @property
    def model(self) -> Path:
        """The file of the dense float network."""
        if self.is_trained:
            return BUILD / f"{self.name}-dense" / "01-finetune.onnx"
        return SHARED / f"{self.name}.onnx"

    @property
    def slack(self) -> float:
        """What the official floor leaves to lose."""
        return self.dense - self.floor


@dataclass(frozen=True)
class Quality:
    """Accuracy in percent, or the area under the ROC curve, with the ends of its interval and the number of samples."""

    value: float
    interval: Interval
    samples: int


def images(name: str, scale: float) -> tuple[Array, Array]:
    """Official images times `scale`, (images, channels, height, width) float32, and their classes."""
    with np.load(SHARED / f"{name}.npz") as stored:
        return stored["x"].astype(np.float32) * np.float32(scale), stored["y"].astype(np.int64)


def features() -> tuple[Array, Array]:
    """Official MFCCs of spoken words, (words, 1, 49, 10) float32, and their classes."""
    with np.load(SHARED / "kws.npz") as stored:
        return (stored["x"].astype(np.float32) - MFCC_ZERO) * MFCC_SCALE, stored["y"].astype(np.int64)


def windows() -> tuple[Array, Array]:
    """Official recordings of machines as (recordings, windows, SLICES x bands) dB, and 1 for an anomaly."""
    with np.load(SHARED / "ad.npz") as stored:
        spectra, labels = stored["inputs"], stored["labels"].astype(np.int64)
    count = spectra.shape[1] - SLICES + 1
    parts = [spectra[:, first : first + count] for first in range(SLICES)]
    return np.concatenate(parts, axis=2).astype(np.float32) * DECIBEL, labels


def write_halves(network: Network, folder: Path = BUILD) -> None:
    """NAME.npz in `folder`, where it is missing: samples of even number train, those of odd number test.

    NAME-swapped.npz has them the other way round; sparsities are chosen on that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    x = "input" if network.is_autoencoder else "x"
    for path, train in ((folder / f"{network.name}.npz", 0), (folder / f"{network.name}-swapped.npz", 1)):
        if not path.exists():
            inputs, labels = network.samples()
            parts = {"train": slice(train, None, 2), "test": slice(1 - train, None, 2)}
            arrays = {f"{x}_{split}": inputs[part] for split, part in parts.items()}
            arrays |= {f"y_{split}": labels[part] for split, part in parts.items()}
            np.savez(path, **arrays)


def held_out(network: Network, *, swapped: bool = False) -> tuple[Array, Array]:
    """The half that measures: samples of odd number, of even number where `swapped`."""
    inputs, labels = network.samples()
    part = slice(0 if swapped else 1, None, 2)
    return inputs[part], labels[part]


@cache
def photographs() -> tuple[Array, Array]:
    """The 10,000 test images of CIFAR-10 as JPEG, pixels from 0 to 255 as ResNet-8 takes them, and their classes."""
    opened = tightc.load_images(PHOTOGRAPHS, (3, 32, 32), split="test").images
    return opened.pixels.astype(np.float32), opened.labels


NETWORKS = (
    Network("resnet8", "image classification, ResNet-8", 85.0, 85.5, photographs, is_trained=True),
    Network("vww", "visual wake words, MobileNetV1 0.25", 80.0, 85.3, lambda: images("vww", 1 / 255)),
    Network("kws", "keyword spotting, DS-CNN", 90.0, 91.3, features),
    Network("ad", "anomaly detection, autoencoder", 0.85, 0.8804, windows, is_autoencoder=True),
)


def measured(network: Network, model: Path, part: str) -> Quality:
    """The quality of the `model` file on a part of the samples, kept in BUILD by the content of the file.

    `part`: odd, even, all, or official for the 200 images of ResNet-8.
    """
    name = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    kept = BUILD / "quality" / f"{network.name}-{part}-{name}.json"
    if not kept.exists():
        found = quality(network, model, _samples(network, part))
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(kept, json.dumps(asdict(found)).encode())
    stored = json.loads(kept.read_bytes())
    return Quality(stored["value"], tuple(stored["interval"]), stored["samples"])


def _samples(network: Network, part: str) -> tuple[Array, Array]:
    if part == "official":
        return images("ic", 1)
    if part == "all":
        return network.samples()
    return held_out(network, swapped=part == "even")


def quality(network: Network, model: Path | Model, samples: tuple[Array, Array]) -> Quality:
    """That of `model` on `samples`, from its outputs in onnxruntime."""
    inputs, labels = samples
    if not network.is_autoencoder:
        right = int((_outputs(model, inputs).argmax(axis=1) == labels).sum())
        low, high = wilson(right, len(labels))
        return Quality(100 * right / len(labels), (100 * low, 100 * high), len(labels))
    rows = inputs.reshape(-1, inputs.shape[-1])
    errors = np.square(_outputs(model, rows) - rows).reshape(len(inputs), -1).mean(axis=1, dtype=np.float64)
    return Quality(auc(errors, labels), auc_interval(errors, labels), len(labels))


def _outputs(model: Path | Model, inputs: Array) -> Array:
    source = str(model) if isinstance(model, Path) else model.proto.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [inputs[first : first + _BATCH] for first in range(0, len(inputs), _BATCH)]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])
