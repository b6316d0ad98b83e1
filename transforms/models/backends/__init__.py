"""Parts of a model outside TensorFlow: which engines are installed, and how they are given what needs no gradients.

Imports the traced graph beside it, and each engine only where it is asked for; the exposed model imports this.
"""
