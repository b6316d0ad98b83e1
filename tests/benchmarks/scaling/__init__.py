"""What grows with the size of the data, and what must not: time and memory an image (`size`), of rows that are
taken over from an earlier run (`reuse`), how the records lie in files (`shards`), and what a short run waits for
(`start`).

`host` is what an image costs beside the model.

`explorer` asks the explorer's server over a million rows; it is a command of its own.
"""
