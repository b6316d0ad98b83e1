"""What HTML pages share: templates, plots, pictures of maps, words.

Imports `transforms.heatmaps` and `transforms.errors`; knows no command. A new kind of plot is a function here
that returns SVG or PNG.
"""
