"""Whether the result of a job may be used, from what it counted; and what its manifest says of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heatbeam import config
from heatbeam.job import held_features
from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import account, errors, read, records
from heatbeam.transforms.sources import losses, shard_sets

_NAMED = 5


class RunFailed(errors.UserError):
    """The run ended, and its result must not be used; the message says why."""

    status = 1


def manifest_parts(counted: account.Counted, manifest: manifests.Manifest) -> dict[str, Any]:
    """What `manifest` is to say of it: ``counts``, ``shards`` and ``warnings``, those that it has among them."""
    shards = losses.estimated(counted.shards.values())
    return {
        "counts": manifests.Counts.model_validate(account.totals(counted)),
        "shards": tuple(
            manifests.Shard(
                name=shard.name,
                bytes=shard.bytes,
                records_read=shard.records,
                lost=shard.lost,
                lost_is_estimate=shard.is_estimate,
                damage=shard.damage or None,
            )
            for shard in shards
        ),
        "warnings": (
            *manifest.warnings,
            *_warnings(shards),
            *_held(counted, manifest.config).warnings,
            *_of_boxes(counted.counts),
        ),
    }


def check(counted: account.Counted, settings: config.RunConfig, directory: run_directory.RunDirectory) -> None:
    """Refuse a result that must not be used.

    Args:
        counted: by the job.
        settings: of the run.
        directory: of the run.

    Raises:
        RunFailed: saying why.
    """
    problems = account.problems(counted)
    if problems:
        raise RunFailed("the counts do not add up, so the tables must not be used: " + "; ".join(problems))
    counts = manifests.Counts.model_validate(account.totals(counted))
    if counts.records_read == 0:
        raise RunFailed("no record was read; the shards are empty")
    max_ratio = settings.output.max_dead_letter_ratio
    lost, in_all = _lost(counted.counts, counts), counts.records_read + counts.lost
    if lost > max_ratio * in_all:
        about = "about " * (counts.lost_is_estimate or bool(counts.not_needed))
        behind = f": {counts.dead_letters:,} dead letters and {in_words(counts)}" if counts.lost else ""
        raise RunFailed(
            f"{about}{lost:,} of {in_all:,} records were lost ({lost / in_all:.1%}){behind}, more than "
            f"output.max_dead_letter_ratio = {max_ratio:.1%}; {directory.path_of('dead_letters')} says why"
        )
    meaningless = [*_without_meaning(counted, counts, settings)]
    if meaningless:
        raise RunFailed("; ".join(meaningless))


def _lost(counted: Mapping[str, int], counts: manifests.Counts) -> int:
    """Dead letters and what is lost behind damage; where a part is explained, as many as the whole would have.

    What cannot be read is told of the whole, what cannot be decoded or explained of the part. There one alone says
    nothing of the others: of the few images of a first look it would be more than many a limit, in any healthy dataset.
    """
    read = counted["dead_letters_read"]
    later, parsed, left = counts.dead_letters - read, counted["parsed"], counts.not_needed or 0
    return read + counts.lost + (round(later * (parsed + left) / parsed) if later > 1 else later)


def _without_meaning(counted: account.Counted, counts: manifests.Counts, settings: config.RunConfig) -> Iterator[str]:
    """Why a result that adds up answers no question."""
    if not counts.images_explained:
        targets = ", ".join(map(str, settings.explain.targets))
        yield (
            f"nothing was explained: of {counts.records_read:,} records {counts.images_skipped:,} have no target "
            f"(explain.targets is {targets}) and {counts.dead_letters:,} are dead letters"
        )
    yield from _held(counted, settings).problems
    boxes = counted.counts.get("boxes", 0)
    if boxes and boxes == counts.dropped_boxes:
        yield f"{boxes_in_words(boxes, boxes)}; to do without boxes, set their names in input.features to null"


def _held(counted: account.Counted, settings: config.RunConfig) -> held_features.Findings:
    prefix = read.HELD_PREFIX
    holding = {name.removeprefix(prefix): n for name, n in counted.counts.items() if name.startswith(prefix)}
    parsed = counted.counts["parsed"] + counted.counts.get(records.NOT_NEEDED, 0)
    return held_features.findings(settings, parsed, holding)


def in_words(counts: manifests.Counts) -> str:
    """What was lost behind damage: ``about 297 more behind damage in their shards``."""
    return f"{'about ' * counts.lost_is_estimate}{counts.lost:,} more behind damage in their shards"


def _warnings(shards: Sequence[losses.ShardLoss]) -> Iterator[str]:
    empty = [shard.name for shard in shards if shard.bytes and not shard.records and not shard.lost]
    if empty:
        yield f"{len(empty):,} of {len(shards):,} shards hold no record: {shard_sets.listed(empty)}"
    damaged = [shard for shard in shards if shard.damage]
    for shard in damaged[:_NAMED]:
        about = "about " * shard.is_estimate
        yield (
            f"{shard.name} could not be read to its end ({shard.damage}): {shard.records - 1:,} records came before, "
            f"{about}{shard.lost + 1:,} are lost"
        )
    if len(damaged) > _NAMED:
        more = damaged[_NAMED:]
        about = "about " * any(shard.is_estimate for shard in more)
        lost = sum(shard.lost + 1 for shard in more)
        yield f"{len(more):,} more shards could not be read to their ends: {about}{lost:,} records are lost"


def _of_boxes(counts: Mapping[str, int]) -> Iterator[str]:
    boxes, dropped = counts.get("boxes", 0), counts.get("dropped_boxes", 0)
    if dropped:
        yield boxes_in_words(boxes, dropped)


def boxes_in_words(boxes: int, dropped: int) -> str:
    """What is said of the boxes that could not be used."""
    few = (
        ""
        if 2 * dropped < boxes
        else "; see input.box_units, box_order, box_origin and box_end for what their numbers are"
    )
    return (
        f"{dropped:,} of {boxes:,} boxes were left out: they have no area, or stick out of their image by more than "
        f"input.box_tolerance{few}"
    )
