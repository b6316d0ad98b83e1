"""Explanation methods on Keras models: one function each, and the catalogue that everything else reads them from.

TensorFlow only, no Beam. A new method is a function in a file of this room and a row in `catalogue`: arithmetic on one
pass is ``name(activations, gradients, *, options)`` (`cam`), anything else ``name(given, *, options)`` (`passes.Pass`).
"""
