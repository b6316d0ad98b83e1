"""The Parquet tables: schemas, rows, files, the journal of an unfinished run, rows of earlier runs."""
