"""Two runs held against each other: pairs, differences, gate and verdict.

Imports `pages`, `runs` and the formulas of `transforms.metrics`, neither Beam nor TensorFlow. A new kind of
difference is a function over the pairs and a row of the comparison; a new rule of the gate is a field in `gate`.
"""
