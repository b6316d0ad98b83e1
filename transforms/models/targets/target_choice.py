"""Which tensor is mapped: the one that is named, or the last one with image positions that everything runs through."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from heatbeam.transforms.models import layer_outputs, probe
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.graphs import bottlenecks
from heatbeam.transforms.models.targets import candidate_cuts, positions, trial_runs

AUTO = "auto"
"""The name that leaves the choice to `chosen`."""

_MOST_TRIED = 8  # tensors whose positions are tested, from the last one back
_MOST_BRANCHES = 8
_MOST_OFFERED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """The tensors that are mapped, and what is known of them.

    Attributes:
        places: of the tensors; one, but where several were named.
        positions: how well the cells of each follow the image.
        bypassing: share of the scores that does not come from their cells; 0 where everything runs through them.
        branches: layers on the ways past them, that would have to be mapped as well.
        closed: whether no way is left past those.
        tokens_pass: whether only class and register tokens go past them.
        refuted: tensors after them whose cells do not follow the image.
    """

    places: tuple[trial_runs.Place, ...]
    positions: tuple[positions.Evidence, ...]
    bypassing: float = 0.0
    branches: tuple[trial_runs.Place, ...] = ()
    closed: bool = True
    tokens_pass: bool = False
    refuted: tuple[str, ...] = ()

    @property
    def place(self) -> trial_runs.Place:
        """The first of the tensors."""
        return self.places[0]

    @property
    def evidence(self) -> str:
        """What speaks for the choice, in words."""
        it = "it" if len(self.places) == 1 else "one of them"
        ways = f"every path {'of positions ' if self.tokens_pass else ''}runs through {it}"
        if self.branches or not self.closed:
            ways = f"{self.bypassing:.0%} of the scores by-passes {it.replace('one of ', '')}"
        cells = [str(found) for found in self.positions]
        if len(cells) > 1:
            cells = [f"{place.about.name}: {words}" for place, words in zip(self.places, cells, strict=True)]
        refuted = f"; not {', '.join(self.refuted)}, whose cells do not follow the image" if self.refuted else ""
        return f"{ways}; {'; '.join(cells)}{refuted}"

    @property
    def warnings(self) -> list[str]:
        """What speaks against the choice, a sentence each."""
        found = []
        names = [place.about.name for place in self.places]
        if self.branches or not self.closed:
            layers = f"layer{'s' * (len(names) > 1)} {', '.join(names)}"
            found.append(
                f"{self.bypassing:.0%} of the class scores by-passes {layers} (images of noise); the maps do not show "
                f"it. {self._advice(names)}"
            )
        for name, cells in zip(names, self.positions, strict=True):
            if not cells.proved and not cells.undecided:
                found.append(f"it is not sure that the cells of layer {name} lie as in the image: {cells}")
        return found

    def _advice(self, names: list[str]) -> str:
        """What to map so that less goes past it."""
        if not self.branches:
            return "No tensor with cells carries it"
        others = [place.about.name for place in self.branches]
        if len(others) == 1 and self.closed and not self._beside:
            return f"Everything runs through {others[0]} (model.target_layer)"
        rest = "" if self.closed else "; some goes through no tensor with cells"
        return f"To map every way, set model.target_layer: [{', '.join(names + others)}]{rest}"

    @property
    def _beside(self) -> bool:
        """Whether the branches lie beside the tensors, not after them."""
        after = candidate_cuts.after([place.tensor.op for place in self.places], self.place.tensor.graph)
        return not any(place.tensor.op in after for place in self.branches)


def chosen(seen: probe.Probe, layer: str | Sequence[str]) -> Choice:
    """The target of a model.

    Args:
        seen: of the model.
        layer: `AUTO`, or the name of a tensor (`find`), or several names.

    Raises:
        loading.ModelError: no such tensor, or none with a grid that reaches the scores.
    """
    if layer != AUTO:
        names = [layer] if isinstance(layer, str) else layer
        tested = [_tested(seen, find(seen, name)) for name in names]
        places = tuple(one.place for one in tested)
        return _with_bypass(seen, Choice(places, tuple(one.positions[0] for one in tested)))
    _refuse_gridless_attention(seen)
    refuted: list[str] = []
    for place in _in_order(seen)[:_MOST_TRIED]:
        choice = _tested(seen, place)
        if not choice.positions[0].refuted:
            choice = dataclasses.replace(choice, refuted=tuple(refuted))
            if seen.cuts and place not in seen.cuts:  # of `_normalizations`: all positions run through it
                return dataclasses.replace(choice, tokens_pass=True)
            return _with_bypass(seen, choice)
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


def next_best(seen: probe.Probe, choice: Choice) -> list[layer_outputs.LayerOutput]:
    """What else might be mapped, the best first: what lies beside it, then the last tensor of each grid before it.

    A transformer has one grid: there it is what comes before, from the last on.
    """
    order = seen.graph.order
    first = min(order[place.tensor.op.name] for place in choice.places)
    known = seen.cuts or seen.learned_places
    earlier = [place.about for place in known if order[place.tensor.op.name] < first]
    last = {about.cells: about for about in reversed(earlier)}
    own = {place.about.cells for place in choice.places}
    others = [about for about in earlier if about is last[about.cells] and about.cells not in own]
    found = {about.name: about for about in (*(place.about for place in choice.branches), *(others or earlier))}
    return list(found.values())[:_MOST_OFFERED]


def _refuse_gridless_attention(seen: probe.Probe) -> None:
    cells = math.prod(seen.spatial[-1].cells) if seen.spatial else 0
    # Attention over a few learned queries after a map is no reason to refuse the map: they are fewer than its cells.
    for path, tokens in seen.attention.items():
        if tokens > cells:
            raise loading.ModelError(f"{seen.gridless[path]}; name a layer with a spatial output (model.target_layer)")


def _in_order(seen: probe.Probe) -> list[trial_runs.Place]:
    """The tensors that may be chosen, the best first."""
    if not seen.cuts:
        return seen.learned_places
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
    if evidence.refuted and not place.about.is_tokens and math.prod(size or 0 for size in shape[1:]) > 1:
        turned = dataclasses.replace(place, about=place.about.with_channels_first())
        found = trial_runs.position_evidence(seen.graph, turned, seen.size)
        if found.proved:
            return Choice((turned,), (found,))
    return Choice((place,), (evidence,))


def _with_bypass(seen: probe.Probe, choice: Choice) -> Choice:
    """A choice with what goes past it."""
    cut = next((cut for cut in seen.cuts if any(place.tensor is cut.tensor for place in choice.places)), None)
    if cut is not None:
        return dataclasses.replace(choice, tokens_pass=choice.place.about.prefix_tokens > 0)
    if seen.cuts and seen.cuts[0].about.prefix_tokens:
        tokens = [place for place in choice.places if place.about.is_tokens]
        if any(trial_runs.all_positions_pass(seen.graph, seen.cuts[0], tokens, seen.traced.scores, seen.size)):
            return dataclasses.replace(choice, tokens_pass=True)
    branches, closed = _branches(seen, choice.places)
    if closed and not branches:
        return choice
    share = trial_runs.bypassing_share(seen.graph, choice.places, seen.traced.scores, seen.size)
    return dataclasses.replace(choice, bypassing=share, branches=tuple(branches), closed=closed)


def _branches(seen: probe.Probe, places: Sequence[trial_runs.Place]) -> tuple[list[trial_runs.Place], bool]:
    """The last tensors that together with some leave no way from the images to the scores; is there none left?"""
    blocked, found = {place.tensor.op for place in places}, list[trial_runs.Place]()
    spatial = seen.learned_places
    while len(found) < _MOST_BRANCHES:
        open_ways = bottlenecks.around(seen.traced.inputs, seen.traced.scores, blocked)
        other = next((one for one in spatial if one.tensor.op in open_ways), None)
        if other is None:
            return found, not open_ways
        blocked.add(other.tensor.op)
        found.append(other)
    return found, not bottlenecks.around(seen.traced.inputs, seen.traced.scores, blocked)


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
    about = layer_outputs.grid_of(candidate_cuts.INPUT_OF + calls[0].path, tensor.op.type, tensor, seen.size[:-1])
    if about is None or tensor.op not in seen.traced.ancestors:
        raise loading.ModelError(f"the input of layer {calls[0].path} is {tuple(tensor.shape[1:])}: no grid of cells")
    return trial_runs.Place(about, tensor)
