"""What proves heatbeam's speed: ``python -m tests.benchmarks``, or ``make bench``. One module per group of figures.

These modules import heatbeam and are no part of it. A group is a module with a function ``measure`` of
`settings.Options` and a line in `groups.GROUPS`. What a user measures on a job of their own is ``heatbeam bench``.
"""
