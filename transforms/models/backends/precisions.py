"""What a model computes in: what numbers round to, and how far from float32 that may lead. Imports no engine.

In the mixed precisions factors of products are rounded and sums and weights are float32. TensorFlow has them as dtype
policies of Keras, from the pixels to the class scores; OpenVINO computes what it is given of the model in them, and the
head stays float32 in TensorFlow.
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

ROUNDOFF: dict[Precision, float] = {"float32": 2.0**-24, "mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}
"""The largest relative error of a number that is rounded: significands of 24, 11 and 8 bits."""

TYPES: dict[Precision, str] = {"float32": "f32", "mixed_float16": "f16", "mixed_bfloat16": "bf16"}
"""The type of the factors, in OpenVINO's words."""

FLOAT32_LIMIT = 1e-5
"""What logits and activations of two float32 engines may differ by, of the largest value of each."""

_LAYERS = 256


def limit(precision: Precision) -> float:
    """What logits and activations may differ by from those in float32, of the largest value of each.

    Rounding errors of layers in a row are as good as independent, so that those of L layers grow as the root of L
    (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019). More than 256 layers of roundings
    give is not the number of bits but a model that is ill-conditioned, or overflows.

    >>> limit("mixed_bfloat16"), limit("mixed_float16")
    (0.0625, 0.0078125)
    """
    return FLOAT32_LIMIT if precision == "float32" else ROUNDOFF[precision] * float(_LAYERS) ** 0.5
