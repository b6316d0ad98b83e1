"""Arithmetic on maps shared by the explanation methods, and the loop that bounds their memory.

Maps are ``(..., h, w)`` unless a docstring says otherwise. Every function is traceable, works in float32 and leaves its
arguments alone.
"""

from __future__ import annotations

import collections.abc

import tensorflow as tf

Size = tuple[int | tf.Tensor, int | tf.Tensor]


def min_max(maps: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Each map rescaled to [0, 1]: (m - min) / (max - min + epsilon), over the last two axes.

    Args:
        maps: float32 (..., h, w).
        epsilon: added to the range; with 0 a constant map becomes zeros.
    """
    low = tf.reduce_min(maps, axis=(-2, -1), keepdims=True)
    high = tf.reduce_max(maps, axis=(-2, -1), keepdims=True)
    return tf.math.divide_no_nan(maps - low, high - low + epsilon)


def half_pixel_matrix(target: int | tf.Tensor, source: int | tf.Tensor) -> tf.Tensor:
    """float32 (target, source): bilinear interpolation of a line, half-pixel centres, edges clamped, no antialiasing.

    Row y holds the weights of the source samples at position (y + 1/2) * source / target - 1/2, as `tf.image.resize`
    has.
    """
    ratio = tf.cast(source, tf.float32) / tf.cast(target, tf.float32)
    return hat_weights((tf.range(target, dtype=tf.float32) + 0.5) * ratio - 0.5, source)


def corner_aligned_matrix(target: int | tf.Tensor, source: int | tf.Tensor) -> tf.Tensor:
    """float32 (target, source): bilinear interpolation of a line whose first and last samples stay in place.

    Row y holds the weights at position y * (source - 1) / (target - 1), the rule of PyTorch's ``align_corners=True``
    and of ``scipy.ndimage.zoom(order=1)``.
    """
    last = tf.cast(tf.maximum(target - 1, 1), tf.float32)
    return hat_weights(tf.range(target, dtype=tf.float32) * tf.cast(source - 1, tf.float32) / last, source)


def area_matrix(target: int | tf.Tensor, source: int | tf.Tensor) -> tf.Tensor:
    """float32 (target, source): the share of each source sample in each of `target` equal intervals of the line."""
    ratio = tf.cast(source, tf.float32) / tf.cast(target, tf.float32)
    start = (tf.range(target, dtype=tf.float32) * ratio)[:, None]
    samples = tf.range(source, dtype=tf.float32)[None, :]
    overlap = tf.minimum(start + ratio, samples + 1.0) - tf.maximum(start, samples)
    return tf.nn.relu(overlap) / ratio


def hat_weights(positions: tf.Tensor, source: int | tf.Tensor) -> tf.Tensor:
    """float32 (..., source): linear interpolation weights at `positions` (...), clamped to the line."""
    positions = tf.clip_by_value(positions, 0.0, tf.cast(source - 1, tf.float32))
    return tf.nn.relu(1.0 - tf.abs(positions[..., None] - tf.range(source, dtype=tf.float32)))


def resize(maps: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Maps (..., h, w) resampled as rows . map . columns^T, by matrices (..., H, h) and (..., W, w)."""
    return tf.matmul(tf.matmul(rows, maps), columns, transpose_b=True)


def resize_bilinear(maps: tf.Tensor, size: Size) -> tf.Tensor:
    """Maps (..., h, w) at `size` (H, W) by half-pixel bilinear interpolation; equals `tf.image.resize` to rounding."""
    shape = tf.shape(maps)
    return resize(maps, half_pixel_matrix(size[0], shape[-2]), half_pixel_matrix(size[1], shape[-1]))


def downsample(maps: tf.Tensor, size: Size | None) -> tf.Tensor:
    """Maps (..., H, W) averaged over the cells of a grid of `size` (h, w); unchanged if `size` is None.

    The mean of each map is kept; its sum shrinks by (h w) / (H W). ValueError for a static size larger than the map.
    """
    if size is None:
        return maps
    for wanted, found in zip(size, maps.shape[-2:], strict=True):
        if isinstance(wanted, int) and found is not None and wanted > found:
            raise ValueError(f"cannot downsample maps of {tuple(maps.shape[-2:])} to {size}: give a smaller size")
    shape = tf.shape(maps)
    return resize(maps, area_matrix(size[0], shape[-2]), area_matrix(size[1], shape[-1]))


def classes_last(maps: tf.Tensor) -> tf.Tensor:
    """(B, L, h, w) as (B, h, w, L)."""
    return tf.transpose(maps, (0, 2, 3, 1))


def fused(maps: collections.abc.Sequence[tf.Tensor], fusion: str) -> tf.Tensor:
    """The maps of several layers as one, on the grid with the most cells.

    M = mean or largest of M_1, M_2, ... at each cell, each brought to the grid by half-pixel bilinear interpolation and
    multiplied by its own number of cells over the grid's, as fewer cells share the score: the sum over a map of
    gradient times activation is what its layer adds to the score, whatever its grid.

    Args:
        maps: float32 (B, h, w, L), raw and signed, of each layer; static sizes.
        fusion: ``mean`` or ``max``.
    """
    sizes = [(int(one.shape[1]), int(one.shape[2])) for one in maps]
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    spread = []
    for one, (rows, columns) in zip(maps, sizes, strict=True):
        if (rows, columns) == (height, width):
            spread.append(one)
            continue
        wide = resize_bilinear(tf.transpose(one, (0, 3, 1, 2)), (height, width))
        spread.append(classes_last(wide) * (rows * columns / (height * width)))
    stacked = tf.stack(spread)
    return tf.reduce_max(stacked, axis=0) if fusion == "max" else tf.reduce_mean(stacked, axis=0)


def in_chunks(
    function: collections.abc.Callable[[tf.Tensor], tf.Tensor],
    total: int | tf.Tensor,
    chunk: int,
    row_shape: collections.abc.Sequence[int | None],
) -> tf.Tensor:
    """Rows ``function(0..total-1)``, at most `chunk` rows at a time, by one traced body run strictly in sequence.

    Args:
        function: int32 (rows,) row numbers to float32 (rows, ...), row by row: what a row gives must not depend on its
            neighbours. The last call repeats the last row to fill up; what it gives for the repeats is dropped.
        total: number of rows, at least 1, possibly known only at run time.
        chunk: the largest number of rows per call, at least 1; what bounds the memory of `function`.
        row_shape: shape of what a row gives, None for what is known only at run time.

    Returns:
        float32 (total, ...).
    """
    total = tf.convert_to_tensor(total, tf.int32)
    # All calls of a loop have one size, so that convolutions are prepared once, and fill up as little as they can.
    steps = (total + chunk - 1) // chunk
    rows = (total + steps - 1) // steps
    results = tf.TensorArray(tf.float32, size=steps, element_shape=(None, *row_shape))

    def body(step: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        numbers = tf.minimum(step * rows + tf.range(rows), total - 1)
        return step + 1, results.write(step, function(numbers))

    _, results = tf.while_loop(lambda step, _: step < steps, body, (0, results), parallel_iterations=1)
    return results.concat()[:total]


def mean_of_passes(function: collections.abc.Callable[[tf.Tensor], tf.Tensor], passes: int, rank: int) -> tf.Tensor:
    """The mean of ``function(0..passes-1)``, run one after another by one traced body; only the sum is kept.

    Args:
        function: int32 scalar, the number of the pass, to a float32 tensor of `rank` axes, of one shape in all passes.
    """

    def body(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step + 1, total + function(step)

    # The sum starts as one zero that is broadcast: the shape is known only once the function has been traced.
    start = tf.zeros((1,) * rank)
    shapes = (tf.TensorShape(()), tf.TensorShape((None,) * rank))
    _, total = tf.while_loop(
        lambda step, _: step < passes, body, (0, start), shape_invariants=shapes, parallel_iterations=1
    )
    return total / passes


def noise_like(inputs: tf.Tensor, sigma: float, seed: int, number: int | tf.Tensor) -> tf.Tensor:
    """Gaussian noise for images, as large as `sigma` times each image's own range of values.

    Every image gets the same noise, times its range: what is added to an image does not depend on its neighbours.

    Args:
        inputs: float32 (B, H, W, C).
        sigma: standard deviation as a fraction of max - min over the pixels and channels of the image.
        seed, number: name the draw.

    Returns:
        float32 (B, H, W, C).
    """
    axes = (1, 2, 3)
    span = tf.reduce_max(inputs, axes, keepdims=True) - tf.reduce_min(inputs, axes, keepdims=True)
    return sigma * span * tf.random.stateless_normal(tf.shape(inputs)[1:], (seed, number), alg="philox")
