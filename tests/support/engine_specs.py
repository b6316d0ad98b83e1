"""Engine specifications over small models, for tests."""

from __future__ import annotations

from typing import Any

from heatbeam.transforms.engine import engine
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import loading


def method(name: str, label: str | None = None, **changes: Any) -> engine.MethodSpec:
    """A method with its default options; `changes` are options or fields of `MethodSpec`."""
    fields = {"layers": (), "target": "logit", "wrapper": None, "sample": 1.0, "wrapper_options": {}}
    fields |= {key: changes.pop(key) for key in list(changes) if key in fields}
    wrapper = fields["wrapper"]
    wrapped = (
        registry.resolve_options(wrapper, fields.pop("wrapper_options")) if wrapper else fields.pop("wrapper_options")
    )
    options = registry.resolve_options(name, changes)
    return engine.MethodSpec(
        label=label or name,
        method=name,
        options=tuple(sorted(options.items())),
        wrapper_options=tuple(sorted(wrapped.items())),
        **fields,
    )


def factory(function: str) -> loading.ModelSource:
    """A model of `tests.support.keras_models`."""
    return loading.ModelSource(None, None, f"tests.support.keras_models:{function}", None, (), True)


def file(path: str) -> loading.ModelSource:
    """A model file."""
    return loading.ModelSource(path, None, None, None, (), True)


def spec(model: loading.ModelSource, *methods: engine.MethodSpec, **changes: Any) -> engine.EngineSpec:
    """A specification with the golden models' preprocessing; `changes` are fields of `EngineSpec`."""
    fields: dict[str, Any] = {
        "preprocessing": loading.Preprocessing("tf", None, None),
        "target_layer": "auto",
        "scores": "auto",
        "output": None,
        "input_size": None,
        "targets": ("label", "predicted"),
        "batch_size": 8,
        "pass_batch_size": 8,
        "precision": "float32",
        "xla": False,
        "seed": 0,
        "intra_op_threads": None,
    }
    return engine.EngineSpec(model=model, methods=methods or (method("grad_cam"),), **(fields | changes))
