"""Several target layers: each method is put on each of them, or on all with a fusion, before anything is planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from heatbeam import config
from heatbeam.transforms.methods import registry


def on_each(settings: config.RunConfig) -> config.RunConfig:
    """The settings with methods that name their layers, where ``model.target_layer`` is a list.

    With ``model.target_fusion: each`` a method becomes as many as there are layers, ``METHOD@LAYER`` each, the layer
    with dots for slashes and without spaces. Methods that name their own layer stay, and so do those that map the input
    or masks.
    """
    layers, fusion = settings.model.target_layer, settings.model.target_fusion
    if isinstance(layers, str):
        return settings
    methods = tuple(one for method in settings.explain.methods for one in _on(method, layers, fusion))
    return settings.model_copy(update={"explain": settings.explain.model_copy(update={"methods": methods})})


def _on(method: config.MethodConfig, layers: Sequence[str], fusion: str) -> Iterator[config.MethodConfig]:
    row = registry.METHODS.get(method.method)
    if row is None or not row.maps_layer or method.layer is not None or method.layers is not None:
        yield method
    elif row.kind == registry.FUSED_LAYERS:
        yield method.model_copy(update={"layers": tuple(layers)})
    elif fusion == "each":
        for layer in layers:
            name = f"{method.label}@{layer.replace('/', '.').replace(' ', '_')}"
            yield method.model_copy(update={"layer": layer, "name": name})
    else:
        yield method.model_copy(update={"layers": tuple(layers), "fusion": fusion})
