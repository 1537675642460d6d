"""Weights of the built-in embedder as they are written: no sum of two products may leave 16 bits, and little is lost."""

from __future__ import annotations

import numpy as np

from qzbrain.models.hub import e5

LARGEST_ACTIVATION = 255
"""CTranslate2 shifts activations of 8 bits above zero before it multiplies them."""


def test_two_products_stay_within_sixteen_bits_and_each_weight_within_half_a_step() -> None:
    random = np.random.default_rng(1)
    weights = random.standard_normal((50, 64)).astype(np.float32) * np.logspace(-30, 3, 50, dtype=np.float32)[:, None]
    weights[7] = 0
    kept, scales = e5.halved(weights)
    assert kept.dtype == np.int8 and scales.dtype == np.float32 and np.isfinite(scales).all()
    pairs = np.abs(kept.astype(np.int64)) * LARGEST_ACTIVATION
    assert (pairs[:, ::2] + pairs[:, 1::2]).max() <= np.iinfo(np.int16).max
    assert (np.abs(kept / scales[:, None] - weights) <= 0.5001 / scales[:, None]).all()
    assert np.abs(kept).max(axis=1)[np.arange(50) != 7].min() == 64
