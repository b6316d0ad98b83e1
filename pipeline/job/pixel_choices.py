"""How much it matters for a model whose code decodes and resizes its images, on a few records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.sources import decode_options, images
from heatbeam.transforms.sources.pixels import image_files

_USED = 0.5
"""The share of its range that the values of an image of 16 bits are expected to go beyond."""
_CUT = 0.05

_MATTERS = 0.01
"""A mean change of probability from which a setting is named, where no first choice changes."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What another choice of a setting does to the model's first choices.

    Attributes:
        setting: its name in the section ``input``.
        value: the other choice.
        agreeing: images whose first choice stays; all, of a model that gives values.
        change: mean absolute change of the first choice's probability, or of the values.
    """

    setting: str
    value: str
    agreeing: int
    change: float


def in_words(
    engine: engines.Engine,
    stored: Sequence[records.EncodedExample],
    chosen: decode_options.ImageOptions,
    others: Mapping[str, np.ndarray] | None = None,
) -> Iterator[str]:
    """What the other choices would change, and which setting matters.

    Args:
        engine: of the run.
        stored: records whose images can be decoded; at least one.
        chosen: how the run decodes them.
        others: as `inputs` of `engine.Engine.explain`.
    """
    found = effects(engine, stored, chosen, others)
    if not found:
        return
    other = f"{len(stored)} records with other code than resampler {chosen.resampler} and decoder {chosen.decoder}"
    if engine.description.probability == "value":  # no choices among classes
        listed = [f"{one.setting} {one.value}: {one.change:.3g} off" for one in found]
        yield f"values of {other}, on average: {'; '.join(listed)}"
        return
    listed = [f"{one.setting} {one.value}: {one.agreeing} agree, probability {one.change:.3f} off" for one in found]
    yield f"first choices of {other}: {'; '.join(listed)}"
    worst = min(found, key=lambda one: (one.agreeing, -one.change))
    if worst.agreeing < len(stored) or worst.change >= _MATTERS:
        yield (
            f"input.{worst.setting} matters for this model: set the code that it was trained with (with {worst.value} "
            f"{worst.agreeing} of {len(stored)} first choices agree)"
        )
    else:
        yield "none of these settings matters for this model on these records"


def ranges_in_words(stored: Sequence[records.EncodedExample], chosen: decode_options.ImageOptions) -> Iterator[str]:
    """Where images of 16 bits use little of the range that is shown, or reach beyond it.

    Args:
        stored: records whose images can be decoded.
        chosen: how the run decodes them.
    """
    found = [image_files.sixteen_bit_values(one.image, chosen) for one in stored if one.raw_shape is None]
    deep = [values for values in found if values is not None]
    if not deep or chosen.value_range == "percentile":
        return
    highest = max(int(values.max()) for values in deep)
    low, high = chosen.value_range if isinstance(chosen.value_range, tuple) else (0.0, 65535.0)
    if highest <= low + _USED * (high - low):
        level = max(0.0, 255 * (highest - low) / (high - low))
        yield (
            f"images of 16 bits have no value above {highest} here, which the model sees as level {level:.3g} of 255: "
            f"unless it was trained so, set input.value_range: [0, {_range_of(highest)}] or percentile"
        )
    cut = float(np.mean([np.mean((values < low) | (values > high)) for values in deep]))
    if cut > _CUT:
        yield f"{cut:.1%} of the values of images of 16 bits lie outside of input.value_range and are cut"


def _range_of(highest: int) -> int:
    """The largest value of as many bits as `highest` needs, of 8 at least."""
    return int((1 << max(8, highest.bit_length())) - 1)


def effects(
    engine: engines.Engine,
    stored: Sequence[records.EncodedExample],
    chosen: decode_options.ImageOptions,
    others: Mapping[str, np.ndarray] | None = None,
) -> list[Effect]:
    """What each other resampler that has the filter, and each other decoder that reads the images, changes."""
    own = _probabilities(engine, stored, chosen, others)
    if own is None:
        return []
    choosing = engine.description.probability != "value"
    first = own.argmax(axis=1)
    found = []
    for (setting, value), other in _others(chosen).items():
        changed = _probabilities(engine, stored, other, others)
        if changed is not None:
            change = np.abs(changed - own)
            if choosing:
                change = change[np.arange(len(first)), first]
            agreeing = int((changed.argmax(axis=1) == first).sum()) if choosing else len(first)
            found.append(Effect(setting, value, agreeing, float(change.mean())))
    return found


def _others(chosen: decode_options.ImageOptions) -> Mapping[tuple[str, str], decode_options.ImageOptions]:
    """By setting and value, the same options with one other choice."""
    whole = dataclasses.replace(chosen, draft=False)  # a draft is Pillow's alone
    others: dict[tuple[str, str], decode_options.ImageOptions] = {}
    for resampler in decode_options.RESAMPLERS:
        if resampler != chosen.resampler and chosen.interpolation in decode_options.FILTERS[resampler]:
            others["resampler", resampler] = dataclasses.replace(whole, resampler=resampler)
    for decoder in decode_options.DECODERS:
        if decoder != chosen.decoder:
            others["decoder", decoder] = dataclasses.replace(whole, decoder=decoder)
    return others


def _probabilities(
    engine: engines.Engine,
    stored: Sequence[records.EncodedExample],
    how: decode_options.ImageOptions,
    others: Mapping[str, np.ndarray] | None,
) -> np.ndarray | None:
    """float32 ``(N, classes)``; None if an image cannot be decoded so."""
    try:
        pixels = [images.decode_image(one.image, one.raw_shape, how)[0] for one in stored]
    except records.DataError:
        return None
    return engine.predict(engine.preprocess(np.stack(pixels)), others)
