"""What computes the model of a specification, and whether it can."""

from __future__ import annotations

import tensorflow as tf

from heatbeam.transforms.engine import specs
from heatbeam.transforms.models.backends import packages
from heatbeam.transforms.models.files import loading


def compiles(spec: specs.EngineSpec) -> bool:
    """Whether XLA compiles the shared pass."""
    return spec.xla or spec.compute == "xla"


def unfit(spec: specs.EngineSpec) -> str:
    """Why `compute` can't be had for a specification, in words; empty where it can."""
    if spec.compute in ("tensorflow", "xla"):
        return ""
    reason = packages.missing(spec.compute)
    if reason is not None:
        return reason
    if has_not(spec.precision, spec.compute):
        return f"it computes in float32, and explain.precision is {spec.precision}"
    if spec.xla:
        return "explain.xla is for TensorFlow alone"
    return "it runs on CPUs, and there is a GPU" if tf.config.list_physical_devices("GPU") else ""


def has_not(precision: specs.Precision, backend: specs.Compute) -> bool:
    """Whether an engine computes in another precision whatever the processor is."""
    return precision != "float32" and backend == "onnxruntime"


def keras_policy(spec: specs.EngineSpec) -> specs.Precision:
    """The dtype policy of the model's layers: engines that are given parts of it in their own form take float32."""
    return "float32" if spec.compute in packages.CONVERTED else spec.precision


def shares_model(one: specs.EngineSpec, other: specs.EngineSpec) -> bool:
    """Whether engines of specifications that differ in `compute` and `precision` alone can have the same model."""
    return keras_policy(one) == keras_policy(other)


def check(spec: specs.EngineSpec) -> None:
    """See that `compute` can be had.

    Raises:
        loading.ModelError: it can't.
    """
    reason = unfit(spec)
    if reason:
        raise loading.ModelError(f"explain.compute: {spec.compute} can't be used: {reason}; or set tensorflow")
