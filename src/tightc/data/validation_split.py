"""The validation split, held out from training."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from tightc.data.images import Images
from tightc.data.samples import Samples
from tightc.errors import OptionError

_SEED = 0  # not the seed of the run: runs with different seeds must stay comparable


Data = TypeVar("Data", Images, Samples)


def split_validation(images: Data, count: int) -> tuple[Data, Data]:
    """Splits `images` into a training split and a validation split of `count` images, both in their original order.

    The split is the same for every run on the same images. OptionError where no training images are left.
    """
    if count > len(images) - 2:
        raise OptionError(
            f"--validation: expected at most {max(0, len(images) - 2)} of {len(images)} images, got {count}",
            "lower --validation, so that training images are left",
        )
    held_out = np.zeros(len(images), bool)
    held_out[np.random.default_rng(_SEED).permutation(len(images))[:count]] = True
    return images.chosen(~held_out), images.chosen(held_out)
