"""How near the numbers of an engine are to TensorFlow's in float32, on the same images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from heatbeam.transforms.engine import computing, explained
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine.compute import choice
from heatbeam.transforms.metrics import map_similarity


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How near they are.

    Attributes:
        images: how many were looked at.
        difference: as of `choice.agreement`; infinite where some numbers are not finite.
        same_class: share of the images with the same first choice of the model, in [0, 1].
        map_correlation: Pearson's correlation of raw maps of the same image and class, averaged for each method, and
            the least of these; None where no maps were compared, or none varies.
    """

    images: int
    difference: float
    same_class: float
    map_correlation: float | None


def reference(engine: engines.Engine) -> engines.Engine:
    """The same methods by TensorFlow in float32; of the same model if its layers compute in float32."""
    spec = dataclasses.replace(
        engine.spec,
        compute="tensorflow",
        precision="float32",
        xla=False,
        tune_batch=False,
        batch_size=engine.batch_size,
        constant_weights=False,  # to make them constants takes longer than it is used
    )
    if computing.shares_model(engine.spec, spec):
        return engines.Engine(spec, engine.model)
    found = engines.Engine(spec)
    found.take_weights(engine)
    return found


def measured(
    engine: engines.Engine, images: np.ndarray, inputs: Mapping[str, np.ndarray] | None = None, *, maps: bool
) -> Agreement:
    """The agreement of an engine.

    Args:
        engine: a warm one.
        images: ``(N, *positions, channels)``, as of `engine.Engine.explain`.
        inputs: the model's other inputs, as of that.
        maps: whether maps are compared too, of the methods that share a pass; another engine's pass is traced for it.

    Raises:
        loading.ModelError: TensorFlow can't explain the model in float32.
        engines.BatchError, engines.OutOfMemory, tf.errors.OpError: one of them failed on the images.
    """
    other, whole = reference(engine), bool(engine.further)
    expected, found = (one.answers(images, inputs, whole=whole) for one in (other, engine))
    best = [np.argmax(scores, axis=-1) for scores in (expected[0], found[0])]
    return Agreement(
        images=len(images),
        difference=choice.agreement(expected, found),
        same_class=float(np.mean(best[0] == best[1])),
        map_correlation=_of_maps(other, engine, images, inputs, best[0]) if maps else None,
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson's correlation of two arrays of the same shape; None where one of them is constant or not finite.

    >>> correlation(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    1.0
    """
    found = float(map_similarity.pearson(one[None], other[None])[0])
    return found if math.isfinite(found) else None


def _of_maps(
    reference: engines.Engine,
    engine: engines.Engine,
    images: np.ndarray,
    inputs: Mapping[str, np.ndarray] | None,
    classes: np.ndarray,
) -> float | None:
    """`Agreement.map_correlation`."""
    labels = [(int(class_id),) for class_id in classes]
    none_of_them = {label: np.zeros(len(images), bool) for label in engine.further}
    found: dict[str, list[float]] = {}
    for pair in zip(*(one.explain(images, labels, none_of_them, inputs) for one in (reference, engine)), strict=True):
        for label, one, other in _same_maps(*pair):
            value = correlation(one, other)
            if value is not None:
                found.setdefault(label, []).append(value)
    return min((float(np.mean(values)) for values in found.values()), default=None)


def _same_maps(
    one: explained.ImageExplanation, other: explained.ImageExplanation
) -> Sequence[tuple[str, np.ndarray, np.ndarray]]:
    """The maps of classes that both explain, with the names of their methods."""
    places = {int(class_id): place for place, class_id in enumerate(other.class_ids)}
    return [
        (label, maps[place], others[places[int(class_id)]])
        for (label, _, maps), (_, _, others) in zip(one.maps, other.maps, strict=True)
        for place, class_id in enumerate(one.class_ids)
        if int(class_id) in places
    ]
