"""Arithmetic on maps shared by the explanation methods, and the loop that bounds their memory.

Maps are ``(..., *grid)``, the grid one, two or three axes of positions: ``(w,)``, ``(h, w)`` or ``(d, h, w)``. Every
function is traceable, works in float32 and leaves its arguments alone.
"""

from __future__ import annotations

import collections.abc
import math

import tensorflow as tf

Size = tuple[int | tf.Tensor, ...]
"""Cells of a grid along each axis, in the order of its axes."""


def positions(values: tf.Tensor, first: int = 1) -> tuple[int, ...]:
    """The axes of the positions in ``(..., *grid, K)``, from axis `first` to the last but one."""
    return tuple(range(first, len(values.shape) - 1))


def size_of(values: tf.Tensor, first: int = 1) -> Size:
    """How many positions ``(..., *grid, K)`` has along each axis, as tensors."""
    shape = tf.shape(values)
    return tuple(shape[axis] for axis in positions(values, first))


def min_max(maps: tf.Tensor, epsilon: float, rank: int) -> tf.Tensor:
    """Each map rescaled to [0, 1]: (m - min) / (max - min + epsilon), over the last `rank` axes.

    Args:
        maps: float32 (..., *grid).
        epsilon: added to the range; with 0 a constant map becomes zeros.
        rank: axes of the grid.
    """
    axes = tuple(range(-rank, 0))
    low = tf.reduce_min(maps, axis=axes, keepdims=True)
    high = tf.reduce_max(maps, axis=axes, keepdims=True)
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


def resize(maps: tf.Tensor, matrices: collections.abc.Sequence[tf.Tensor]) -> tf.Tensor:
    """Maps (..., *grid) resampled along each axis of the grid: of two axes, rows . map . columns^T.

    Args:
        maps: float32 (..., *grid).
        matrices: one for each axis of the grid, (W, w), or (n, W, w) for maps (n, *grid).
    """
    *outer, columns = matrices
    if not outer:
        return _between(None, maps[..., None, :], columns)[..., 0, :]
    *deeper, rows = outer
    maps = _between(rows, maps, columns)
    if not deeper:
        return maps
    shape = tf.shape(maps)
    flat = _between(deeper[0], tf.reshape(maps, tf.concat([shape[:-2], [-1]], axis=0)), None)
    return tf.reshape(flat, tf.concat([tf.shape(flat)[:-1], shape[-2:]], axis=0))


def _between(rows: tf.Tensor | None, maps: tf.Tensor, columns: tf.Tensor | None) -> tf.Tensor:
    """Of maps (..., h, w) the products rows . map . columns^T; None is the identity.

    Products are made of three axes at most: oneDNN joins those of four with what follows them (a scale, a sum) and
    writes past their end (TensorFlow 2.21).
    """
    shape, three = tf.shape(maps), 3
    flat = maps if len(maps.shape) == three else tf.reshape(maps, (-1, shape[-2], shape[-1]))

    def fitting(matrix: tf.Tensor) -> tf.Tensor:
        """One for each of the maps, where there is one for all maps of a row."""
        if len(matrix.shape) < three or len(maps.shape) <= three:
            return matrix
        return tf.repeat(matrix, tf.shape(flat)[0] // tf.shape(matrix)[0], axis=0)

    flat = flat if rows is None else tf.matmul(fitting(rows), flat)
    flat = flat if columns is None else tf.matmul(flat, fitting(columns), transpose_b=True)
    if len(maps.shape) == three:
        return flat
    return tf.reshape(flat, tf.concat([shape[:-2], tf.shape(flat)[1:]], axis=0))


def resize_bilinear(maps: tf.Tensor, size: Size) -> tf.Tensor:
    """Maps (..., *grid) at `size` by half-pixel linear interpolation along each axis.

    Of two axes it equals `tf.image.resize` to rounding.
    """
    grid = tf.shape(maps)[-len(size) :]
    return resize(maps, [half_pixel_matrix(wanted, grid[axis]) for axis, wanted in enumerate(size)])


def downsample(maps: tf.Tensor, size: Size | None) -> tf.Tensor:
    """Maps (..., *grid) averaged over the cells of a grid of `size`; unchanged if `size` is None.

    The mean of each map is kept; its sum shrinks as the number of cells does. ValueError for a static size larger than
    the map.
    """
    if size is None:
        return maps
    known = tuple(maps.shape[-len(size) :])
    for wanted, found in zip(size, known, strict=True):
        if isinstance(wanted, int) and found is not None and wanted > found:
            raise ValueError(f"cannot downsample maps of {known} to {size}: give a smaller size")
    grid = tf.shape(maps)[-len(size) :]
    return resize(maps, [area_matrix(wanted, grid[axis]) for axis, wanted in enumerate(size)])


def classes_last(maps: tf.Tensor) -> tf.Tensor:
    """(B, L, *grid) as (B, *grid, L)."""
    return tf.transpose(maps, (0, *range(2, len(maps.shape)), 1))


def classes_first(maps: tf.Tensor) -> tf.Tensor:
    """(B, *grid, L) as (B, L, *grid)."""
    last = len(maps.shape) - 1
    return tf.transpose(maps, (0, last, *range(1, last)))


def by_image(maps: tf.Tensor, batch: tf.Tensor, width: int) -> tf.Tensor:
    """(B, *grid, L) from rows (B L, *grid): `width` classes of the first image, then those of the next."""
    shape = tf.shape(maps)
    grid = [shape[axis] for axis in range(1, len(maps.shape))]
    return classes_last(tf.reshape(maps, (batch, width, *grid)))


def fused(maps: collections.abc.Sequence[tf.Tensor], fusion: str) -> tf.Tensor:
    """The maps of several layers as one, on the grid with the most cells.

    M = mean or largest of M_1, M_2, ... at each cell, each brought to the grid by half-pixel linear interpolation and
    multiplied by its own number of cells over the grid's, as fewer cells share the score: the sum over a map of
    gradient times activation is what its layer adds to the score, whatever its grid.

    Args:
        maps: float32 (B, *grid, L), raw and signed, of each layer; static sizes.
        fusion: ``mean`` or ``max``.
    """
    sizes = [tuple(map(int, one.shape[1:-1])) for one in maps]
    largest = max(sizes, key=math.prod)
    spread = []
    for one, size in zip(maps, sizes, strict=True):
        if size == largest:
            spread.append(one)
            continue
        wide = resize_bilinear(classes_first(one), largest)
        spread.append(classes_last(wide) * (math.prod(size) / math.prod(largest)))
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
        inputs: float32 (B, *positions, C).
        sigma: standard deviation as a fraction of max - min over the positions and channels of the image.
        seed, number: name the draw.

    Returns:
        float32 (B, *positions, C).
    """
    axes = tuple(range(1, len(inputs.shape)))
    span = tf.reduce_max(inputs, axes, keepdims=True) - tf.reduce_min(inputs, axes, keepdims=True)
    return sigma * span * tf.random.stateless_normal(tf.shape(inputs)[1:], (seed, number), alg="philox")
