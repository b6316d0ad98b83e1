"""The report of a run: one HTML file with pictures and plots.

Imports `audit`, `pages` and `runs`. A new section is a function that gives the template its values, and its place in
`pages/templates/report.html`.
"""
