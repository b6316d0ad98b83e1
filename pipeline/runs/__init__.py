"""A run directory as other rooms see it: manifest, tables, chosen rows, source images, history.

Imports `config`, `runners` (for file systems) and `transforms`; neither Beam nor TensorFlow is loaded by reading a
run. A run of an older version is brought up to date here, so that no other room knows of versions.
"""
