"""The demo's other kinds of input: one module each for a series, a volume, an image of bands and several inputs.

Each draws its data, with true places and a planted shortcut, says how records store it and how settings read them, and
builds a small network. `kind.Kind` is what they have in common, `catalogue.KINDS` lists them; `planted` writes the data
and trains. One more kind is one more module and one more row there.
"""
