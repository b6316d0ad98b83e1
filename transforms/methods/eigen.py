"""Eigen-CAM and EigenGradCAM: projections on the first principal direction of the channels, with a fixed sign.

The first right singular vector v of the centred matrix M (positions x channels) gives the map M v = sigma u. It is
read off the first eigenvector u of the small Gram matrix M M^T, so no singular value decomposition of the large
matrix is needed.

Sign rule. A singular vector has no sign of its own. Here the map is turned so that its covariance over space with the
plain map (the sum over channels of the matrix before centring) is not negative: high values lie where the layer
responds. A covariance of exactly 0 keeps the eigenvector's own sign, positive at its largest entry.
"""

from __future__ import annotations

import math

import tensorflow as tf

from heatbeam.transforms.methods import cam, tensor_maps

_SQUARINGS = 12
"""Powers the Gram matrix to 2^12: singular values as close as 1.005 : 1 are told apart to below float32 rounding
(1.005^(2 * 4096) = 6e17), at the cost of twelve products of (positions x positions) matrices."""

_SQUARINGS_UNSCALED = 3
"""Squarings between two divisions by the trace. The largest eigenvalue of a matrix of trace 1 is at least 1 / n; its
eighth power is far from underflow for any number n of positions."""


def eigen_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Eigen-CAM: activations projected on their first principal direction. The same map for every class.

    M[p,k] = A[p,k] - mean_p A[p,k] over the h w positions p;  map = M v = sigma u, of the first singular triple.

    Muhammad and Yeasin, IJCNN 2020, eq. 3-4, with M centred as pytorch-grad-cam's `EigenCAM` has it. arXiv:2008.00299.
    """
    return cam.for_every_class(first_component(activations[:, None]), gradients)


def eigen_grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """EigenGradCAM: gradient times activation projected on its first principal direction.

    As `eigen_cam`, of M[p,k] = g[p,k] A[p,k] less its mean over p, for each class.

    `EigenGradCAM` of pytorch-grad-cam.
    """
    return first_component(gradients * activations[:, None])


def first_component(values: tf.Tensor) -> tf.Tensor:
    """Each (*grid, K) block projected on its first principal direction, signed by the rule above.

    Args:
        values: float32 (B, L, *grid, K).

    Returns:
        float32 (B, *grid, L), with mean 0 over space. Zeros where the block is the same at every position.
    """
    shape = tf.shape(values)
    size = tensor_maps.size_of(values, 2)
    matrix = tf.reshape(values, (shape[0], shape[1], math.prod(size), values.shape[-1]))
    plain = tf.reduce_sum(matrix, axis=-1)
    matrix -= tf.reduce_mean(matrix, axis=2, keepdims=True)
    gram = tf.matmul(matrix, matrix, transpose_b=True)
    vector = _first_eigenvector(gram)
    eigenvalue = tf.reduce_sum(vector * tf.linalg.matvec(gram, vector), axis=-1, keepdims=True)
    maps = vector * tf.sqrt(tf.nn.relu(eigenvalue))
    covariance = tf.reduce_sum(maps * (plain - tf.reduce_mean(plain, axis=-1, keepdims=True)), axis=-1, keepdims=True)
    maps = tf.where(covariance < 0.0, -maps, maps)
    return tensor_maps.classes_last(tf.reshape(maps, (shape[0], shape[1], *size)))


def _first_eigenvector(gram: tf.Tensor) -> tf.Tensor:
    """Unit eigenvector of the largest eigenvalue of symmetric, positive semi-definite matrices (..., n, n).

    Repeated squaring makes the matrix tend to u u^T; the column with the largest diagonal entry is then u, up to
    scale, and positive there. Zeros for a zero matrix.
    """
    power = gram
    for squaring in range(_SQUARINGS):
        if squaring % _SQUARINGS_UNSCALED == 0:
            power = tf.math.divide_no_nan(power, tf.linalg.trace(power)[..., None, None])
        power = tf.matmul(power, power)
    best = tf.argmax(tf.linalg.diag_part(power), axis=-1)
    column = tf.gather(power, best, axis=-1, batch_dims=2)
    return tf.math.divide_no_nan(column, tf.norm(column, axis=-1, keepdims=True))
