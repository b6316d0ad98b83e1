"""From settings to a finished run directory.

`plan` resolves a configuration into the options of every step, `graph` knows their order and nothing else, `run` runs
it and judges the counts, `check` is the run of a few records before it, `incremental` takes over what an earlier run
has. Imports every room but `demo`, `bench` and the command line. A new setting of a step goes from `config` through
`plan` to the step's own options; a new step gets its place in `graph`.
"""
