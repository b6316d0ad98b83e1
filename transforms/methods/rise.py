"""RISE: the mean of random masks, weighted by the probability of the class on the masked image.

Argument and result as in `passes`.
"""

from __future__ import annotations

import tensorflow as tf

from heatbeam.transforms.methods import passes, tensor_maps


def rise(
    given: passes.Pass, *, masks: int, cells: int, keep: float, seed: int, downsample: tensor_maps.Size | None
) -> tf.Tensor:
    """RISE: maps[y,x] = 1 / (N keep) sum_i p(class | x M_i) M_i[y,x].

    M_i is a grid of `cells` along each axis of independent 0/1 draws (1 with probability `keep`), upsampled linearly to
    one cell more than the input and cropped at a random offset. The masks are drawn from `seed` once: every image sees
    the same ones. The target layer is not used.

    Args:
        masks: N; the paper uses 4000 to 8000.
        cells: along each axis of the grid; the paper uses 7.
        keep: probability that a cell is seen; the paper uses 0.5.
        seed: of the masks.
        downsample: cells along each axis of the grid that the maps are averaged to, or None for the input's size.

    Returns:
        float32 (B, *positions, L), or on that grid, in units of probability, not negative.

    Petsiuk et al., BMVC 2018, eq. 6. arXiv:1806.07421.
    """
    batch, width, batch_size = tf.shape(given.inputs)[0], given.class_ids.shape[1], given.batch_size
    size = tensor_maps.size_of(given.inputs)
    grids = tf.random.stateless_uniform((masks, *[cells] * len(size)), (seed, 0), alg="philox")
    grids = tf.cast(grids < keep, tf.float32)
    offsets = tf.random.stateless_uniform((masks, len(size)), (seed, 1), alg="philox")

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        image, mask = numbers // masks, numbers % masks
        shown = random_masks(tf.gather(grids, mask), tf.gather(offsets, mask), size)
        masked = tf.gather(given.inputs, image) * shown[..., None]
        outputs = given.model.probabilities(given.model.rows_of(image).forward(masked))
        return tf.gather(outputs, tf.gather(given.class_ids, image), batch_dims=1)

    scores = tensor_maps.in_chunks(chunk, batch * masks, batch_size, (width,))
    scores = tf.reshape(scores, (batch, masks, width))

    def share(number: tf.Tensor) -> tf.Tensor:
        """What `batch_size` of the masks add to the map; numbers past the last mask add 0."""
        mask = number * batch_size + tf.range(batch_size)
        weights = tf.where((mask < masks)[None, :, None], tf.gather(scores, tf.minimum(mask, masks - 1), axis=1), 0.0)
        mask = tf.minimum(mask, masks - 1)
        shown = random_masks(tf.gather(grids, mask), tf.gather(offsets, mask), size)
        averaged = tensor_maps.downsample(shown, downsample)
        axes = "xyz"[: len(size)]
        return tf.einsum(f"bml,m{axes}->b{axes}l", weights, averaged)

    parts = -(-masks // batch_size)
    return tensor_maps.mean_of_passes(share, parts, rank=2 + len(size)) * (parts / (masks * keep))


def random_masks(grids: tf.Tensor, offsets: tf.Tensor, size: tensor_maps.Size) -> tf.Tensor:
    """Masks (n, *positions) in [0, 1] from grids of 0 and 1.

    A grid of s cells along each axis is enlarged to s + 1 cells of ceil(H / s) positions along an axis of H, half-pixel
    linear, and the H positions from int(offset * cell) on are kept.

    Args:
        grids: float32 (n, s, ...), an s for each axis.
        offsets: float32 (n, axes) in [0, 1).
    """
    cells = grids.shape[-1]
    matrices = []
    for axis in range(len(size)):
        cell = tf.cast(-(-size[axis] // cells), tf.float32)
        pixels = tf.floor(offsets[:, axis, None] * cell) + tf.range(size[axis], dtype=tf.float32)[None]
        matrices.append(tensor_maps.hat_weights((pixels + 0.5) * cells / ((cells + 1) * cell) - 0.5, cells))
    return tensor_maps.resize(grids, matrices)
