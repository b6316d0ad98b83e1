"""Explanation methods on Keras models: TensorFlow only, no Beam."""
