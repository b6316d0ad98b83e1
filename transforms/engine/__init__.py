"""Explaining a batch: the shared pass, further passes, the choice of batch sizes.

Knows `methods` and `models`, and the metrics that ask the model again; no Beam. A new method needs nothing here; a
new way to run the model does.
"""
