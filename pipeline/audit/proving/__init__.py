"""Suspects tried by intervention: ``heatbeam prove RUN``, a job over a finished run.

`regions` changes pictures, `likeness` says whether they have a look in common, `trial` asks the model about them, `job`
carries trials over Beam, `commands` has the command. Stands on the floor above `job`, whose settings and steps it
takes. What it leaves, `audit.evidence.proofs` reads.
"""
