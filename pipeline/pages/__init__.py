"""What HTML pages share: templates, plots, pictures of maps, words.

Imports `runs`, the tables and heatmaps of `transforms`; knows no command. A new kind of plot is a function here that
returns SVG or PNG.
"""
