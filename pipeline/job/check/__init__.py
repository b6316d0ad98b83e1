"""``heatbeam check``: what a run would do, as far as a few records can tell, before it does it.

`dry_run` goes through the steps and says what it finds; `judging` tells what is wrong from what merely looks wrong;
`costs` counts passes, time and bytes; `machine_plan` says what a machine of the job has. Imports the rest of `job`. To
check something more: a function in `judging` that adds to its `Findings`, and its call in `dry_run`.
"""
