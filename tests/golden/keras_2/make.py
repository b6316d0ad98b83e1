"""Make `classifier.keras` and `expected.npz` with Keras 2: ``pip install tf_keras==2.21.0``, then run this here."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

tf_keras.utils.set_random_seed(1)
layers = tf_keras.layers
inputs = tf_keras.Input((12, 12, 3), name="image")
value = layers.RandomFlip("horizontal")(inputs)
value = layers.Rescaling(1 / 255.0)(value)
value = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(value)
value = layers.BatchNormalization()(value)
value = layers.DepthwiseConv2D(3, padding="same", activation="relu")(value)
branch = layers.Conv2D(4, 3, padding="same", activation="relu")(value)
value = layers.Add(name="sum")([value, branch])
model = tf_keras.Model(inputs, layers.Dense(3, bias_initializer="normal")(layers.GlobalAveragePooling2D()(value)))
model.save("classifier.keras")

images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
with tf.GradientTape() as tape:
    features = tf_keras.Model(inputs, [model.get_layer("sum").output, model.output])
    maps, scores = features(images.astype(np.float32), training=False)  # RandomFlip flips unless it is told
    best = tf.reduce_max(scores, axis=1)
weights = tf.reduce_mean(tape.gradient(best, maps), axis=(1, 2), keepdims=True)
np.savez("expected.npz", images=images, scores=scores, grad_cam=tf.reduce_sum(weights * maps, axis=-1))
