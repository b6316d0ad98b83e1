"""Input gradients: how the score changes with each pixel.

Argument and result as in `passes`; activations and logits are not used. The maps have the size of the
input, of an image (H W) / (h w) times the numbers of a map of the target layer (1024 times for 224 x 224 and 7 x 7).
Options they share:

    reduce: how the channels of a pixel become one number: ``mean_abs`` (mean of |.|), ``max_abs`` (max of |.|) or
        ``sum`` (signed).
    downsample: cells along each axis of the grid whose cells the map is averaged over, (h, w) of an image, or None to
        keep the input's size. Averaging keeps the mean of the map; its sum shrinks as the number of cells does.

Each explained class of each image is one row of a forward and a backward pass, `passes.Pass.batch_size` rows at a time.
"""

from __future__ import annotations

import collections.abc

import tensorflow as tf

from heatbeam.transforms.methods import passes, tensor_maps

Gradient = collections.abc.Callable[[tf.Tensor], tf.Tensor]


def gradients(given: passes.Pass, *, reduce: str, downsample: tensor_maps.Size | None) -> tf.Tensor:
    """The gradient of the logit with respect to the input, reduced over the channels.

    maps[b,y,x,l] = reduce_c d logit_bl / d x[b,y,x,c]

    Simonyan et al., 2014, arXiv:1312.6034, with max |.| over the channels; keras-explainable takes their mean.
    """

    def attribution(images: tf.Tensor, gradient: Gradient) -> tf.Tensor:
        return gradient(images)

    return _by_row(given, attribution, reduce, downsample)


def gradient_x_input(given: passes.Pass, *, reduce: str, downsample: tensor_maps.Size | None) -> tf.Tensor:
    """Gradient times preprocessed input: maps[b,y,x,l] = reduce_c x[b,y,x,c] d logit_bl / d x[b,y,x,c].

    With ``sum`` the map of a network without biases adds up to the logit.

    Shrikumar et al., 2016, arXiv:1605.01713.
    """

    def attribution(images: tf.Tensor, gradient: Gradient) -> tf.Tensor:
        return images * gradient(images)

    return _by_row(given, attribution, reduce, downsample)


def smooth_grad(
    given: passes.Pass, *, repetitions: int, sigma: float, seed: int, reduce: str, downsample: tensor_maps.Size | None
) -> tf.Tensor:
    """SmoothGrad: the mean of the signed gradients at noisy copies of the image, then reduced over the channels.

    maps = reduce_c mean_r d logit / d x at x + e_r, e_r Gaussian (`tensor_maps.noise_like`)

    Not the same as the wrapper ``smooth`` over ``gradients``, which averages the reduced maps.

    Args:
        repetitions: noisy copies; the paper uses 50.
        sigma: of the noise, as a fraction of the image's range of values; the paper uses 0.1 to 0.2.
        seed: of the noise.

    Smilkov et al., 2017, arXiv:1706.03825.
    """

    def attribution(images: tf.Tensor, gradient: Gradient) -> tf.Tensor:
        return tensor_maps.mean_of_passes(
            lambda r: gradient(images + tensor_maps.noise_like(images, sigma, seed, r)),
            repetitions,
            rank=len(images.shape),
        )

    return _by_row(given, attribution, reduce, downsample)


def integrated_gradients(
    given: passes.Pass, *, steps: int, baseline: float, reduce: str, downsample: tensor_maps.Size | None
) -> tf.Tensor:
    """Integrated Gradients along the straight line from a constant image to the input, by the midpoint rule.

    maps = reduce_c (x - x') mean_i d logit / d x at x' + (i + 1/2) / steps (x - x'),  i = 0..steps-1

    Completeness: with ``sum`` the map adds up to logit(x) - logit(x'), the closer the more steps.

    Args:
        steps: points on the line; the paper uses 20 to 300.
        baseline: value of x' in every pixel and channel, in *preprocessed* units.

    Sundararajan et al., ICML 2017, eq. 3. arXiv:1703.01365.
    """

    def attribution(images: tf.Tensor, gradient: Gradient) -> tf.Tensor:
        path = images - baseline

        def at(step: tf.Tensor) -> tf.Tensor:
            return gradient(baseline + (tf.cast(step, tf.float32) + 0.5) / steps * path)

        return path * tensor_maps.mean_of_passes(at, steps, rank=len(images.shape))

    return _by_row(given, attribution, reduce, downsample)


def reduce_channels(values: tf.Tensor, reduce: str) -> tf.Tensor:
    """(..., C) values as (...), by one of ``mean_abs``, ``max_abs`` and ``sum``."""
    if reduce == "mean_abs":
        return tf.reduce_mean(tf.abs(values), axis=-1)
    if reduce == "max_abs":
        return tf.reduce_max(tf.abs(values), axis=-1)
    if reduce == "sum":
        return tf.reduce_sum(values, axis=-1)
    raise ValueError(f"unknown reduce {reduce!r}; known: mean_abs, max_abs, sum")


def _by_row(
    given: passes.Pass,
    attribution: collections.abc.Callable[[tf.Tensor, Gradient], tf.Tensor],
    reduce: str,
    downsample: tensor_maps.Size | None,
) -> tf.Tensor:
    """The reduced attributions (B, *positions, L) of every image and class, given how a row's one is computed."""
    inputs, batch, width = given.inputs, tf.shape(given.inputs)[0], given.class_ids.shape[1]

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        classes = tf.gather(tf.reshape(given.class_ids, (-1,)), numbers)
        model = given.model.rows_of(numbers // width)

        def gradient(images: tf.Tensor) -> tf.Tensor:
            score = tf.gather(model.logits(images), classes, batch_dims=1)
            return tf.convert_to_tensor(passes.reached(tf.gradients(score, images)[0]))

        values = attribution(tf.gather(inputs, numbers // width), gradient)
        return tensor_maps.downsample(reduce_channels(values, reduce), downsample)

    size = tuple(inputs.shape[1:-1]) if downsample is None else tuple(downsample)
    maps = tensor_maps.in_chunks(chunk, batch * width, given.batch_size, size)
    return tensor_maps.by_image(maps, batch, width)
