"""Inputs that are no image files: arrays of numbers, of one, two or three position axes and any number of channels.

`array_options` names what can be set, `stored_arrays` reads what a record holds, `fitting` brings it to the model's
input. `input_forms` and `other_inputs` do the same for the model's inputs beside the explained one, of any shape.
Imports records, `sources.pixels` and the options of images; knows no feature names and no Beam. One more format is a
function of `stored_arrays`.
"""
