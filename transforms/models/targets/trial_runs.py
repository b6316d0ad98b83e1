"""Run a traced model on noise, to see what a tensor of it holds and what by-passes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models import layer_outputs
from heatbeam.transforms.models.graphs import kept_positions, traced_graph
from heatbeam.transforms.models.targets import positions

_CHUNK = 8  # images at once: a large model must not need more memory here than when it explains
_IMAGES = 2
_BLOCKS = 8  # of one value, along each axis of an image of noise
PIXELS = 127.5
"""Largest value of the noise for models that scale pixels themselves; those that take -1..1 are given 1."""
_SCALES = (1.0, PIXELS)


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A tensor of a traced graph that may be mapped.

    Attributes:
        about: its name, and where its cells are.
        tensor: of the trace.
    """

    about: layer_outputs.LayerOutput
    tensor: tf.Tensor


def position_evidence(graph: traced_graph.TracedGraph, place: Place, size: tuple[int, ...]) -> positions.Evidence:
    """Whether the cells of a tensor answer where the image changes.

    Args:
        graph: of the model.
        place: of the tensor; what folds cells into the batch axis has none.
        size: positions along each axis and channels of the model's input.
    """

    def answers(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        output = graph.run(images, constant_weights=False).get(place.tensor)
        cells, _ = layer_outputs.to_grid(place.about, output)
        return tf.shape(output)[0], tf.norm(cells[1:] - cells[:1], axis=-1)

    traced = tf.function(answers, autograph=False, input_signature=[tf.TensorSpec((None, *size), tf.float32)])
    by_construction = not place.about.channels_first and kept_positions.kept(graph.inputs, place.tensor)
    best = positions.REFUTED
    for scale in _SCALES:
        found, places = [], np.zeros((0, len(size) - 1))
        for seed in range(_IMAGES):
            images, places = positions.disturbed(size, seed, scale)
            chunks = []
            for start in range(1, len(images), _CHUNK):
                chunk = np.concatenate([images[:1], images[start : start + _CHUNK]])
                rows, change = traced(tf.constant(chunk))
                if int(rows) != len(chunk):
                    return positions.REFUTED
                chunks.append(change.numpy().astype(np.float64))
            found.append(np.concatenate(chunks))
        evidence = positions.evidence(np.mean(found, axis=0), places)
        if evidence.undecided or evidence.correlation > best.correlation:
            best = evidence
        if by_construction or best.proved:
            break
    return dataclasses.replace(best, by_construction=by_construction)


def bypassing_share(
    graph: traced_graph.TracedGraph, places: Sequence[Place], scores: tf.Tensor, size: tuple[int, ...]
) -> float:
    """The share of the scores that does not follow from the cells of tensors, in [0, 1]; 0 where everything does.

    With the cells of image A and all else from image B: |scores - scores(A)| / |scores(B) - scores(A)|, the mean over
    pairs of noise.
    """
    blocks = [min(_BLOCKS, length) for length in size[:-1]]
    images = np.random.default_rng(0).uniform(-1, 1, (6, *blocks, size[-1])).astype(np.float32)
    for axis, (count, length) in enumerate(zip(blocks, size[:-1], strict=True), start=1):
        images = images.take(((np.arange(length) + 0.5) * count // length).astype(int), axis=axis)  # the nearest block

    def run(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own, other = (graph.run(v, constant_weights=False) for v in (images, tf.reverse(images, axis=[0])))
        for place in sorted(places, key=lambda place: graph.order[place.tensor.op.name]):
            cells, _ = layer_outputs.to_grid(place.about, own.get(place.tensor))
            _, rest = layer_outputs.to_grid(place.about, other.get(place.tensor))
            other.put(place.tensor, rest(cells))
        return own.get(scores), other.get(scores)

    traced = tf.function(run, autograph=False, input_signature=[tf.TensorSpec((None, *size), tf.float32)])
    plain, mixed = (value.numpy().reshape(len(images), -1).astype(np.float64) for value in traced(tf.constant(images)))
    whole = np.linalg.norm(plain[::-1] - plain, axis=1)
    changed = np.linalg.norm(mixed - plain, axis=1)
    return min(1.0, float((changed[whole > 0] / whole[whole > 0]).mean())) if (whole > 0).any() else 0.0


def all_positions_pass(
    graph: traced_graph.TracedGraph,
    first: Place,
    places: Sequence[Place],
    scores: tf.Tensor,
    size: tuple[int, ...],
) -> list[bool]:
    """For each tensor: does everything that the scores have from the cells of `first` run through its cells?

    True where the gradient of the scores with respect to the cells of `first` is exactly 0 once it is stopped at the
    cells of the tensor. What only a class token carries on from there is stopped by nothing, and is not needed.
    """

    def leaks(images: tf.Tensor) -> list[tf.Tensor]:
        source, rest = layer_outputs.to_grid(first.about, graph.run(images, constant_weights=False).get(first.tensor))
        given, found = rest(source), list[tf.Tensor]()
        for place in places:
            run = graph.run(images, constant_weights=False)
            run.put(first.tensor, given)
            cells, back = layer_outputs.to_grid(place.about, run.get(place.tensor))
            run.put(place.tensor, back(tf.stop_gradient(cells)))
            found += reaches(run.get(scores), [(0, source)])
        return found

    traced = tf.function(leaks, autograph=False, input_signature=[tf.TensorSpec((None, *size), tf.float32)])
    images = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
    return [float(leak) == 0 for leak in traced(tf.constant(images))] if places else []


def reaches(scores: tf.Tensor, outputs: Sequence[tuple[int, tf.Tensor]]) -> list[tf.Tensor]:
    """float32, the largest gradient of the squared scores at a cell of each output; 0 where they do not depend on it.

    Args:
        scores: of some images.
        outputs: number of tokens before the cells, which do not count, and the output.
    """
    gradients = tf.gradients(tf.reduce_sum(scores * scores), [output for _, output in outputs]) if outputs else []
    found = []
    for (prefix, _), gradient in zip(outputs, gradients, strict=True):
        reach = tf.reduce_max(tf.abs(gradient[:, prefix:])) if gradient is not None else tf.constant(0.0)
        found.append(tf.cast(reach, tf.float32))
    return found
