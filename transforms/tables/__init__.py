"""The Parquet tables: schemas, rows, files, the journal of an unfinished run, rows of earlier runs.

Imports `metrics` (which says what columns there are) and the records; no TensorFlow. A new column of ``explanations``
is a field in `schemas` and its value in `rows`; columns of metrics come from their rows in `metrics.registry`.
"""
