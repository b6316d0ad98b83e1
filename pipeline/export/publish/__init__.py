"""The command ``publish``: a finished run where a team looks for results.

`tracked` says what a run is to an experiment tracker, `to_mlflow` writes it to MLflow; `model_card` makes the text that
model hubs show; `to_iceberg` registers the tables of a run in an Iceberg catalogue without rewriting a file; `bigquery`
makes the statements for external tables. Imports `runs` and the registry of metrics, neither Beam nor TensorFlow; what
a destination needs (``heatbeam[mlflow]``, ``heatbeam[iceberg]``) is imported where it is asked for. One more
destination is a file here and an option in `commands`.
"""
