"""From a model file to activations and class scores: loading, the choice of the layer, exposure, heads, grids.

Imports TensorFlow and Keras; knows no method and no Beam (but `files.model_files`, which copies a model from where
Beam's file systems reach). A new form of model is a loader that returns what `exposure` can trace.
"""
