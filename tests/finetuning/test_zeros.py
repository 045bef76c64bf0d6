"""Zero weights stay zero under every training option."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import training

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strong decay": {"weight_decay": 0.5},
    "no momentum": {"momentum": 0.0},
    "ema": {"ema_decay": 0.9},
    "label smoothing": {"label_smoothing": 0.2},
    "one cycle": {"lr_schedule": "one-cycle", "warmup": 0.3},
    "bn recalibration": {"bn_recalibration_images": 40},
    "batchnorm stays folded": {"unfold_batchnorm": False},
    "validation": {"validation": 16, "ema_decay": 0.5},
    "augmented": {"augment": True},
    "pruned further": {"sparsity": 0.8},
    "pruned further, regrown": {"sparsity": 0.8, "regrow": 0.5, "regrow_end": 1.0},
    "pruned in segments": {
        "sparsity": 0.8, "align": "4x4", "regrow": 0.5, "ema_decay": 0.9, "bn_recalibration_images": 32,
    },
}  # fmt: skip


def assert_zeros_stay(which: str, **options: Any) -> None:
    before = training.network(which, density=0.5)
    after, report = training.train(before, **options)
    old, new = training.tensors(before), training.tensors(after)
    for name in training.WEIGHTS[which]:
        zero = old[name] == 0
        assert zero.any() and (new[name][zero] == 0).all()
        assert not np.signbit(new[name][zero]).any()
        if "sparsity" not in options:
            assert (new[name][~zero] != 0).all() and (new[name][~zero] != old[name][~zero]).any()
    assert report.totals["zeros_kept"] == sum(int((old[name] == 0).sum()) for name in training.WEIGHTS[which])
    assert report.totals["nonzeros"] == sum(training.counts(after, which).values())
    onnx.checker.check_model(after.proto, full_check=True)
    session = onnxruntime.InferenceSession(after.to_bytes(), providers=["CPUExecutionProvider"])
    images = training.NORMALIZATION.apply(training.quadrants().pixels)
    assert np.isfinite(session.run(None, {"image": images})[0]).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_zeros_stay_with_both_optimizers(optimizer: str, variant: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.005
    assert_zeros_stay("folded", optimizer=optimizer, **{"learning_rate": rate, **VARIANTS[variant]})


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_zeros_stay_in_bfloat16(variant: str, optimizer: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.005
    further = {"optimizer": optimizer, "learning_rate": rate, **VARIANTS[variant]}
    assert_zeros_stay("normed", dtype="bfloat16", epochs=2, **further)


@pytest.mark.parametrize("variant", ["plain", "ema", "pruned further, regrown", "pruned in segments"])
@pytest.mark.parametrize("which", ["grouped", "shared", "dropout"])
def test_zeros_stay_in_layers_of_every_form(which: str, variant: str) -> None:
    assert_zeros_stay(which, **VARIANTS[variant])


@pytest.mark.parametrize("unfold_batchnorm", [True, False])
def test_a_filter_without_weights_stays_empty(unfold_batchnorm: bool) -> None:
    before = training.network("folded")
    weight = training.tensors(before)["first_w"].copy()
    weight[3] = 0
    before = before.with_tensors({"first_w": weight})
    after, _ = training.train(before, unfold_batchnorm=unfold_batchnorm, weight_decay=0.1)
    found = training.tensors(after)
    assert (found["first_w"][3] == 0).all()
    assert all(np.isfinite(tensor).all() for tensor in found.values())
