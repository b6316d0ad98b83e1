"""What can be read from the graph of a traced model, and how it is put into others: TensorFlow operations, no layers.

Imports nothing from the other rooms. To add a fact: a file with a function from tensors of one graph to what is known.
"""
