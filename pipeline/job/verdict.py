"""Whether the result of a job may be used, from what it counted; and what its manifest says of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import account, errors
from heatbeam.transforms.sources import losses, shard_sets

_NAMED = 5


class RunFailed(errors.UserError):
    """The run ended, and its result must not be used; the message says why."""

    status = 1


def manifest_parts(counted: account.Counted, warnings: Sequence[str]) -> dict[str, Any]:
    """What the manifest says of it: ``counts``, ``shards`` and ``warnings``, which `warnings` of before are part of."""
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
        "warnings": (*warnings, *_warnings(shards), *_of_boxes(counted.counts)),
    }


def check(counted: account.Counted, max_ratio: float, directory: run_directory.RunDirectory) -> None:
    """Refuse a result that must not be used.

    Args:
        counted: by the job.
        max_ratio: share of the records that may be lost.
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
    lost, in_all = counts.dead_letters + counts.lost, counts.records_read + counts.lost
    if lost > max_ratio * in_all:
        about = "about " * counts.lost_is_estimate
        behind = f": {counts.dead_letters:,} dead letters and {in_words(counts)}" if counts.lost else ""
        raise RunFailed(
            f"{about}{lost:,} of {in_all:,} records were lost ({lost / in_all:.1%}){behind}, more than "
            f"output.max_dead_letter_ratio = {max_ratio:.1%}; {directory.path_of('dead_letters')} says why"
        )


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
    few = "" if 2 * dropped < boxes else "; boxes must be fractions of the width and height of their image"
    return (
        f"{dropped:,} of {boxes:,} boxes were left out: they have no area, or stick out of their image by more than "
        f"input.box_tolerance{few}"
    )
