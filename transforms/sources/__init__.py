"""Formats of records: TFRecord, ArrayRecord, TFDS, features, images, ground truth."""
