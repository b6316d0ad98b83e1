"""Which tensor of a traced model is mapped: what may be, what is chosen, and the proof that its cells are the image's.

To add evidence: a function in `trial_runs` that runs the traced model, and its sentence in `target_choice.Choice`.
"""
