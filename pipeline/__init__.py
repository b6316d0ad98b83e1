"""heatbeam explains every image of a dataset with class activation maps, on Apache Beam, and leaves Parquet.

What is listed here is public and keeps its meaning; what is not may change. Nothing heavy is imported before its use:
``import heatbeam`` loads neither TensorFlow nor Beam.

A whole run, from a configuration::

    >>> import heatbeam
    >>> settings = heatbeam.parse_config('''
    ... input: {tfrecord: data/validation-*.tfrecord}
    ... model: {path: model.keras, preprocessing: tf}
    ... output: {directory: runs/first}
    ... ''')
    >>> settings.explain.targets
    ('label', 'predicted')

    heatbeam.run(settings)                     # to a finished run directory, or to an error that says why not

Reading one::

    run = heatbeam.RunDirectory("runs/first")
    rows = run.open_table("explanations").to_table()
    heatbeam.heatmap(rows.slice(0, 1).to_pylist()[0])   # float32 (height, width) in [0, 1], over the image

In a pipeline of your own, `ExplainDataset` is the whole job as one transform; its steps are `PTransform`s too (`Read`,
`Decode`, `Explain`, `Localize`, `Aggregate`, `WriteExplanations`), `ToRows` makes rows for any sink, and
`CamModelHandler` stands under RunInference. ``transforms/README.md`` shows three pipelines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heatbeam.beam.explain_dataset import ExplainDataset
    from heatbeam.beam.model_handler import CamModelHandler
    from heatbeam.beam.to_rows import ToRows
    from heatbeam.config import ConfigError, RunConfig
    from heatbeam.config import load as load_config
    from heatbeam.config import parse as parse_config
    from heatbeam.job.run import Result, RunFailed, run
    from heatbeam.runs.run_directory import RunDirectory
    from heatbeam.transforms.aggregate import Aggregate
    from heatbeam.transforms.decode import Decode
    from heatbeam.transforms.engine.specs import EngineSpec, MethodSpec
    from heatbeam.transforms.errors import UserError
    from heatbeam.transforms.explain import Explain
    from heatbeam.transforms.localize import Localize
    from heatbeam.transforms.metrics.protocols import Protocol
    from heatbeam.transforms.models.model_source import ModelSource, Preprocessing
    from heatbeam.transforms.read import Read
    from heatbeam.transforms.records import DataError
    from heatbeam.transforms.sources.decode_options import ImageOptions, MaskOptions
    from heatbeam.transforms.sources.feature_map import FeatureMap
    from heatbeam.transforms.sources.tfds_source import TFDSSource
    from heatbeam.transforms.sources.tfrecord_source import TFRecordSource
    from heatbeam.transforms.tables.stored_maps import heatmap, raw_map
    from heatbeam.transforms.write import WriteExplanations

_DEFINED_IN = {
    "Aggregate": "transforms.aggregate",
    "CamModelHandler": "beam.model_handler",
    "ConfigError": "config",
    "DataError": "transforms.records",
    "Decode": "transforms.decode",
    "EngineSpec": "transforms.engine.specs",
    "Explain": "transforms.explain",
    "ExplainDataset": "beam.explain_dataset",
    "FeatureMap": "transforms.sources.feature_map",
    "ImageOptions": "transforms.sources.decode_options",
    "Localize": "transforms.localize",
    "MaskOptions": "transforms.sources.decode_options",
    "MethodSpec": "transforms.engine.specs",
    "ModelSource": "transforms.models.model_source",
    "Preprocessing": "transforms.models.model_source",
    "Protocol": "transforms.metrics.protocols",
    "Read": "transforms.read",
    "Result": "job.run",
    "RunConfig": "config",
    "RunDirectory": "runs.run_directory",
    "RunFailed": "job.run",
    "TFDSSource": "transforms.sources.tfds_source",
    "TFRecordSource": "transforms.sources.tfrecord_source",
    "ToRows": "beam.to_rows",
    "UserError": "transforms.errors",
    "WriteExplanations": "transforms.write",
    "heatmap": "transforms.tables.stored_maps",
    "load_config": "config",
    "parse_config": "config",
    "raw_map": "transforms.tables.stored_maps",
    "run": "job.run",
}
_CALLED_THERE = {"load_config": "load", "parse_config": "parse"}

__all__ = [
    "Aggregate",
    "CamModelHandler",
    "ConfigError",
    "DataError",
    "Decode",
    "EngineSpec",
    "Explain",
    "ExplainDataset",
    "FeatureMap",
    "ImageOptions",
    "Localize",
    "MaskOptions",
    "MethodSpec",
    "ModelSource",
    "Preprocessing",
    "Protocol",
    "Read",
    "Result",
    "RunConfig",
    "RunDirectory",
    "RunFailed",
    "TFDSSource",
    "TFRecordSource",
    "ToRows",
    "UserError",
    "WriteExplanations",
    "heatmap",
    "load_config",
    "parse_config",
    "raw_map",
    "run",
]


def __getattr__(name: str) -> Any:
    """The public name, imported now (PEP 562)."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'heatbeam' has no public name {name!r}")
    module = importlib.import_module(f"heatbeam.{_DEFINED_IN[name]}")
    value = getattr(module, _CALLED_THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
