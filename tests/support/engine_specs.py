"""Engine specifications over small models, for tests."""

from __future__ import annotations

from typing import Any

from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import model_source


def method(name: str, label: str | None = None, **changes: Any) -> specs.MethodSpec:
    """A method with its default options; `changes` are options or fields of `MethodSpec`."""
    fields = {key: changes.pop(key) for key in ("layers", "target", "wrapper", "sample") if key in changes}
    wrapper_options = specs.pairs(changes.pop("wrapper_options", {}))
    return specs.MethodSpec(name, label or name, specs.pairs(changes), wrapper_options=wrapper_options, **fields)


def factory(function: str) -> model_source.ModelSource:
    """A model of `tests.support.keras_models`."""
    return model_source.ModelSource(factory=f"tests.support.keras_models:{function}")


def file(path: str) -> model_source.ModelSource:
    """A model file."""
    return model_source.ModelSource(path)


def spec(model: model_source.ModelSource, *methods: specs.MethodSpec, **changes: Any) -> specs.EngineSpec:
    """A specification with the golden models' preprocessing; `changes` are fields of `EngineSpec`."""
    fields: dict[str, Any] = {
        "preprocessing": model_source.Preprocessing("tf"),
        "batch_size": 8,
        "pass_batch_size": 8,
        "float_pixels": False,
    }
    return specs.EngineSpec(model=model, methods=methods or (method("grad_cam"),), **(fields | changes))
