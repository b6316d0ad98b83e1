"""Does the model depend on what the map marks? Metrics that change the input, or the model, and watch score and map.

The model arrives as callables, so that nothing here knows a framework; see `batch.Batch`.

Shared contract: inputs are float32 (B, *positions, C), of one, two or three position axes; heatmaps are (B,
*positions) in [0, 1]; class ids are (B,). What is said of the pixels of an image holds for the samples of a series
and the voxels of a volume, and a volume of one slice has the numbers of the image. Results are float64, one per
image, and NaN where the map has a NaN or a number is not defined. Nothing depends on which images share a batch. At
most `batch_size` changed inputs exist at a time. Inputs are changed *after* preprocessing: a baseline of 0 is
whatever colour the preprocessing maps to 0.

One file a paper. To add a metric: its formula here, ending in a function ``(batch.Batch) -> (columns, curves)`` that
calls it, and its row in ``metrics/catalogue/faithfulness.py``, which names that function.
"""
