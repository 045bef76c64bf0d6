"""The data of a compression: what trains, what chooses, and what is measured at last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Normalization, Split
from tightc.data.samples import Samples
from tightc.errors import DataError
from tightc.evaluation.drop import Drop, accuracy_drop, drop_from_teacher, right_images
from tightc.finetuning.labels import is_labeled
from tightc.model.file import Model
from tightc.recipe.recipe import RecipeData
from tightc.recipe.stage_runner import Data, OpenedImages, hash_source, open_split, split_data

_MOST_HELD_OUT = 5000
_SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Reference:
    """What drops are measured against: the `teacher`, or where that is None the labels that the dense model gets right.

    `data`: held-out or test images. `right`: (images,) bool, which of them the dense model classifies right.
    """

    data: Images | Samples
    normalization: Normalization
    teacher: Model | None
    right: NDArray[np.bool_] | None

    @classmethod
    def of(
        cls, dense: Model, data: Images | Samples, normalization: Normalization, teacher: Model | None
    ) -> Reference:
        """The reference on `data`; without a `teacher` they have labels."""
        right = right_images(dense, data, normalization) if teacher is None else None
        return cls(data, normalization, teacher, right)

    def drop(self, model: Model) -> Drop:
        """The drop of `model`."""
        if self.teacher is not None:
            return drop_from_teacher(model, self.teacher, self.data, self.normalization)
        assert self.right is not None, "there is a teacher or labels"
        return accuracy_drop(self.right, right_images(model, self.data, self.normalization))


@dataclass(frozen=True)
class Splits:
    """Training and test data by split, the hash of their source, the `teacher` where it takes the place of labels.

    Images are held out of the split `held_from`.
    """

    by_split: dict[Split, Data]
    key: str
    teacher: Model | None
    held_from: Split

    @property
    def opened(self) -> OpenedImages:
        """The data as recipes keep it."""
        return {(self.key, split): data for split, data in self.by_split.items()}

    @property
    def default_count(self) -> int:
        """The default number of held-out images."""
        part = 5 if self.held_from == "train" else 2
        return min(_MOST_HELD_OUT, max(1, len(_parts(self.by_split[self.held_from])[0]) // part))

    def references(self, dense: Model, count: int) -> tuple[Reference, Reference]:
        """What drops are measured against on `count` held-out images, and on the test set without these."""
        rest, held_out = split_data(self.by_split[self.held_from], count)
        test = rest if self.held_from == "test" else self.by_split["test"]
        first, second = (Reference.of(dense, *_parts(data), self.teacher) for data in (held_out, test))
        return first, second


def open_splits(data: RecipeData, dense: Model, teacher: Model | None) -> Splits:
    """The data of both splits; DataError where it has neither labels nor a `teacher`, or the same images in both."""
    key = hash_source(data)
    by_split = {split: open_split(data, split, dense, key) for split in _SPLITS}
    train, test = (_parts(by_split[split])[0] for split in _SPLITS)
    labeled = is_labeled(train, dense) and is_labeled(test, dense)
    if not labeled and teacher is None:
        raise DataError(
            f"{data.data}: expected a class label for each image, got none for this network",
            "add --teacher MODEL, whose outputs take the place of labels",
        )
    if _are_same(train, test):
        kind, arrays = "images", "folders train and test, or arrays x_train, y_train, x_test and y_test"
        if isinstance(train, Samples):
            name = next(iter(train.inputs))
            kind, arrays = "samples", f"arrays {name}_train and {name}_test, and so on"
        raise DataError(
            f"{data.data}: expected a train and a test split, got the same {kind} for both",
            f"name them: {arrays}",
        )
    return Splits(by_split, key, None if labeled else teacher, data.validation_from)


def _are_same(train: Images | Samples, test: Images | Samples) -> bool:
    """Whether a source without splits gave all for both."""
    if len(train) != len(test):
        return False
    if isinstance(train, Images) and isinstance(test, Images):
        return bool(np.array_equal(train.pixels[:64], test.pixels[:64]))
    assert isinstance(train, Samples) and isinstance(test, Samples), "both are for the same network"
    return all(np.array_equal(array, test.inputs[name]) for name, array in train.inputs.items())


def _parts(data: Data) -> tuple[Images | Samples, Normalization]:
    """Images and their normalization; samples have none."""
    return (data, Normalization()) if isinstance(data, Samples) else (data.images, data.normalization)
