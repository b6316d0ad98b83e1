"""The tests; a package, so that another package called ``tests`` in the environment is not taken for it."""
