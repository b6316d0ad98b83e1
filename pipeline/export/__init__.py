"""Chosen rows of a run as pictures, or as datasets that other tools open; `publish` brings whole runs elsewhere.

Imports `pages` and `runs`. A new format is a module that writes `export_samples.Sample`s, and its name in `export`.
"""
