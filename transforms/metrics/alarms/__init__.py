"""Tests whose false alarms are known: p-values of a loss, corrections for many checks, and what a test could have seen.

A test asks whether the mean loss of a number is within what is allowed; its p-value bounds how often noise alone says
no. NumPy and SciPy alone; nothing here knows a metric, a run or a gate. Formulas, sources and assumptions are listed in
the README of this folder.
"""
