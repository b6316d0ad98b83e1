"""What a GPU makes of the engine and of whole jobs, in under eight minutes: ``python -m tests.benchmarks.gpu``.

`passes` times the engine and holds its maps against the CPU's; `whole_jobs` times jobs whose worker processes share the
GPU; `device` says what was measured on; `report` is the table. Where TensorFlow sees no GPU all of it runs on the CPU,
small: that says that it runs, not what a GPU does.
"""
