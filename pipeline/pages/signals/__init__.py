"""Series, volumes, clips and pictures of many bands, drawn with their heat and their truth: for pages and as PNG.

Takes plain arrays (`shown.Signal`) and knows no run. `drawing` chooses by the kind of the signal: a new kind is a
module here that turns a `Signal` into `slices.Slice`s or lanes, and its line there.
"""
