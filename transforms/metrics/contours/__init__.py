"""Contours of a map at every threshold, in one pass."""
