"""What is wrong with a run that a few records can tell, and what merely looks wrong."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from heatbeam.audit import answers, map_health
from heatbeam.job import held_features, plan
from heatbeam.runs import run_methods
from heatbeam.transforms import records
from heatbeam.transforms.engine import explained, specs
from heatbeam.transforms.metrics import chance, map_statistics
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import features, tfexample

_FEATURES_RECORDS = 512
_FEATURES_S = 5.0
"""How many records are looked at for their features, and for how long."""

_SHOWN_LOST = 3
"""Ids of records that are lost in the same way, of which the rest is counted."""


@dataclasses.dataclass
class Findings:
    """What is wrong, what merely looks wrong, and what was found as plain values by the keys of `dry_run.document`."""

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def named_features(planned: plan.Plan, findings: Findings, stream: TextIO) -> None:
    """Say which of the features that the settings name the records have, as far as some hundred can tell."""
    total, holding = 0, collections.Counter(dict.fromkeys(planned.features.names(), 0))
    until = time.monotonic() + _FEATURES_S
    for _, _, record in itertools.islice(planned.dataset.in_turn(), _FEATURES_RECORDS):
        if isinstance(record, bytes):
            with contextlib.suppress(records.DataError):
                holding.update(
                    features.held(tfexample.parse(record, planned.features.record), planned.features.names())
                )
                total += 1
        if time.monotonic() > until:
            break
    found = held_features.findings(planned.settings, total, holding)
    findings.problems += found.problems
    findings.warnings += found.warnings
    if found.missing:
        stream.write(f"         not in {total:,} records, and not asked for: {', '.join(found.missing)}\n")


def lost_in_words(letters: Sequence[records.DeadLetter]) -> Iterator[str]:
    """A line for each way in which records are lost, with how many are and the first of them.

    >>> lost = [records.DeadLetter(f"photo{i}", "s", i, "decode", "decode_image", "no JPEG") for i in range(5)]
    >>> list(lost_in_words(lost[:1]))
    ['record photo0 is lost in decode: decode_image: no JPEG']
    >>> list(lost_in_words(lost))
    ['5 records (photo0, photo1, photo2, ...) are lost in decode: decode_image: no JPEG']
    """
    alike: dict[str, list[str]] = {}
    for one in letters:
        alike.setdefault(f"{one.stage}: {one.error_type}: {one.message}", []).append(one.image_id)
    for why, ids in alike.items():
        shown = ", ".join([*ids[:_SHOWN_LOST], *(["..."] if len(ids) > _SHOWN_LOST else [])])
        yield f"record {shown} is lost in {why}" if len(ids) == 1 else f"{len(ids)} records ({shown}) are lost in {why}"


def boxes_beyond(encoded: Sequence[records.EncodedExample], classes: int) -> Iterator[str]:
    """Boxes of classes that the model does not have, which no map is scored against."""
    beyond = {one.image_id: max(one.box_class_ids, default=0) for one in encoded if one.box_class_ids is not None}
    wrong = [(image_id, class_id) for image_id, class_id in beyond.items() if class_id >= classes]
    if wrong:
        yield (
            f"{len(wrong)} of {len(encoded)} records have boxes of classes that the model does not have, the first, "
            f"{wrong[0][0]}, of class {wrong[0][1]}; its classes are 0 to {classes - 1}: see input.box_label_offset"
        )


def labels_fit(example: records.Example, classes: int, findings: Findings) -> bool:
    """Whether the model has the classes of a record's labels."""
    wrong = [i for i in example.source.label_ids if not 0 <= i < classes]
    if wrong:
        findings.warnings.append(
            f"record {example.source.image_id} has label {wrong[0]}, the model has classes 0 to {classes - 1}; "
            "see input.label_offset" + (", as 1 where ids count from 1" if wrong[0] == classes else "")
        )
    return not wrong


def model_answers(
    about: exposure.ModelDescription,
    examples: Sequence[records.Example],
    results: Sequence[explained.ImageExplanation],
    names: Sequence[str],
    findings: Findings,
) -> None:
    """Find answers that have nothing to do with the images, before anything else that looks wrong."""
    of_values = about.probability == "value"
    first = [np.append(one.logits[one.ranks == 1], one.predicted_class_id) for one in results]
    told = [one.logits for one in results] if of_values else first
    same_image = all(np.array_equal(example.image, examples[0].image) for example in examples)
    if answers.equal(told) and not same_image:
        findings.problems.insert(
            0,
            f"the model's numbers are the same for all {len(results)} records: nothing of the images is in them",
        )
    elif not of_values and about.pixels is None:  # the largest area is no guess at one label
        counted = chance.Answers(about.classes)
        for example, one in zip(examples, results, strict=True):
            counted.add(example.source.label_ids, one.predicted_class_id)
        findings.warnings[:0] = answers.findings(counted, names, few=True)


def method_maps(
    spec: specs.EngineSpec,
    targets: Collection[str],
    results: Sequence[explained.ImageExplanation],
    findings: Findings,
    stream: TextIO,
) -> None:
    """Count and judge the maps as the report of the run would: those of `targets`, and pairs of any two classes."""
    for method in spec.methods:
        health = map_health.MethodHealth(method.label, class_free=method.method in run_methods.CLASS_FREE)
        for one in results:
            maps = next((m for label, _, m in one.maps if label == method.label), None)
            if maps is None:
                continue
            wanted = [any(reason in targets for reason in reasons) for reasons in one.targets]
            health.add(map_statistics.health(maps[np.array(wanted)]))
            if len(maps) > 1 and np.isfinite(maps[:2]).all():
                health.add_pairs(maps[:1], maps[1:2])
        said = ", ".join(f"{n} {flag}" for flag, n in sorted(health.flags.items())) or "all healthy"
        compared = f"the same for two classes in {health.same} of {health.pairs} images" if health.pairs else ""
        by_design = ", by design" if health.class_free and health.same else ""
        stream.write(
            f"maps     {method.label}: {health.maps} maps, {said}{'; ' if compared else ''}{compared}{by_design}\n"
        )
        findings.facts["maps"].append(
            {
                "method": method.label,
                "maps": health.maps,
                "flags": dict(health.flags),
                "pairs": health.pairs,
                "same_for_two_classes": health.same,
            }
        )
        if health.maps and health.useless == health.maps:
            kinds = " or ".join(flag for flag in map_health.USELESS if health.flags[flag])
            findings.problems.append(
                f"every map of {method.label} is {kinds}: wrong target layer, scores or preprocessing"
            )
        findings.warnings += [f"{text}: {map_health.CAUSES[flag]}" for flag, text in health.alerts(min_pairs=2)]
