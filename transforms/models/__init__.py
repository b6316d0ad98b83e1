"""From a model file to activations and class scores: loading, exposure, heads, grids."""
