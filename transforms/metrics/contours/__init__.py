"""Contours and components of a map at every threshold, in one pass: levels, components, outlines.

NumPy and Numba only. `box_accuracy` is what the rest of the metrics calls.
"""
