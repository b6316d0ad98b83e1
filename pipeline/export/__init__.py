"""Chosen rows of a run as pictures or as datasets of other tools."""
