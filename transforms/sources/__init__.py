"""Formats of records: TFRecord, ArrayRecord, TFDS; features, images, ground truth.

Imports the records only. From bytes to pixels, labels, boxes and masks; what is wrong with a record is a
`records.DataError`. A new format is a module of its own and a row in the table of formats.
"""
