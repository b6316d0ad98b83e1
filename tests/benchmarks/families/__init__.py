"""heatbeam's whole job over ten families of models, against the loop that one would write by hand and against Xplique.

One module for each side (`job`, `hand_written`, `library`), each a process of its own; `photos` feeds the peers,
`fastest` finds their own best settings, `rounds` lets the sides take turns, `whole_jobs` measures one family,
`whole_passes` what computes Score-CAM, insertion and deletion, `half_precision` the job in bfloat16 over float32, and
`summary` says what all families give together.
"""
