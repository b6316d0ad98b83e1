"""Measurements of what the pipeline costs over the model: ``heatbeam bench``. One module per group of figures."""
