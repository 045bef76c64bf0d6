"""Images held apart from training, to choose by."""

from __future__ import annotations

import numpy as np

from tightc.data.images import Images
from tightc.errors import OptionError

_SEED = 0  # of the split alone: it must not move with the seed of a run, or no two runs could be compared


def split_validation(images: Images, count: int) -> tuple[Images, Images]:
    """(the rest, `count` images): the same for every run on the same images, both in their own order.

    OptionError where nothing would be left to train on.
    """
    if count > len(images) - 2:
        raise OptionError(
            f"--validation {count} of {len(images)} images leaves none to train on", "hold fewer apart"
        )
    chosen = np.zeros(len(images), bool)
    chosen[np.random.default_rng(_SEED).permutation(len(images))[:count]] = True
    return _of(images, ~chosen), _of(images, chosen)


def _of(images: Images, chosen: np.ndarray) -> Images:
    return Images(images.pixels[chosen], images.labels[chosen], images.classes)
