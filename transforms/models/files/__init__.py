"""From what a configuration names (a file, a folder, an application, a factory) to a Keras model, and why not.

What the loaded model computes is no matter of this room. A new kind of file is told from the others in `file_kinds`
and loaded in `loading`; a failure that users meet gets its line in `load_failures`.
"""
