"""The rows of the table of metrics: what each number is, in words and as a formula, and who measures and shows it.

`registry` is the table; nothing else imports from here. No file here imports a formula: a row names the function that
measures it, which is imported when it is first asked for.
"""
