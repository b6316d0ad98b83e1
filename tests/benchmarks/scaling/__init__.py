"""What grows with the size of the data, and what must not: time and memory an image (`size`).

`explorer` asks the explorer's server over a million rows; it is a command of its own.
"""
