"""FullGrad: the logit split over the input and the bias of every layer.

Completeness. Let layer i turn x_i into z_i, and let J_i be its Jacobian at x_i. Its bias at this input is
b_i = z_i - J_i x_i: what is left of the output when the part that is linear in the input is taken away. With g the
gradient of the logit with respect to each tensor,

    logit = sum(g_x x) + sum_i sum(g_z_i b_i),

exactly, because g_x_i . x_i = g_z_i . (J_i x_i) for every layer. b_i is the bias of a convolution or dense layer,
beta - gamma mean / sqrt(variance + epsilon) of a batch normalization whether or not it has scale and center, and 0 of a
ReLU or a pooling. It is right for a fused activation, a layer normalization, a swish or an attention layer too, since
it is measured by forward-mode differentiation, not looked up. Operations outside layers, in the `call` of a subclassed
model, are taken to be linear without bias.
"""

from __future__ import annotations

import collections.abc
import contextlib
import functools
from typing import Any

import keras
import tensorflow as tf

from heatbeam.transforms.methods import passes, tensor_maps
from heatbeam.transforms.models import replaced_calls

# Layers whose parts work on tensors that are not passed from layer to layer: taken as one layer each.
_WHOLE = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.RNN)


def full_grad(given: passes.Pass, *, variant: str, downsample: tensor_maps.Size | None) -> tf.Tensor:
    """FullGrad, one map for each class.

    ``paper``: maps = sum_c psi(g_x x) + sum_i sum_k psi(g_z_i b_i), psi(v) the absolute value of a channel, rescaled to
    [0, 1] by its minimum and maximum (range + 1e-7) and upsampled linearly to the input's size.

    ``complete``: psi(v) = v, upsampled so that its sum is kept. The map adds up to the logit less the terms that have
    no place in the image: those of layers whose output has no grid (dense layers after pooling, tokens). Before
    averaging.

    Args:
        variant: ``paper`` or ``complete``.
        downsample: cells along each axis of the grid that the maps are averaged to, or None for the input's size.

    Returns:
        float32 (B, *positions, L), or on that grid.

    Srinivas and Fleuret, NeurIPS 2019, eq. 2 and 5, with psi per channel as in pytorch-grad-cam. arXiv:1905.00780.
    """
    batch, width = tf.shape(given.inputs)[0], given.class_ids.shape[1]

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        classes = tf.gather(tf.reshape(given.class_ids, (-1,)), numbers)
        image = numbers // width
        maps, _ = full_gradients(given.model.rows_of(image), tf.gather(given.inputs, image), classes, variant)
        return tensor_maps.downsample(maps, downsample)

    size = tuple(given.inputs.shape[1:-1]) if downsample is None else tuple(downsample)
    maps = tensor_maps.in_chunks(chunk, batch * width, given.batch_size, size)
    return tensor_maps.by_image(maps, batch, width)


def full_gradients(
    model: passes.Exposed, images: tf.Tensor, classes: tf.Tensor, variant: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """The FullGrad map of one class of each image, and what has no place in it.

    Args:
        images: float32 (n, *positions, C).
        classes: int (n,).
        variant: as in `full_grad`.

    Returns:
        maps float32 (n, *positions), and the sum of the terms without a grid, float32 (n,): with ``complete`` the sum
        of the map and this sum add up to the logit.
    """
    if variant not in ("paper", "complete"):
        raise ValueError(f"unknown variant {variant!r} of full_grad; known: paper, complete")
    terms: list[tuple[tf.Tensor, tf.Tensor]] = []
    with _recording_biases(model, terms):
        outputs = model.logits(images)
    score = tf.gather(outputs, classes, batch_dims=1)
    slopes = tf.gradients(score, [images, *(output for output, _ in terms)])
    size = tensor_maps.size_of(images)
    maps = _placed(images * passes.reached(slopes[0]), size, variant)
    rest = tf.zeros_like(score)
    for (_, bias), slope in zip(terms, slopes[1:], strict=True):
        if slope is None:
            continue
        term = tf.cast(bias, tf.float32) * tf.cast(slope, tf.float32)
        if term.shape.rank == images.shape.rank:
            maps += _placed(term, size, variant)
        else:
            rest += tf.reduce_sum(tf.reshape(term, (tf.shape(images)[0], -1)), axis=1)
    return maps, rest


def map_counts(model: passes.Exposed, images: tf.Tensor) -> tuple[list[str], tf.Tensor]:
    """Layers that give maps, and how many each gives: as many as there are images, but where windows are folded.

    Maps of windows or frames on the first axis have places in the image that only the model's code knows.

    Args:
        images: float32 (n, *positions, C).

    Returns:
        Their names, and int32 (N,).
    """
    terms: list[tuple[tf.Tensor, str]] = []

    def noting(call: replaced_calls.Call, name: str) -> replaced_calls.Call:
        def noted(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            if tf.is_tensor(output) and output.dtype.is_floating and output.shape.rank == images.shape.rank:
                terms.append((output, name))
            return output

        return noted

    changes = {one: functools.partial(noting, name=one.name) for one in _innermost(model.keras_model)}
    with model.lock, replaced_calls.replaced(changes):
        model.logits(images)
    counts = [tf.shape(output)[0] for output, _ in terms]
    return [name for _, name in terms], tf.stack(counts) if counts else tf.zeros((0,), tf.int32)


def _placed(term: tf.Tensor, size: tensor_maps.Size, variant: str) -> tf.Tensor:
    """The term (n, *grid, K) summed over channels, on the grid of the input: (n, *positions)."""
    pairs = zip(size, tensor_maps.size_of(term), strict=True)
    matrices = [tensor_maps.half_pixel_matrix(wanted, found) for wanted, found in pairs]
    if variant == "complete":
        # Each source sample hands out exactly what it has.
        matrices = [tf.math.divide_no_nan(matrix, tf.reduce_sum(matrix, axis=0)) for matrix in matrices]
        return tensor_maps.resize(tf.reduce_sum(term, axis=-1), matrices)
    # Upsampling is linear, so it follows the sum.
    rescaled = tensor_maps.min_max(tensor_maps.classes_first(tf.abs(term)), 1e-7, len(size))
    return tensor_maps.resize(tf.reduce_sum(rescaled, axis=1), matrices)


@contextlib.contextmanager
def _recording_biases(
    model: passes.Exposed, terms: list[tuple[tf.Tensor, tf.Tensor]]
) -> collections.abc.Iterator[None]:
    """Note the output and the bias of every call of every innermost operation while the context is open."""
    noting = functools.partial(_noting, terms=terms)
    with model.lock, replaced_calls.replaced(dict.fromkeys(_innermost(model.keras_model), noting)):
        yield


def _innermost(model: keras.Model) -> list[Any]:
    """Every layer, and every operation of a functional model, that is not made of other layers."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending: list[Any] = [model]
    while pending:
        operation = pending.pop()
        if id(operation) in seen or isinstance(operation, keras.layers.InputLayer):
            continue
        seen.add(id(operation))
        parts: list[Any] = []
        if not isinstance(operation, _WHOLE):
            if isinstance(operation, keras.layers.Layer):
                parts += operation._flatten_layers(include_self=False, recursive=False)  # noqa: SLF001 - no public way to a layer's layers
            # Functional models list operations such as `a + b` here, which are no layers.
            parts += getattr(operation, "operations", ())
        pending.extend(parts)
        if not parts:
            found[id(operation)] = operation
    return list(found.values())


def _noting(call: replaced_calls.Call, terms: list[tuple[tf.Tensor, tf.Tensor]]) -> replaced_calls.Call:
    def noting(*args: Any, **kwargs: Any) -> Any:
        sources = [v for v in tf.nest.flatten((args, kwargs)) if tf.is_tensor(v) and v.dtype.is_floating]
        unique = list({id(v): v for v in sources}.values())
        # The tangents are the inputs themselves, so what comes out is J x.
        with tf.autodiff.ForwardAccumulator(unique, [tf.identity(v) for v in unique]) as accumulator:
            output = call(*args, **kwargs)
        if tf.is_tensor(output) and output.dtype.is_floating:
            linear = accumulator.jvp(output, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            terms.append((output, tf.stop_gradient(output - linear)))
        return output

    return noting
