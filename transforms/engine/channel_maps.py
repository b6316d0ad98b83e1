"""Where channels put their evidence: gradient times activation at each place, and gradients at the input itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.methods import targets


class ChannelMaps:
    """Maps of weighted channels of an engine's target layer; traced once.

    maps[b,x] = sum_c w[b,c] (d logit_b / d A[b,x,c]) A[b,x,c]

    With all weights 1 this is HiResCAM, and its sum over the places the total of `channel_evidence.contributions`. The
    same pass back goes on to the input: d logit_b / d input[b].
    """

    def __init__(self, engine: engines.Engine) -> None:
        """Prepare the graph."""
        self._engine = engine
        size = engine.description.input_size
        floats = tf.TensorSpec((None, None), tf.float32)
        self._maps = tf.function(
            self._trace,
            autograph=False,
            input_signature=[tf.TensorSpec((None, *size), tf.float32), tf.TensorSpec((None,), tf.int32), floats],
        )

    def _trace(self, inputs: tf.Tensor, class_ids: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        model = self._engine.model.computed_by("tensorflow")  # no gradient reaches the input through another engine
        fed = [tf.repeat(tf.constant(model.stand_ins[name])[None], tf.shape(inputs)[0], axis=0) for name in model.fed]
        logits, (activations,) = model.beside(fed).expose(inputs, (model.layer,))
        scores = targets.target_scores(logits, class_ids[:, None], "logit")
        zeros = tf.UnconnectedGradients.ZERO
        inner, outer = tf.gradients(scores, [activations, inputs], unconnected_gradients=zeros)
        products = activations * inner
        shape = (-1, *(1,) * (products.shape.rank - 2), products.shape[-1])
        return tf.reduce_sum(products * tf.reshape(weights, shape), axis=-1), tf.convert_to_tensor(outer)

    def maps(
        self, inputs: npt.NDArray[np.float32], class_id: int, channels: tuple[int, ...], weights: tuple[float, ...]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Maps, float32 ``(B, *grid)``, signed, in units of the logit; and the class's gradients, of the inputs' shape.

        Args:
            inputs: float32 ``(B, *positions, C)``, preprocessed.
            class_id: whose score is explained.
            channels, weights: the channels and what each counts; none for all of them, each 1.
        """
        layer = self._engine.description.layer
        count = layer.shape[0 if layer.channels_first else -1]
        assert count is not None  # a layer of unknown width is no target
        row = np.zeros(count, np.float32)
        if channels:
            row[list(channels)] = weights
        else:
            row[:] = 1
        rows = np.repeat(row[None], len(inputs), axis=0)
        ids = np.full(len(inputs), class_id, np.int32)
        maps, gradients = self._maps(tf.constant(inputs), tf.constant(ids), tf.constant(rows))
        return maps.numpy(), gradients.numpy()
