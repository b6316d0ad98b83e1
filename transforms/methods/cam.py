"""One-pass class activation maps: arithmetic on what one forward pass and one head gradient gave.

Contract of every function here, unless its docstring says otherwise:

Args:
    activations: float32 (B, *grid, K), the target layer's output A: (B, h, w, K) of an image.
    gradients: float32 (B, L, *grid, K), the gradient g of each explained score with respect to A.

Returns:
    float32 (B, *grid, L), signed, not rectified, not scaled and not resized: that is left to the reader of the map.

Formulas are written for the grid (h, w) of an image; on the grids of series and volumes the sums and means over h and w
run over all positions.

Any number of these functions traced into one `tf.function` share their common terms (g A and its sums): the graph
optimizer merges equal operations, and the functions are written so that equal terms are equal operations.
"""

from __future__ import annotations

import math

import tensorflow as tf

from heatbeam.transforms.methods import tensor_maps


def cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """CAM: activations weighted by the classifier's weights, for heads of global average pooling and one linear layer.

    maps[b,h,w,l] = sum_k W[k,l] A[b,h,w,k], where W[k,l] = sum_hw g[b,l,h,w,k].

    With that head the score is sum_k W[k,l] mean_hw(A[k]) + bias, so g = W / (h w) everywhere and its sum over space
    is W: the classifier's weights are read from the gradient, whatever layers make up the head. The mean of the map
    over space is the score less the bias. On any other head this is not CAM: check with `has_linear_gap_head` first.

    Zhou et al., CVPR 2016, eq. 2. arXiv:1512.04150.
    """
    return weighted_maps(activations, _space_sum(gradients))


def has_linear_gap_head(gradients: tf.Tensor, other_gradients: tf.Tensor, tolerance: float) -> tf.Tensor:
    """Whether the head is global average pooling followed by a linear layer, judged by its gradients.

    Such a head has a gradient that is the same at every position and for every input. Both are required, to `tolerance`
    times the largest gradient. Probe with two batches of *different* images, of at least two images each.

    Args:
        gradients: float32 (B, L, *grid, K), for L classes, the same classes for every image.
        other_gradients: the same for other images and the same classes.
        tolerance: relative, such as 1e-4 (1e-2 for mixed precision).

    Returns:
        Scalar bool; False where a gradient is not finite or all of them are 0.
    """
    both = tf.concat((gradients, other_gradients), axis=0)
    # One weight vector per class, from one image and one position, must be the gradient everywhere.
    spread = tf.reduce_max(
        tf.abs(both - both[(slice(1), slice(None), *[slice(1)] * len(tensor_maps.positions(both, 2)))])
    )
    largest = tf.reduce_max(tf.abs(both))
    return (spread <= tolerance * largest) & (largest > 0.0) & tf.math.is_finite(largest)


def grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM: activations weighted by the spatial mean of their gradients.

    maps[b,h,w,l] = sum_k mean_hw(g[b,l,:,:,k]) A[b,h,w,k]

    Selvaraju et al., ICCV 2017, eq. 1-2 before the ReLU. arXiv:1610.02391.
    """
    return weighted_maps(activations, _space_sum(gradients) / _positions(activations))


def grad_cam_plus_plus(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM++: activations weighted by positive gradients, each scaled by alpha.

    w[k] = sum_hw alpha ReLU(g),  alpha = g^2 / (2 g^2 + S g^3),  S[k] = sum_hw A[k];  maps = sum_k w[k] A[k]

    Only g > 0 contributes, where alpha ReLU(g) = r / (2 + S r) with r = ReLU(g): that is what is computed, as g^3
    underflows. Where 2 + S r is exactly 0 (possible only if S < 0) the term is 0.

    The paper takes the gradient of exp(score), a factor exp(score) > 0 on the whole map. It is left out here: it
    changes no normalized map and overflows float32 for scores above 88.

    Chattopadhyay et al., WACV 2018, eq. 10 and 19, before the ReLU and without exp(score). arXiv:1710.11063.
    """
    positive = tf.nn.relu(gradients)
    sums = tf.reduce_sum(activations, axis=tensor_maps.positions(activations), keepdims=True)[:, None]
    weights = _space_sum(tf.math.divide_no_nan(positive, 2.0 + sums * positive))
    return weighted_maps(activations, weights)


def hires_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """HiResCAM: gradient times activation, summed over channels.

    maps[b,h,w,l] = sum_k g[b,l,h,w,k] A[b,h,w,k]. With a head that is linear in A the map sums to the score less the
    bias.

    Draelos and Carin, 2020, eq. 3. arXiv:2011.08891.
    """
    return _channel_sum(_products(activations, gradients))


def element_wise_grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Element-wise Grad-CAM: gradient times activation, only where it is positive, summed over channels.

    maps[b,h,w,l] = sum_k ReLU(g[b,l,h,w,k] A[b,h,w,k]), never negative.

    Pillai and Pirsiavash, AAAI 2021, "Explainable models with consistent interpretations"; `GradCAMElementWise` of
    pytorch-grad-cam.
    """
    return _channel_sum(tf.nn.relu(_products(activations, gradients)))


def layer_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """LayerCAM: activations weighted by the positive part of the gradient at the same position.

    maps[b,h,w,l] = sum_k ReLU(g[b,l,h,w,k]) A[b,h,w,k]. Differs from element-wise Grad-CAM only where A < 0.

    Jiang et al., IEEE TIP 2021, eq. 4-6 before the last ReLU. doi:10.1109/TIP.2021.3089943.
    """
    return _channel_sum(_products(activations, tf.nn.relu(gradients)))


def layer_cam_fused(activations: tuple[tf.Tensor, ...], gradients: tuple[tf.Tensor, ...], *, gamma: float) -> tf.Tensor:
    """LayerCAM over several layers: the largest of their maps, each rectified and squashed to [0, tanh(gamma)].

    fused = max over layers of tanh(gamma ReLU(M) / max ReLU(M)), M the LayerCAM map of a layer, brought to the size
    of the first layer by half-pixel linear interpolation before the maximum. A map without positive values stays 0.

    Args:
        activations: one (B, *grid, K) for each layer, the finest layer first.
        gradients: one (B, L, *grid, K) for each layer, in the same order.
        gamma: strength of the squashing; the paper uses 2.

    Returns:
        float32 (B, *grid, L) in [0, 1), at the size of the first layer.

    Jiang et al., IEEE TIP 2021, eq. 8 and section III-C.
    """
    size = tensor_maps.size_of(activations[0])
    fused = None
    for layer_activations, layer_gradients in zip(activations, gradients, strict=True):
        raw = tensor_maps.classes_first(layer_cam(layer_activations, layer_gradients))
        positive = tf.nn.relu(raw)
        highest = tf.reduce_max(positive, axis=tuple(range(2, len(raw.shape))), keepdims=True)
        scaled = tf.tanh(gamma * tf.math.divide_no_nan(positive, highest))
        scaled = tensor_maps.resize_bilinear(scaled, size)
        fused = scaled if fused is None else tf.maximum(fused, scaled)
    if fused is None:
        raise ValueError("layer_cam_fused needs at least one layer, got none")
    return tensor_maps.classes_last(fused)


def x_grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """XGrad-CAM: activations weighted by their gradients' mean, itself weighted by the activations.

    w[k] = sum_hw(g A[k]) / sum_hw A[k];  maps = sum_k w[k] A[k]. A channel whose sum is exactly 0 has weight 0. With a
    head that is linear in A and sums that are not 0 the map sums to the score less the bias.

    Fu et al., BMVC 2020, eq. 6-7. arXiv:2008.02312.
    """
    sums = tf.reduce_sum(activations, axis=tensor_maps.positions(activations))[:, None, :]
    weights = tf.math.divide_no_nan(_space_sum(_products(activations, gradients)), sums)
    return weighted_maps(activations, weights)


def fem(activations: tf.Tensor, gradients: tf.Tensor, *, k: float) -> tf.Tensor:
    """FEM: activations weighted by how often a channel is exceptionally high. The same map for every class.

    w[k] = share of positions where A[k] > mean(A[k]) + k std(A[k]);  maps = sum_k w[k] A[k]

    Args:
        k: standard deviations above the mean; the paper uses 2.

    Fuad et al., IPTA 2020, as pytorch-grad-cam's `FEM` computes it.
    """
    mean, variance = tf.nn.moments(activations, axes=tensor_maps.positions(activations), keepdims=True)
    rare = tf.cast(activations > mean + k * tf.sqrt(variance), tf.float32)
    weights = tf.reduce_mean(rare, axis=tensor_maps.positions(rare))
    return for_every_class(weighted_maps(activations, weights[:, None, :]), gradients)


def random_cam(activations: tf.Tensor, gradients: tf.Tensor, *, seed: int) -> tf.Tensor:
    """Random CAM: activations under random channel weights. A baseline that knows neither class nor head.

    maps[b,h,w,l] = sum_k w[k] A[b,h,w,k], w[k] uniform in [-1, 1), drawn from `seed`: the same for every image and
    class, so a score above this baseline's is what the choice of channels is worth.

    `RandomCAM` of pytorch-grad-cam, with one draw for the run instead of one for each image.
    """
    weights = tf.random.stateless_uniform((activations.shape[-1],), (seed, 0), -1.0, 1.0, alg="philox")
    batch = tf.shape(activations)[0]
    weights = tf.broadcast_to(weights, (batch, 1, activations.shape[-1]))
    return for_every_class(weighted_maps(activations, weights), gradients)


def weighted_maps(activations: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """sum_k weights[b,l,k] A[b,h,w,k]: (B, *grid, L) from activations (B, *grid, K) and weights (B, L, K)."""
    shape = tf.shape(activations)
    flat = tf.reshape(activations, (shape[0], -1, activations.shape[-1]))
    maps = tf.matmul(flat, weights, transpose_b=True)
    return tf.reshape(maps, (shape[0], *tensor_maps.size_of(activations), tf.shape(weights)[1]))


def for_every_class(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """A class-free map (B, *grid, 1) repeated for the L classes of `gradients`."""
    return tf.broadcast_to(maps, (tf.shape(maps)[0], *tensor_maps.size_of(maps), tf.shape(gradients)[1]))


def _products(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    return gradients * activations[:, None]


def _space_sum(values: tf.Tensor) -> tf.Tensor:
    """(B, L, K) from (B, L, *grid, K)."""
    return tf.reduce_sum(values, axis=tensor_maps.positions(values, 2))


def _channel_sum(values: tf.Tensor) -> tf.Tensor:
    """(B, *grid, L) from (B, L, *grid, K)."""
    return tensor_maps.classes_last(tf.reduce_sum(values, axis=-1))


def _positions(activations: tf.Tensor) -> tf.Tensor:
    return tf.cast(math.prod(tensor_maps.size_of(activations)), tf.float32)
