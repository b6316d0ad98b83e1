"""What is found in the channel evidence of a run: components of a class, and which of them look like a shortcut.

`sample` gathers the evidence of a run in bounded memory, `components` takes it apart class by class, `kinds` does so
where no boxes say what the object is, `suspects` says which components are worth an intervention, `proofs` is the table
of what those showed, and `shown` what a page says of it. Imports what `audit` may; the interventions themselves are a
job of their own, in `audit.proving`.
"""
