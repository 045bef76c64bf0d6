"""The validation split."""

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
def test_every_image_is_in_one_split_and_both_keep_their_order(count: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, count - 2))
    train, validation = split_validation(numbered(count), size)
    assert len(validation) == size
    for part in (train, validation):
        assert part.labels.tolist() == sorted(part.labels.tolist())
        assert part.pixels.ravel().tolist() == part.labels.tolist()
        assert part.classes == ("even", "odd")
    assert sorted(train.labels.tolist() + validation.labels.tolist()) == list(range(count))


def test_the_split_is_always_the_same_and_covers_the_data_evenly() -> None:
    np.random.seed(1)
    _, first = split_validation(numbered(1000), 200)
    np.random.seed(2)
    _, again = split_validation(numbered(1000), 200)
    assert first.labels.tolist() == again.labels.tolist()
    fifths = np.bincount(first.labels // 200, minlength=5)
    assert fifths.min() > 20


@pytest.mark.parametrize(("count", "size"), [(10, 9), (10, 10), (10, 4000), (2, 1)])
def test_a_validation_split_that_is_too_large(count: int, size: int) -> None:
    with pytest.raises(OptionError) as fault:
        split_validation(numbered(count), size)
    assert (fault.value.sentence, fault.value.remedy) == (
        f"--validation: expected at most {count - 2} of {count} images, got {size}",
        "lower --validation, so that training images are left",
    )
