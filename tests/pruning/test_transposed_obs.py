"""Transposed convolutions by obs: onnxruntime measures what is lost."""

from __future__ import annotations

import numpy as np
import pytest

import tightc
from helpers.chains import outputs
from helpers.loading import loaded
from helpers.models import feeds
from helpers.weight_forms import WEIGHT_FORMS

FORMS = [form for form in WEIGHT_FORMS if form.startswith("ConvTranspose")]


@pytest.mark.parametrize("form", FORMS)
def test_it_loses_less_than_magnitude(form: str) -> None:
    proto = WEIGHT_FORMS[form]()
    (shape,) = (array.shape for array in feeds(proto).values())
    mixed = np.random.default_rng(1).normal(size=(shape[1], shape[1]))  # inputs that depend on each other
    drawn = np.random.default_rng(0).normal(size=(16 * shape[0], *shape[1:]))
    samples = np.einsum("nc...,cd->nd...", drawn, mixed).astype(np.float32)
    want = outputs(proto.SerializeToString(), {"x": samples[: shape[0]]})[0]
    lost = {}
    for criterion in ("magnitude", "obs"):
        data = {"images": {"x": samples}} if criterion == "obs" else {}
        pruned = tightc.prune(loaded(proto), sparsity=0.5, criterion=criterion, **data).model
        found = outputs(pruned.to_bytes(), {"x": samples[: shape[0]]})[0]
        lost[criterion] = float(np.square(found - want).mean())
    assert 0 < lost["obs"] < lost["magnitude"]
