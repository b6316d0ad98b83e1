"""Whether a feature of several labels holds lists of classes or vectors, as far as the first records tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from heatbeam.transforms import records
from heatbeam.transforms.sources import feature_map, source, tfexample
from heatbeam.transforms.sources.classes import stored_classes

LOOKED_AT = 64
"""Records that are looked at, of all shards in turn."""


def of_records(features: feature_map.FeatureMap, dataset: source.Dataset, classes: int) -> stored_classes.ListForm:
    """The form of the labels, where it is ``auto`` and the records are certain about it.

    A vector has a place for each class in every record. So lists of several lengths, or of one class each, are lists:
    then a record with as many zeros and ones as there are classes is one too.

    Args:
        features: which feature holds the labels.
        dataset: what to look at.
        classes: how many the model has.
    """
    form, name = features.label_form, features.labels
    if form != "auto" or name is None or name in (features.box_class, features.mask_class):
        return form
    lengths = {len(values) for values in _stored(dataset, name, features.record) if len(values)}
    return stored_classes.LIST if len(lengths) > 1 or (lengths == {1} and classes > 1) else form


def _stored(dataset: source.Dataset, name: str, kind: feature_map.Record) -> Iterator[Sequence[object]]:
    """What the first records hold under `name`; those that cannot be read are the job's to name."""
    for _, _, record in itertools.islice(dataset.in_turn(), LOOKED_AT):
        if isinstance(record, records.DataError):
            continue
        try:
            parsed = tfexample.parse(record, kind)
            values = tfexample.values(parsed[name]) if name in parsed else None
        except records.DataError:
            continue
        if values is not None:
            yield values
