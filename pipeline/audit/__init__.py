"""What is found in the maps of a run: a scan of all rows, sick maps, shortcuts, label suspects, clusters.

Imports `transforms.tables` and the formulas of `transforms.metrics`, no page. A new finding is a module that
reads the scan, and a section in `report` that shows it.
"""
