"""Formats of records, and how images and ground truth are read from them.

`source` states what a format gives: shards, their records, and what it knows beforehand; `tfrecord_source`,
`tfds_source` and `arrayrecord` give it. A format more is a file that does so, and a row of `heatbeam.config.SOURCES`
with its key. `pixels` decodes and resizes as the libraries do that models are trained with; `installed` knows their
versions. `feature_map` and `decode_options` are values alone and load nothing; `files` is the only one that needs Beam.
Imports `records` and `errors` only; what is wrong with a record is a `records.DataError`.
"""
