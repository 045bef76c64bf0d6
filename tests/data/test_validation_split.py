"""Images held apart from training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.data.images import Images
from tightc.data.validation_split import split_validation
from tightc.errors import OptionError


def numbered(count: int) -> Images:
    pixels = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
    return Images(pixels, np.arange(count, dtype=np.int64), ("even", "odd"))


@given(st.integers(2, 60), st.data())
def test_every_image_is_in_one_part_and_both_keep_their_order(count: int, data: st.DataObject) -> None:
    held = data.draw(st.integers(0, count - 2))
    rest, apart = split_validation(numbered(count), held)
    assert len(apart) == held
    for part in (rest, apart):
        assert part.labels.tolist() == sorted(part.labels.tolist())
        assert part.pixels.ravel().tolist() == part.labels.tolist()
        assert part.classes == ("even", "odd")
    assert sorted(rest.labels.tolist() + apart.labels.tolist()) == list(range(count))


def test_the_same_images_are_held_apart_each_time_from_all_over_the_set() -> None:
    np.random.seed(1)
    _, first = split_validation(numbered(1000), 200)
    np.random.seed(2)
    _, again = split_validation(numbered(1000), 200)
    assert first.labels.tolist() == again.labels.tolist()
    fifths = np.bincount(first.labels // 200, minlength=5)
    assert fifths.min() > 20


@pytest.mark.parametrize(("count", "held"), [(10, 9), (10, 10), (10, 4000), (2, 1)])
def test_too_many_are_refused(count: int, held: int) -> None:
    with pytest.raises(OptionError) as fault:
        split_validation(numbered(count), held)
    assert (fault.value.sentence, fault.value.remedy) == (
        f"--validation {held} of {count} images leaves none to train on",
        "hold fewer apart",
    )
