"""Families of image classifiers with the layer that an expert would map, and the table of them in methods/README.md.

To add a family: a row in `applications` or `hub`; ``python -m tests.support.families`` prints the table.
"""
