"""How much it matters for a model whose code decodes and resizes its images, on a few records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.sources import decode_options, images

_MATTERS = 0.01
"""A mean change of probability from which a setting is named, where no first choice changes."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What another choice of a setting does to the model's first choices.

    Attributes:
        setting: its name in the section ``input``.
        value: the other choice.
        agreeing: images whose first choice stays.
        change: mean absolute change of the first choice's probability.
    """

    setting: str
    value: str
    agreeing: int
    change: float


def in_words(
    engine: engines.Engine, stored: Sequence[records.EncodedExample], chosen: decode_options.ImageOptions
) -> Iterator[str]:
    """What the other choices would change, and which setting matters.

    Args:
        engine: of the run.
        stored: records whose images can be decoded; at least one.
        chosen: how the run decodes them.
    """
    found = effects(engine, stored, chosen)
    if not found:
        return
    listed = [f"{one.setting} {one.value}: {one.agreeing} agree, probability {one.change:.3f} off" for one in found]
    yield (
        f"first choices of {len(stored)} records with other code than resampler {chosen.resampler} and decoder "
        f"{chosen.decoder}: {'; '.join(listed)}"
    )
    worst = min(found, key=lambda one: (one.agreeing, -one.change))
    if worst.agreeing < len(stored) or worst.change >= _MATTERS:
        yield (
            f"input.{worst.setting} matters for this model: set the code that it was trained with (with {worst.value} "
            f"{worst.agreeing} of {len(stored)} first choices agree)"
        )
    else:
        yield "none of these settings matters for this model on these records"


def effects(
    engine: engines.Engine, stored: Sequence[records.EncodedExample], chosen: decode_options.ImageOptions
) -> list[Effect]:
    """What each other resampler that has the filter, and each other decoder that reads the images, changes."""
    own = _probabilities(engine, stored, chosen)
    if own is None:
        return []
    first = own.argmax(axis=1)
    found = []
    for (setting, value), other in _others(chosen).items():
        changed = _probabilities(engine, stored, other)
        if changed is not None:
            places = np.arange(len(first)), first
            agreeing = int((changed.argmax(axis=1) == first).sum())
            found.append(Effect(setting, value, agreeing, float(np.abs(changed[places] - own[places]).mean())))
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
    engine: engines.Engine, stored: Sequence[records.EncodedExample], how: decode_options.ImageOptions
) -> np.ndarray | None:
    """float32 ``(N, classes)``; None if an image cannot be decoded so."""
    try:
        pixels = [images.decode_image(one.image, one.raw_shape, how)[0] for one in stored]
    except records.DataError:
        return None
    return engine.predict(engine.preprocess(np.stack(pixels)))
