"""Averages over changed copies of the image: the wrappers ``smooth`` and ``tta``, and Smooth Grad-CAM++.

A wrapper takes ``explain``, the function from inputs (B, *positions, C) to maps (B, *grid, L) of any method, and runs
it on changed inputs, one pass at a time.
"""

from __future__ import annotations

import collections.abc

import tensorflow as tf

from heatbeam.transforms.methods import cam, passes, targets, tensor_maps

Explain = collections.abc.Callable[[tf.Tensor], tf.Tensor]


def smooth(
    explain: Explain,
    inputs: tf.Tensor,
    *,
    repetitions: int,
    sigma: float,
    seed: int,
    noise: tf.Tensor | None = None,
) -> tf.Tensor:
    """The mean of a method's maps over the image and noisy copies of it.

    maps = 1 / R (explain(x) + sum_{r=1}^{R-1} explain(x + e_r))

    Args:
        explain: the method.
        inputs: float32 (B, *positions, C).
        repetitions: R, the clean pass included.
        sigma: of the noise, as a fraction of each image's own range of values (`tensor_maps.noise_like`).
            keras-explainable
            takes an absolute one: for inputs in [-1, 1] its 0.1 is 0.05 here, if the image uses the whole range.
        seed: of the noise.
        noise: float32 (R - 1, B, *positions, C), added as it is instead of drawn; for tests.

    Returns:
        float32, as `explain` returns.

    Smilkov et al., 2017, arXiv:1706.03825, applied to any method as keras-explainable's `smooth`.
    """

    def one(repetition: tf.Tensor) -> tf.Tensor:
        if noise is not None:
            added = tf.gather(noise, tf.maximum(repetition - 1, 0))
        else:
            added = tensor_maps.noise_like(inputs, sigma, seed, repetition)
        return explain(inputs + tf.where(repetition > 0, added, 0.0))

    return tensor_maps.mean_of_passes(one, repetitions, rank=len(inputs.shape))


def tta(
    explain: Explain,
    inputs: tf.Tensor,
    *,
    scales: collections.abc.Sequence[float],
    flip: bool,
    flip_axes: str,
    downsample: tensor_maps.Size | None,
) -> tf.Tensor:
    """Test-time augmentation: the mean of a method's maps over the image, its scaled copies and their mirror images.

    Every map is mirrored back where its image was mirrored, and brought to the input's size by half-pixel linear
    interpolation. The sum is divided by the number of passes, (1 + number of scales) (x 2 with `flip`);
    keras-explainable leaves the 1 out of the divisor.

    Args:
        explain: the method.
        inputs: float32 (B, *positions, C).
        scales: of the further copies, besides 1; each needs a model that takes inputs of int(scale H) x int(scale W).
        flip: whether each copy is also mirrored.
        flip_axes: along which axes, all of them at once: letters of ``x``, ``y`` and ``z``, x the last axis of
            positions; ``auto`` is x, left to right, for an image, and none for series and volumes, which may mean
            something else when they run backwards.
        downsample: cells along each axis of the grid that the mean is averaged to, or None for the input's size.

    Returns:
        float32 (B, *positions, L), or on that grid.

    keras-explainable's `tta`.
    """
    size = tuple(inputs.shape[1:-1])
    axes = mirrored_axes(flip_axes, len(size)) if flip else ()
    means = []
    for scale in (None, *scales):
        scaled = inputs if scale is None else _resized(inputs, tuple(int(scale * length) for length in size))

        def one(mirror: tf.Tensor, scaled: tf.Tensor = scaled) -> tf.Tensor:
            def turned(values: tf.Tensor) -> tf.Tensor:
                return tf.where(mirror > 0, tf.reverse(values, axis=axes), values)

            return _resized(turned(explain(turned(scaled))), size)

        means.append(tensor_maps.mean_of_passes(one, 2 if axes else 1, rank=len(inputs.shape)))
    maps = tensor_maps.classes_first(tf.add_n(means) / len(means))
    return tensor_maps.classes_last(tensor_maps.downsample(maps, downsample))


def mirrored_axes(letters: str, rank: int) -> tuple[int, ...]:
    """The axes of ``(B, *positions, C)`` that `tta` mirrors.

    Example::

        >>> mirrored_axes("xy", 3), mirrored_axes("auto", 2), mirrored_axes("auto", 1)
        ((2, 3), (2,), ())

    Args:
        letters: option ``flip_axes``.
        rank: axes of positions.

    Raises:
        ValueError: there is no such axis.
    """
    if letters == "auto":
        letters = "x" if rank == 2 else ""
    places = sorted(rank - "xyz".index(letter) for letter in letters)
    if places and places[0] < 1:
        raise ValueError(f"flip_axes is {letters}, and the input has the axes {', '.join('xyz'[:rank])}")
    return tuple(places)


def _resized(values: tf.Tensor, size: tuple[int, ...]) -> tf.Tensor:
    """(B, *positions, C) at another size, half-pixel linear; of an image by TensorFlow's own resize."""
    if len(values.shape) == 4:
        return tf.image.resize(values, size)
    return tensor_maps.classes_last(tensor_maps.resize_bilinear(tensor_maps.classes_first(values), size))


def smooth_grad_cam_plus_plus(given: passes.Pass, *, repetitions: int, sigma: float, seed: int) -> tf.Tensor:
    """Smooth Grad-CAM++: Grad-CAM++ with the powers of the gradient averaged over noisy copies of the image.

    w[k] = sum_hw alpha ReLU(E[g]),  alpha = E[g^2] / (2 E[g^2] + S E[g^3]),  S[k] = sum_hw A[k]
    maps = sum_k w[k] A[k]

    E is the mean over the noisy copies, A and S are the clean image's. The paper prints E[g] as the numerator of
    alpha; the derivation of Grad-CAM++ needs the second derivative there, as above and in torch-cam. Without noise
    the result is Grad-CAM++. Where the denominator is exactly 0, so is alpha. Argument and result as in
    `passes`; the head gradients of L classes of `batch_size` images are held at once.

    Args:
        repetitions: noisy copies.
        sigma: of the noise, as a fraction of each image's own range of values.
        seed: of the noise.

    Omeiza et al., 2019, eq. 10-12. arXiv:1908.01224.
    """

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        images, classes = tf.gather(given.inputs, numbers), tf.gather(given.class_ids, numbers)
        clean, model = tf.gather(given.activations, numbers), given.model.rows_of(numbers)

        def powers(repetition: tf.Tensor) -> tf.Tensor:
            noisy = images + tensor_maps.noise_like(images, sigma, seed, repetition)
            outputs, (exposed,) = model.expose(noisy)
            gradients = targets.score_gradients(targets.target_scores(outputs, classes, "logit"), exposed)
            return tf.stack((gradients, gradients**2, gradients**3))

        first, second, third = tf.unstack(
            tensor_maps.mean_of_passes(powers, repetitions, rank=len(clean.shape) + 2), num=3
        )
        sums = tf.reduce_sum(clean, axis=tensor_maps.positions(clean), keepdims=True)[:, None]
        alpha = tf.math.divide_no_nan(second, 2.0 * second + sums * third)
        return cam.weighted_maps(clean, tf.reduce_sum(alpha * tf.nn.relu(first), axis=tensor_maps.positions(first, 2)))

    row_shape = (*given.activations.shape[1:-1], given.class_ids.shape[1])
    return tensor_maps.in_chunks(chunk, tf.shape(given.inputs)[0], given.batch_size, row_shape)
