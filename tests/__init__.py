"""The tests; a package, so that another package called ``tests`` in the environment is not taken for it."""

import gc

# TensorFlow and Beam are a million objects, looked through again and again: a tenth of the tests' time.
gc.set_threshold(20_000, 20, 20)
