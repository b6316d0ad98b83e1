"""Two runs held against each other: pairs, differences, gate and verdict."""
