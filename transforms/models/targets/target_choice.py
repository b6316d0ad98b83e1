"""Which tensor is mapped: the one that is named, or the last one with image positions that everything runs through."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from heatbeam.transforms.models import layer_outputs, probe
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.graphs import bottlenecks
from heatbeam.transforms.models.targets import candidate_cuts, positions, trial_runs

AUTO = "auto"
"""The name that leaves the choice to `chosen`."""

_MOST_TRIED = 8  # tensors whose positions are tested, from the last one back
_MOST_BRANCHES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """The tensor that is mapped, and what is known of it.

    Attributes:
        place: of the tensor.
        positions: how well its cells follow the image.
        bypassing: share of the scores that does not come from its cells; 0 where everything runs through it.
        branches: layers on the ways past it, that would have to be mapped as well.
        refuted: tensors after it whose cells do not follow the image.
    """

    place: trial_runs.Place
    positions: positions.Evidence
    bypassing: float = 0.0
    branches: tuple[str, ...] = ()
    refuted: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """What speaks for the choice, in words."""
        ways = f"{self.bypassing:.0%} of the scores by-passes it" if self.branches else "every path runs through it"
        refuted = f"; not {', '.join(self.refuted)}, whose cells do not follow the image" if self.refuted else ""
        return f"{ways}; {self.positions}{refuted}"

    @property
    def warnings(self) -> list[str]:
        """What speaks against the choice, a sentence each."""
        name, found = self.place.about.name, []
        if self.branches:
            found.append(
                f"{self.bypassing:.0%} of the class scores by-passes layer {name} (images of noise); the maps do not "
                f"show it. Other ways run through {', '.join(self.branches)}"
            )
        if not self.positions.proved and not self.positions.undecided:
            found.append(f"it is not sure that the cells of layer {name} lie as in the image: {self.positions}")
        return found


def chosen(seen: probe.Probe, layer: str) -> Choice:
    """The target of a model.

    Args:
        seen: of the model.
        layer: `AUTO`, or the name of a tensor (`find`).

    Raises:
        loading.ModelError: no such tensor, or none with a grid that reaches the scores.
    """
    if layer != AUTO:
        return _with_bypass(seen, _tested(seen, find(seen, layer)), [])
    _refuse_gridless_attention(seen)
    refuted: list[str] = []
    for place in _in_order(seen)[:_MOST_TRIED]:
        choice = _tested(seen, place)
        if not choice.positions.refuted:
            return _with_bypass(seen, choice, refuted)
        refuted.append(place.about.name)
    if refuted:
        raise loading.ModelError(
            f"no tensor of the model has cells that lie as in the image ({', '.join(refuted)} have none: what changes "
            "in the image does not change the cells at its place), so there is nothing to map; name a layer to map it "
            "all the same (model.target_layer)"
        )
    raise loading.ModelError(
        "the model has no layer with a spatial output that reaches its class scores, so there is nothing to map; "
        "heatbeam needs a convolutional network, or a transformer whose tokens form a grid"
    )


def _refuse_gridless_attention(seen: probe.Probe) -> None:
    cells = seen.spatial[-1].height * seen.spatial[-1].width if seen.spatial else 0
    # Attention over a few learned queries after a map is no reason to refuse the map: they are fewer than its cells.
    for path, tokens in seen.attention.items():
        if tokens > cells:
            raise loading.ModelError(f"{seen.gridless[path]}; name a layer with a spatial output (model.target_layer)")


def _in_order(seen: probe.Probe) -> list[trial_runs.Place]:
    """The tensors that may be chosen, the best first."""
    if not seen.cuts:
        return [seen.place(output.name) for output in reversed(seen.spatial) if output.name in seen.learned]
    return _normalizations(seen, seen.cuts[0]) + seen.cuts


def _normalizations(seen: probe.Probe, cut: trial_runs.Place) -> list[trial_runs.Place]:
    """After a cut with class tokens: the last tensor that all of its positions run through, where it normalizes.

    After the last attention only the class token is read. What stands before it, in the skip connection, is the last
    that everything runs through; but all that the scores have from its positions goes through the normalization
    before that attention, and a block's normalized tokens explain better than the skip connection.
    """
    if not cut.about.prefix_tokens:
        return []
    names = [output.name for output in seen.spatial if output.is_tokens and output.name in seen.norms]
    order = seen.graph.order
    places = [seen.place(name) for name in names]
    later = [place for place in places if order[place.tensor.op.name] > order[cut.tensor.op.name]][-_MOST_TRIED:]
    passed = trial_runs.all_positions_pass(seen.graph, cut, later, seen.traced.scores, seen.size)
    return [place for place, passes in zip(later, passed, strict=True) if passes][::-1][:1]


def _tested(seen: probe.Probe, place: trial_runs.Place) -> Choice:
    """A tensor with its evidence; a map whose cells do not follow the image is tried with its channels first."""
    evidence = trial_runs.position_evidence(seen.graph, place, seen.size)
    shape = place.about.shape
    if evidence.refuted and len(shape) == 3 and (shape[1] or 0) * (shape[2] or 0) > 1:
        turned = dataclasses.replace(place, about=place.about.with_channels_first())
        found = trial_runs.position_evidence(seen.graph, turned, seen.size)
        if found.proved:
            return Choice(turned, found)
    return Choice(place, evidence)


def _with_bypass(seen: probe.Probe, choice: Choice, refuted: Sequence[str]) -> Choice:
    place = choice.place
    choice = dataclasses.replace(choice, refuted=tuple(refuted))
    if any(place.tensor is cut.tensor for cut in seen.cuts):
        return choice
    if seen.cuts and seen.cuts[0].about.prefix_tokens and place.about.is_tokens:
        passes = trial_runs.all_positions_pass(seen.graph, seen.cuts[0], [place], seen.traced.scores, seen.size)
        if all(passes):
            return choice
    branches = _branches(seen, place)
    if not branches:
        return choice
    share = trial_runs.bypassing_share(seen.graph, place, seen.traced.scores, seen.size)
    return dataclasses.replace(choice, bypassing=share, branches=tuple(branches))


def _branches(seen: probe.Probe, place: trial_runs.Place) -> list[str]:
    """Layers that together with a tensor leave no way from the images to the scores, the last ones there are."""
    blocked, found = {place.tensor.op}, list[str]()
    spatial = [seen.place(output.name) for output in reversed(seen.spatial) if output.name in seen.learned]
    while len(found) < _MOST_BRANCHES:
        open_ways = bottlenecks.around(seen.traced.inputs, seen.traced.scores, blocked)
        other = next((one for one in spatial if one.tensor.op in open_ways), None)
        if other is None:
            break
        blocked.add(other.tensor.op)
        found.append(other.about.name)
    return found


def find(seen: probe.Probe, name: str) -> trial_runs.Place:
    """The tensor called `name`.

    Args:
        seen: of the model.
        name: of a layer or an operation, a path or a unique last part of one; or ``input of LAYER``.

    Raises:
        loading.ModelError: no such tensor, or several.
    """
    if name.startswith(candidate_cuts.INPUT_OF):
        return _input_of(seen, name.removeprefix(candidate_cuts.INPUT_OF))
    outputs = seen.outputs + [place.about for place in seen.cuts if place.about not in seen.outputs]
    found = _called(outputs, name)
    if found is not None:
        return seen.place(found.name)
    for path, why in seen.gridless.items():
        if path == name or path.endswith("/" + name):
            raise loading.ModelError(f"layer {why}")
    known = ", ".join(o.name for o in outputs[-12:])
    raise loading.ModelError(
        f"no layer {name!r} with a spatial output that reaches the class scores; the last ones are {known}"
    )


def _called(outputs: Sequence[layer_outputs.LayerOutput], name: str) -> layer_outputs.LayerOutput | None:
    exact = [o for o in outputs if o.name == name]
    found = exact or [o for o in outputs if o.name.endswith("/" + name)]
    if len(found) > 1:
        raise loading.ModelError(f"layer {name!r} is {', '.join(o.name for o in found)}; give the whole path")
    return found[0] if found else None


def _input_of(seen: probe.Probe, name: str) -> trial_runs.Place:
    calls = [c for c in seen.traced.calls if c.path == name]
    calls = calls or [c for c in seen.traced.calls if c.path.endswith("/" + name)]
    if len(calls) != 1 or not calls[0].inputs:
        raise loading.ModelError(f"no layer {name!r} to map the input of; layers are named by path or its last part")
    tensor = calls[0].inputs[0]
    about = layer_outputs.grid_of(candidate_cuts.INPUT_OF + calls[0].path, tensor.op.type, tensor, seen.size[:2])
    if about is None or tensor.op not in seen.traced.ancestors:
        raise loading.ModelError(f"the input of layer {calls[0].path} is {tuple(tensor.shape[1:])}: no grid of cells")
    return trial_runs.Place(about, tensor)
