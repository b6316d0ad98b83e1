"""Maps against boxes and masks: where does the evidence lie?

`localization.localize` measures the maps of an image, `scored_map` is what a column is measured on; one file a metric.
To add a column: its formula here, ending in a function ``(scored_map.ScoredMap) -> {column: number}`` that calls it,
and a row in ``metrics/catalogue/localization.py``, which names that function. `padding` needs no ground truth and takes
the `scored_map.Framed` maps of an image.
"""
