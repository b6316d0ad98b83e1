"""``heatbeam shards``: the images of a folder or an annotation file as TFRecord shards, by a Beam job of its own.

The launcher reads what the source says of its images and writes it down, shard by shard; the workers read the images.
Which image goes into which shard, and where, follows from its id alone, so the same source gives the same bytes.

Leaves::

    DIR/SPLIT-00000-of-00008.tfrecord ...   the records, as `encoding` makes them
    DIR/class_names.txt                     one name a line, in the order of the ids
    DIR/shards.json                         what is in them, by which conventions; counts (`manifest`)
    DIR/dead_letters/part-*.parquet         one row for each image that is not in them, with the reason
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import apache_beam as beam
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options

from heatbeam import command, config
from heatbeam.job import failures, progress
from heatbeam.prepare import encoding, formats, items, places, steps
from heatbeam.prepare.formats import asked
from heatbeam.runners import runner_options
from heatbeam.runs import remote_files
from heatbeam.transforms import account, errors, records, write
from heatbeam.transforms.sources import box_conventions, tfrecord
from heatbeam.transforms.tables import schemas

MANIFEST, CLASS_NAMES, DEAD_LETTERS = "shards.json", "class_names.txt", "dead_letters"
_WORKING = "unfinished"
_COUNTS = "counts.json"
_SHARD_IMAGES = 1024
_LEAST_SHARDS, _LEAST_IMAGES = 8, 8
"""Shards are what workers share, so there are so many as soon as each has so many images."""
_MOST_NAMES = 10_000
_ROW_GROUP = write.Limits(rows=1024, bytes=1 << 24, compression_level=3)


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        source: what is asked of which source.
        out: the directory of the shards.
        shards: of each split; None for as many as its images ask for. Sources that hold their images, such as
            Parquet, have one for each of their parts.
        masks: whether masks are written.
        overwrite: whether shards that are in `out` are replaced.
        max_dead_letter_ratio: share of images that may be lost.
        runner: where the job runs.
    """

    source: asked.Asked
    out: str
    shards: int | None = None
    masks: bool = True
    overwrite: bool = False
    max_dead_letter_ratio: float = 0.05
    runner: config.RunnerConfig = dataclasses.field(default_factory=config.RunnerConfig)


class ShardsFailed(errors.UserError):
    """The job ended, and its shards must not be used; the message says why."""

    status = 1


def make(job: Job, beam_options: Sequence[str], stream: TextIO) -> dict[str, Any]:
    """Write the shards; the content of their `MANIFEST`.

    Args:
        job: what is to be done.
        beam_options: Beam's own options.
        stream: where to say what is going on.

    Raises:
        errors.UserError: the source cannot be read, or `out` is taken.
        ShardsFailed: nothing was written, too much was lost, or the counts do not add up.
    """
    if job.shards is not None:
        errors.check_at_least_one("--shards", job.shards)
    arguments = runner_options.beam_arguments(job.runner, beam_options)
    with runner_options.connected(arguments):
        out = places.absolute(job.out)
        _check_free(out, overwrite=job.overwrite)
        command.waiting(f"listing the images of {job.source.source}", stream)
        listing = formats.listing(job.source)
        how = encoding.Encoding(
            listing.class_ids, listing.names, listing.several, listing.boxes or box_conventions.USUAL, job.masks
        )
        working = filesystems.FileSystems.join(out, _WORKING)
        try:
            plans, images = _plans(listing, working, job.shards)
            of = f"{images:,} images, " if images is not None else ""
            stream.write(f"{listing.title}: {of}{len(plans):,} shards to write to {job.out}\n")
            stream.flush()
            with progress.shown(stream, so_far(images)):
                counts = _counted(plans, out, how, arguments)
        finally:
            with contextlib.suppress(OSError, errors.PathError):
                # An object store has no folders to be removed with what is in them.
                filesystems.FileSystems.delete([f"{working}/{path}" for path in places.below(working)])
                if not remote_files.is_remote(working):
                    filesystems.FileSystems.delete([working])
        _check(counts, job)
        return _finish(listing, how, counts, out, job)


def _check_free(out: str, *, overwrite: bool) -> None:
    """Refuse a directory that holds something; remove shards of this command's where they may go."""
    here = list(places.below(out)) if places.is_folder(out) else []
    if not here:
        return
    if MANIFEST not in here:
        raise errors.PathError(f"{out} holds files that are no shards of heatbeam's; give another --out")
    if not overwrite:
        raise errors.PathError(f"{out} already holds shards; give another --out, or --overwrite to replace them")
    ours = [
        path
        for path in here
        if path in (MANIFEST, CLASS_NAMES) or path.endswith(".tfrecord") or path.startswith((DEAD_LETTERS, _WORKING))
    ]
    with errors.about(out, "replace"):
        filesystems.FileSystems.delete([filesystems.FileSystems.join(out, path) for path in ours])


def _plans(listing: items.Listing, working: str, shards: int | None) -> tuple[list[steps.ShardPlan], int | None]:
    """The files to write, and how many images go into them, where the launcher knows it.

    What goes into each is written down in `working` then.
    """
    pieces: dict[str, list[items.Piece]] = {}
    for piece in listing.pieces:
        pieces.setdefault(piece.split, []).append(piece)
    by_split: dict[str, list[tuple[bytes, bytes]]] = {}
    for split, item in listing.items:
        place = hashlib.sha256(item.image_id.encode()).digest()  # a mixture, and the same one every time
        by_split.setdefault(split, []).append((place, item.to_json()))
    for split, stored in by_split.items():
        stored.sort()
        count = shards or shard_count(len(stored))
        for number in range(count):
            path = filesystems.FileSystems.join(working, f"{split}-{number:05d}.list")
            places.write(path, b"".join(tfrecord.framed(one) for _, one in stored[number::count]))
            pieces.setdefault(split, []).append(items.Piece(split, steps.listed, (path,)))
    if not pieces:
        raise ShardsFailed(f"the {listing.title} names no image; nothing was written")
    plans = [
        steps.ShardPlan(f"{split}-{number:05d}-of-{len(parts):05d}.tfrecord", part)
        for split, parts in pieces.items()
        for number, part in enumerate(parts)
    ]
    return plans, listing.images if listing.pieces else sum(len(stored) for stored in by_split.values())


def so_far(total: int | None) -> progress.InWords:
    """How the job is doing that has so many images to read, None where only workers know."""

    def in_words(counts: Mapping[str, int], elapsed_s: float) -> str:
        read, lost = counts.get("images_read", 0), counts.get("dead_letters", 0)
        if not read:
            return f"waiting for the first image since {progress.duration(elapsed_s)}"
        of = f" of {total:,}" if total is not None else ""
        parts = [f"{read:,}{of} images read", f"{read / max(elapsed_s, 1e-9):.1f} images/s"]
        if lost:
            parts.append(f"{lost:,} dead letters")
        if total is not None and read < total:
            parts.append(f"about {progress.duration(elapsed_s * (total - read) / read)} left")
        return ", ".join(parts)

    return in_words


def shard_count(images: int) -> int:
    """How many shards so many images ask for: one for 1,024, and 8 as soon as each has 8 images."""
    return max(-(-images // _SHARD_IMAGES), min(_LEAST_SHARDS, images // _LEAST_IMAGES), 1)


def _counted(
    plans: Sequence[steps.ShardPlan], out: str, how: encoding.Encoding, arguments: Sequence[str]
) -> Mapping[str, int]:
    """What the job counted while it wrote the shards and the dead letters."""
    join = filesystems.FileSystems.join
    working, counts = join(out, _WORKING), join(out, _WORKING, _COUNTS)
    pipeline = beam.Pipeline(options=pipeline_options.PipelineOptions(list(arguments)))
    written = pipeline | "Pieces" >> beam.Create(list(plans)) | "Write" >> steps.WriteShards(out, working, how)
    letters = written[records.DEAD_LETTER_TAG]
    _ = letters | "WriteDeadLetters" >> write.WriteDeadLetters(
        join(out, DEAD_LETTERS), schemas.DEAD_LETTERS, _ROW_GROUP
    )
    _ = {account.AMOUNTS: written[steps.AMOUNTS_TAG], "letters": letters} | "Account" >> account.Account(counts)
    failures.run_to_the_end(pipeline, ShardsFailed)
    return account.read_counts(counts).counts


def _check(counts: Mapping[str, int], job: Job) -> None:
    read, written, lost = (counts.get(name, 0) for name in (steps.READ, steps.WRITTEN, steps.LOST))
    if read != written + lost or lost != counts["letters"]:
        raise ShardsFailed(
            f"the counts do not add up, so the shards must not be used: {read} images read, {written} written, {lost} "
            f"lost, {counts['letters']} dead letters"
        )
    if not written or lost > job.max_dead_letter_ratio * read:
        where = filesystems.FileSystems.join(job.out, DEAD_LETTERS)
        raise ShardsFailed(
            f"{lost:,} of {read:,} images were lost, more than --max-dead-letter-ratio {job.max_dead_letter_ratio:g}; "
            f"{where} says why"
        )


def _finish(
    listing: items.Listing, how: encoding.Encoding, counts: Mapping[str, int], out: str, job: Job
) -> dict[str, Any]:
    """Write the class names and, last, the manifest."""
    join = filesystems.FileSystems.join
    names = listing.names
    if names is None:
        seen = list(_named(counts, steps.CLASS))
        names = tuple(seen) if 0 < len(seen) <= _MOST_NAMES and not any("\n" in name for name in seen) else None
    if names is not None:
        places.write(join(out, CLASS_NAMES), "".join(f"{name}\n" for name in names).encode())
    manifest = {
        "heatbeam": importlib.metadata.version("heatbeam"),
        "format": listing.title,
        "source": job.source.source,
        "splits": {
            split: {"files": files, "bytes": counts.get(steps.BYTES + split, 0)}
            for split, files in _named(counts, steps.FILES).items()
        },
        "counts": {name: counts.get(name, 0) for name in (steps.READ, steps.WRITTEN, steps.LOST)},
        "classes": None if names is None else len(names),
        "input": dict(_settings(how, listing, names, ignored=counts.get(steps.IGNORED, 0) > 0)),
        "slices": [
            encoding.slice_name(name) for name in dict.fromkeys((*listing.slices, *_named(counts, steps.SLICE)))
        ],
        "left_out": dict(sorted({**listing.left_out, **_named(counts, steps.UNUSED)}.items())),
    }
    places.write(join(out, MANIFEST), json.dumps(manifest, indent=2).encode() + b"\n")
    return manifest


def _named(counts: Mapping[str, int], start: str) -> dict[str, int]:
    """The amounts whose names begin with `start`, by the rest of the name."""
    return {name[len(start) :]: number for name, number in sorted(counts.items()) if name.startswith(start)}


def _settings(
    how: encoding.Encoding, listing: items.Listing, names: Sequence[str] | None, *, ignored: bool
) -> Iterator[tuple[str, Any]]:
    """The settings of a run's ``input`` that say what the records hold, where they are not the usual ones."""
    features: dict[str, str | None] = {}
    if how.several:
        features |= {"label": None, "labels": encoding.LABELS}
    if ignored:
        features["ignore_mask"] = encoding.IGNORED
    if features:
        yield "features", features
    if names is not None or listing.class_ids is not None:
        yield "label_form", "ids" if listing.class_ids is not None else "names"
    if names is not None:
        yield "class_names", CLASS_NAMES


def print_result(manifest: Mapping[str, Any], out: str, stream: TextIO) -> None:
    """What was written, what was lost and what had no place."""
    counts = manifest["counts"]
    lost = f"; {filesystems.FileSystems.join(out, DEAD_LETTERS)} says why" if counts[steps.LOST] else ""
    stream.write(
        f"{counts[steps.READ]:,} images read = {counts[steps.WRITTEN]:,} written + {counts[steps.LOST]:,} dead letters"
        f"{lost}\n"
    )
    for split, found in manifest["splits"].items():
        path = filesystems.FileSystems.join(out, f"{split}-*.tfrecord")
        stream.write(f"  {path:<48} {found['files']:>6,} shards {found['bytes'] / 1e6:>10.2f} MB\n")
    if manifest["classes"] is not None:
        path = filesystems.FileSystems.join(out, CLASS_NAMES)
        stream.write(f"  {path:<48} {manifest['classes']:>6,} classes\n")
    if manifest["slices"]:
        stream.write(f"  further columns, for evaluate.slices: {', '.join(manifest['slices'])}\n")
    stream.writelines(f"not taken over: {number:,} {what}\n" for what, number in manifest["left_out"].items())
