"""A classifier with every kind of layer, images for it, and OBS pruning of it."""

from __future__ import annotations

import numpy as np
import onnx

from helpers import models
from helpers.loading import loaded
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.model.file import Model
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.report import Report

PLAIN = Normalization()


def dense(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32) * 0.5


def many_forms(batch: str = "B") -> onnx.ModelProto:
    """A classifier with groups, strides, dilation, a norm, a shared weight, and products of every kind."""
    return models.build(
        f"""net (float[{batch}, 2, 9, 9] image) => (float[{batch}, 3] logits) {{
            [stem] a = Conv<pads = [1, 1, 1, 1]>(image, stem_w, stem_b)
            b = Relu(a)
            [grouped] c = Conv<group = 2, strides = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1]>(b, grouped_w)
            d = BatchNormalization(c, scale, shift, mean, variance)
            e = Relu(d)
            [one] f = Conv<auto_pad = "SAME_UPPER">(e, shared_w)
            g = Relu(f)
            [two] h = Conv<auto_pad = "SAME_LOWER">(g, shared_w, two_b)
            i = Relu(h)
            j = GlobalAveragePool(i)
            k = Flatten(j)
            [gemm] l = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(k, gemm_w, gemm_b)
            m = Relu(l)
            [product] n = MatMul(m, product_w)
            logits = Add(n, product_b)
        }}""",
        stem_w=dense(6, 2, 3, 3),
        stem_b=dense(6),
        grouped_w=dense(8, 3, 3, 3),
        scale=np.abs(dense(8)) + 0.5,
        shift=dense(8, seed=1),
        mean=dense(8, seed=2),
        variance=np.abs(dense(8, seed=3)) + 0.5,
        shared_w=dense(8, 8, 2, 2),
        two_b=dense(8, seed=4),
        gemm_w=dense(10, 8),
        gemm_b=dense(10),
        product_w=dense(10, 3),
        product_b=dense(3),
    )


def some(count: int = 40, *shape: int) -> NormalizedImages:
    rng = np.random.default_rng(5)
    pixels = rng.normal(size=(count, *(shape or (2, 9, 9)))).astype(np.float32)
    return NormalizedImages(Images(pixels, rng.integers(0, 3, count)), PLAIN)


def obs_pruned(
    proto: onnx.ModelProto, images: NormalizedImages | None = None, seed: int = 0, **options: object
) -> tuple[Model, Report]:
    return prune(loaded(proto), PruneOptions(criterion="obs", **options), images or some(), seed=seed)
