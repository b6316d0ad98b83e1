"""From what people have to what a run needs: TFRecord shards of a folder or an annotation file.

`formats` reads what others write, one file a format; `items` is what they all give; `encoding` makes a record of an
item, `steps` and `shards` are the Beam job. A format more is a file in `formats` and a row of its table.
"""
