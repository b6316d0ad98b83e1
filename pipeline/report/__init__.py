"""The report of a run: one HTML file with pictures and plots."""
