"""The table of families in methods/README.md, and the proof of each of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from heatbeam.transforms.methods import cam
from heatbeam.transforms.models import exposure
from tests.support import paths
from tests.support.families import family

PAGE = paths.ROOT / "transforms" / "methods" / "README.md"


def of(title: str, families: Sequence[family.Family]) -> str:
    """The table of some families, in Markdown.

    Args:
        title: of the first column.
        families: a row each.
    """
    head = f"| {title} | layer chosen | what an expert maps |\n| --- | --- | --- |\n"
    return head + "".join(f"{one.row}\n" for one in families)


@dataclasses.dataclass(frozen=True, eq=False)
class Proof:
    """What is chosen in a family's model, and Grad-CAM of two images of noise.

    Attributes:
        layer: that is chosen.
        prefix_tokens: tokens before its cells.
        warnings: what speaks against it.
        maps: as heatbeam has them, ``(2, h, w)``.
        by_hand: as a gradient tape has them at the expert's layer.
    """

    layer: str
    prefix_tokens: int
    warnings: tuple[str, ...]
    maps: np.ndarray
    by_hand: np.ndarray


def proof(one: family.Family) -> Proof:
    """Make a family's model and map it, by heatbeam and by hand."""
    model = one.model()
    exposed = exposure.ExposedModel(model, layer="auto", scores="auto", output=None, size=None)
    about = exposed.description
    images = np.random.default_rng(5).uniform(-1, 1, (2, *about.input_size)).astype(np.float32)

    @tf.function(autograph=False)
    def maps(inputs: tf.Tensor) -> tf.Tensor:
        logits, (activations,) = exposed.expose(inputs)
        return cam.grad_cam(activations, tf.gradients(logits[:, 1], activations)[0][:, None])[..., 0]

    return Proof(
        layer=about.layer.name,
        prefix_tokens=about.layer.prefix_tokens,
        warnings=about.warnings,
        maps=maps(tf.constant(images)).numpy(),
        by_hand=one.grad_cam(model, images, 1),
    )
