"""Which layer is mapped: the one that is named, or the last one whose output has a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heatbeam.transforms.models import layer_outputs, loading, probe

AUTO = "auto"
"""The name that leaves the choice to `chosen`."""


def chosen(seen: probe.Probe, layer: str) -> layer_outputs.LayerOutput:
    """The target layer of a model.

    Args:
        seen: of the model.
        layer: `AUTO`, or the name or path of a layer.

    Raises:
        loading.ModelError: no such layer, or no layer with a grid that reaches the scores.
    """
    if layer != AUTO:
        return find(seen.outputs, layer, seen.gridless)
    cells = seen.spatial[-1].height * seen.spatial[-1].width if seen.spatial else 0
    # Attention over a few learned queries after a map is no reason to refuse the map: they are fewer than its cells.
    for path, tokens in seen.attention.items():
        if tokens > cells:
            raise loading.ModelError(f"{seen.gridless[path]}; name a layer with a spatial output (model.target_layer)")
    if not seen.spatial:
        raise loading.ModelError(
            "the model has no layer with a spatial output that reaches its class scores, so there is nothing to map; "
            "heatbeam needs a convolutional network, or a transformer whose tokens form a grid"
        )
    last = seen.spatial[-1]
    if last.is_tokens:
        # Transformers: a block's normalized tokens explain better than what stands between its two halves, and the
        # last block's patch tokens have no gradient where only the class token is read (those were sorted out).
        norms = [o for o in seen.spatial if o.name in seen.norms and o.is_tokens]
        return norms[-1] if norms else last
    return last


def find(
    outputs: Sequence[layer_outputs.LayerOutput], name: str, gridless: Mapping[str, str]
) -> layer_outputs.LayerOutput:
    """The layer called `name`, a path or a unique last part of one.

    Args:
        outputs: that may be named.
        name: of the layer.
        gridless: layers that have no grid, by path, and why not, in words.

    Raises:
        loading.ModelError: no such layer, or several.
    """
    exact = [o for o in outputs if o.name == name]
    found = exact or [o for o in outputs if o.name.endswith("/" + name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise loading.ModelError(f"layer {name!r} is {', '.join(o.name for o in found)}; give the whole path")
    for path, why in gridless.items():
        if path == name or path.endswith("/" + name):
            raise loading.ModelError(f"layer {why}")
    known = ", ".join(o.name for o in outputs[-12:])
    raise loading.ModelError(
        f"no layer {name!r} with a spatial output that reaches the class scores; the last ones are {known}"
    )
