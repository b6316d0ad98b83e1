"""Which numbers of a model are explained, and how its own answer follows from them.

Imports `files.loading` of the room above. To add a kind of score: say how it is found, in the graph or in
numbers, and what the tables' `logit` and `probability` are.
"""
