"""Localization and faithfulness metrics: NumPy in, numbers and mergeable counts out. See README.md."""
