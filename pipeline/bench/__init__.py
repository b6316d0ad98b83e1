"""``heatbeam bench CONFIG``: what each step of a user's own job costs, beside the model's bare forward pass.

`stages` calls the steps one after another without Beam, `user_job` measures them. May import whatever a job is made of.
What proves heatbeam's own speed is no part of the package; see ``tests/benchmarks``.
"""
