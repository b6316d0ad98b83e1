"""Score-CAM and its relatives: channels weighted by the score of the image seen through each channel's activation map.

Argument and result as in `passes`. The pairs (image, channel) of the whole batch form one list that is cut into full
batches. A dead channel, one whose map is the same at every position, masks the image to zeros
whichever channel it is: all dead channels of an image share one pass, and results are as if each had its own.
"""

from __future__ import annotations

import collections.abc
import dataclasses

import tensorflow as tf

from heatbeam.transforms.methods import cam, passes, tensor_maps

Score = collections.abc.Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Reading:
    """One reading of Score-CAM: the choices in which its published codes differ.

    Attributes:
        corner_aligned: masks are upsampled with the corners in place, else with half-pixel centres.
        rescale_first: masks are rescaled to [0, 1] before they are upsampled, else after.
        epsilon: added to the range when rescaling.
        probability: the score is the probability of the class, by the model's own rule, else its logit.
        channel_softmax: the weights are the softmax of the scores over channels, else the scores.
        sums_masks: the weighted maps are the rescaled ones, else the activations.
        skips_dead: a dead channel has weight 0, else that of the image masked to zeros.
    """

    corner_aligned: bool
    rescale_first: bool
    epsilon: float
    probability: bool
    channel_softmax: bool
    sums_masks: bool
    skips_dead: bool


@dataclasses.dataclass(frozen=True)
class Changes:
    """Ways in which a mask is changed; a channel's score is the mean over them.

    Attributes:
        count: of the ways.
        change: masks (n, *positions) and the number of the way, from 0, to masks of that shape.
    """

    count: int
    change: collections.abc.Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


READINGS = {
    "keras_explainable": Reading(False, True, 0.0, False, False, True, True),
    "official": Reading(False, False, 0.0, True, False, False, True),
    "paper": Reading(False, False, 0.0, False, True, False, False),
    "pytorch_grad_cam": Reading(True, False, 1e-8, False, True, False, False),
    "tf_keras_vis": Reading(True, False, 1e-7, True, False, False, False),
}
"""The variants of `score_cam`, named after their source."""


def score_cam(given: passes.Pass, *, variant: str) -> tf.Tensor:
    """Score-CAM: maps = sum_k w[k] A[k], w[k] from the score of the class on the image times the mask M[k].

    U is linear upsampling to the input's size along each axis, N rescales a map to [0, 1].

    =====================  =============  ==============================================  ======
    variant                mask M[k]      weight w[k]                                     sum of
    =====================  =============  ==============================================  ======
    ``keras_explainable``  U(N(A[k]))     logit                                           N(A[k])
    ``official``           N(U(A[k]))     probability; 0 for a dead channel               A[k]
    ``paper``              N(U(A[k]))     softmax over channels of logit - baseline       A[k]
    ``pytorch_grad_cam``   N(U'(A[k]))    softmax over channels of the logit              A[k]
    ``tf_keras_vis``       N(U'(A[k]))    probability                                     A[k]
    =====================  =============  ==============================================  ======

    U' keeps the corners in place, U has half-pixel centres. The paper's baseline is the same for all channels of an
    image and cancels in the softmax. The probability is the softmax in both codes, here the model's own rule (a
    sigmoid where the model has one). keras_explainable and the official code sum upsampled maps; upsampling is
    linear, so theirs are these maps, upsampled with U.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    Wang et al., CVPRW 2020. arXiv:1910.01279.
    """
    return _score_weighted(given, READINGS[variant])


def faster_score_cam(given: passes.Pass, *, channels: int) -> tf.Tensor:
    """Faster Score-CAM: Score-CAM (the ``tf_keras_vis`` reading) over the channels that vary most.

    Only the `channels` channels of each image with the largest standard deviation over space are used (ties: the lower
    channel). tf-keras-vis takes the union over a batch instead, which makes a map depend on its neighbours.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    tabayashi0117/Score-CAM on GitHub, "Faster Score-CAM"; tf-keras-vis, `Scorecam(max_N=...)`.
    """
    total = given.activations.shape[-1]
    _, best = tf.math.top_k(
        tf.math.reduce_std(given.activations, axis=tensor_maps.positions(given.activations)), k=min(channels, total)
    )
    chosen = tf.reduce_max(tf.one_hot(best, total), axis=1) > 0
    return _score_weighted(given, READINGS["tf_keras_vis"], chosen=chosen)


_AVERAGED = Reading(False, True, 0.0, False, True, False, False)
"""What SS-CAM and IS-CAM do with the scores they average, as torch-cam reads their papers."""


def ss_cam(given: passes.Pass, *, repetitions: int, sigma: float, seed: int) -> tf.Tensor:
    """SS-CAM: Score-CAM with the score averaged over masks with noise.

    w[k] = softmax over k of mean_r logit((U(N(A[k])) + e_r) x),  maps = sum_k w[k] A[k]

    e_r is Gaussian noise of one value for each position, drawn from `seed` for each repetition r: the same for every
    image and channel, so channels are compared under the same noise and a map does not depend on its neighbours. The
    baseline the paper subtracts cancels in the softmax.

    Args:
        repetitions: number of noise masks; the paper uses 35.
        sigma: standard deviation of the noise, in units of the mask, which spans [0, 1]; torch-cam uses 2.
        seed: of the noise.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    Wang et al., 2020, "smoothing on feature map", arXiv:2006.14255.
    """
    size = tensor_maps.size_of(given.inputs)

    def noisy(masks: tf.Tensor, repetition: tf.Tensor) -> tf.Tensor:
        return masks + sigma * tf.random.stateless_normal(size, (seed, repetition), alg="philox")

    return _score_weighted(given, _AVERAGED, changes=Changes(repetitions, noisy))


def is_cam(given: passes.Pass, *, steps: int, schedule: str) -> tf.Tensor:
    """IS-CAM: Score-CAM with the score averaged over masks of growing strength.

    w[k] = softmax over k of mean_i logit(c_i U(N(A[k])) x),  i = 1..steps,  maps = sum_k w[k] A[k]

    Args:
        steps: number of strengths; torch-cam uses 10.
        schedule: ``cumulative``: c_i = sum_{j<=i} j / steps, the sum as the paper prints it and torch-cam computes
            it, which ends at (steps + 1) / 2, beyond the image; ``linear``: c_i = i / steps, which ends at the masked
            image.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    Naidu et al., 2020, arXiv:2010.03023.
    """
    strengths = [i / steps for i in range(1, steps + 1)]
    if schedule == "cumulative":
        strengths = [sum(strengths[: i + 1]) for i in range(steps)]
    coefficients = tf.constant(strengths, tf.float32)

    def strengthened(masks: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return masks * coefficients[step]

    return _score_weighted(given, _AVERAGED, changes=Changes(steps, strengthened))


def _score_weighted(
    given: passes.Pass,
    reading: Reading,
    *,
    chosen: tf.Tensor | None = None,
    changes: Changes | None = None,
    share_dead: bool = True,
) -> tf.Tensor:
    """Activations (or masks) weighted by the score of each channel.

    Args:
        given: the pass.
        reading: of the paper.
        chosen: bool (B, K), the channels to use; None for all.
        changes: of the masks, over which a channel's score is averaged; None for the masks as they are.
        share_dead: whether the dead channels of an image share one pass. The result is the same.
    """
    maps = tensor_maps.classes_first(given.activations)
    axes = tuple(range(2, len(maps.shape)))
    dead = tf.reduce_max(maps, axis=axes) == tf.reduce_min(maps, axis=axes)
    chosen = tf.ones_like(dead) if chosen is None else chosen
    shared = dead if share_dead else tf.zeros_like(dead)
    scores = _channel_scores(_Channels(maps, dead, chosen, shared), given, _masked_score(given, reading, changes))
    if reading.channel_softmax:
        scores = tf.nn.softmax(tf.where(chosen[..., None], scores, -float("inf")), axis=1)
    used = chosen & ~dead if reading.skips_dead else chosen
    weights = tf.where(used[..., None], scores, 0.0)
    summed = given.activations
    if reading.sums_masks:
        summed = tensor_maps.classes_last(tensor_maps.min_max(maps, reading.epsilon, len(axes)))
    return cam.weighted_maps(summed, tf.transpose(weights, (0, 2, 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Channels:
    """Activation maps (B, K, *grid), and which are dead, are used, and share a pass of their image: bool (B, K)."""

    maps: tf.Tensor
    dead: tf.Tensor
    chosen: tf.Tensor
    shared: tf.Tensor


def _channel_scores(of: _Channels, given: passes.Pass, score: Score) -> tf.Tensor:
    """The scores (B, K, L) of every chosen channel; what the other channels have is not defined.

    Column K of the list of pairs stands for the channels of an image that share a pass: a mask of zeros.
    """
    maps, channels, classes = of.maps, of.maps.shape[1], given.class_ids.shape[1]
    alone, together = of.chosen & ~of.shared, tf.reduce_any(of.chosen & of.shared, axis=1, keepdims=True)
    pairs = tf.cast(tf.where(tf.concat((alone, together), axis=1)), tf.int32)
    blank = tf.pad(of.dead, ((0, 0), (0, 1)), constant_values=True)

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        pair = tf.gather(pairs, numbers)
        image, channel = pair[:, 0], pair[:, 1]
        chosen_maps = tf.gather_nd(maps, tf.stack((image, tf.minimum(channel, channels - 1)), axis=1))
        return score(image, chosen_maps, tf.gather_nd(blank, pair))

    found = tensor_maps.in_chunks(chunk, tf.shape(pairs)[0], given.batch_size, (classes,))
    table = tf.scatter_nd(pairs, found, (tf.shape(maps)[0], channels + 1, classes))
    return tf.where(of.shared[..., None], table[:, channels:], table[:, :channels])


def _masked_score(given: passes.Pass, reading: Reading, changes: Changes | None) -> Score:
    """The function from image numbers (n,), maps (n, *grid) and whether they mask all (n,) to scores (n, L)."""
    size = tensor_maps.size_of(given.inputs)

    def once(image: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
        images, classes = tf.gather(given.inputs, image), tf.gather(given.class_ids, image)
        outputs = given.model.rows_of(image).forward(images * masks[..., None])
        outputs = given.model.probabilities(outputs) if reading.probability else outputs
        return tf.gather(outputs, classes, batch_dims=1)

    def score(image: tf.Tensor, maps: tf.Tensor, blank: tf.Tensor) -> tf.Tensor:
        masks = _masks(tf.where(tf.reshape(blank, (-1, *[1] * len(size))), 0.0, maps), size, reading)
        if changes is None:
            return once(image, masks)
        change = changes.change
        return tensor_maps.mean_of_passes(lambda r: once(image, change(masks, r)), changes.count, rank=2)

    return score


def _masks(maps: tf.Tensor, size: tensor_maps.Size, reading: Reading) -> tf.Tensor:
    """Masks (n, *positions) in [0, 1] from activation maps (n, *grid)."""
    shape, rank = tf.shape(maps), len(size)
    matrix = tensor_maps.corner_aligned_matrix if reading.corner_aligned else tensor_maps.half_pixel_matrix
    matrices = [matrix(wanted, shape[1 + axis]) for axis, wanted in enumerate(size)]
    if reading.rescale_first:
        return tensor_maps.resize(tensor_maps.min_max(maps, reading.epsilon, rank), matrices)
    return tensor_maps.min_max(tensor_maps.resize(maps, matrices), reading.epsilon, rank)
