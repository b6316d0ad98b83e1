"""Where a graph runs: the options of each runner, the direct runner, its worker processes, the entry point of workers.

Imports `config`, `transforms.tally` and Beam. A new runner is a row of `runner_options.RUNNERS` and a name in
`config.RunnerConfig`.
"""
