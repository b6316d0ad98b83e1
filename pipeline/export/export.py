"""``heatbeam export RUN``: chosen rows as a dataset on disk that other tools open as it is.

``huggingface`` (`export_huggingface`) has a row per explanation, ``fiftyone`` (`export_fiftyone`) a sample per image.
Neither library is needed to write its format. ``nifti`` (`export_nifti`) is for volumes and needs nibabel.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

from heatbeam.export import export_fiftyone, export_huggingface, export_nifti, export_samples, nifti_files
from heatbeam.pages.signals import of_rows, shown
from heatbeam.runs import chosen_rows, manifests, moved_images, remote_files, run_directory
from heatbeam.transforms import errors, records
from heatbeam.transforms.tables import axis_columns

FORMATS = ("fiftyone", "huggingface", "nifti")
_ENTRIES = {
    export_samples.IMAGES, *export_fiftyone.ENTRIES, *export_huggingface.ENTRIES, *export_nifti.ENTRIES
}  # fmt: skip
"""Whatever stands directly in a dataset that was written here."""

_KINDS = {"series": "series", "bands": "pictures", "volume": "volumes", "clip": "clips"}
_DRAWN = "heatbeam render draws them, and the tables hold every number"


class ExportError(errors.UserError, ValueError):
    """The rows cannot be exported there; the message says why."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        directory: where.
        rows: explanations that were written.
        matched: explanations that fulfil the condition; more than `rows` if there was a limit.
        images: images they belong to.
        with_image: of these, how many could be read from their shards.
        problems: why the others could not.
    """

    directory: str
    rows: int
    matched: int
    images: int
    with_image: int
    problems: tuple[str, ...]


def export(
    run_path: str,
    directory: str,
    file_format: str,
    *,
    where: str,
    limit: int,
    longest_px: int,
    images: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write chosen rows of a run as a dataset.

    Args:
        run_path: a finished run.
        directory: for the dataset; made if it is not there.
        file_format: one of `FORMATS`.
        where: SQL condition over the columns of ``explanations``; empty for every row.
        limit: at most so many rows, in order of image, method and class.
        longest_px: longer side of heatmaps and overlays; images keep their size.
        images: where the images are now, if they were moved; see `moved_images.located`.
        overwrite: replace the dataset that an export has written there; a folder with anything else in it is refused.

    Raises:
        ExportError: if the format is unknown, a number is below 1, nothing fulfils the condition, or the directory
            holds something.
        chosen_rows.ConditionError: if the condition is wrong.
        run_directory.RunDirectoryError: if the run is not finished.
        errors.PathError: if `directory` is not on this machine or cannot be written.
    """
    target = remote_files.local_folder(directory, "--to")
    _check(target, file_format, {"--limit": limit, "--longest-px": longest_px}, overwrite=overwrite)
    run = run_directory.RunDirectory(run_path)
    manifest = moved_images.located(run.read_manifest(), images)
    table, matched = chosen_rows.choose(run, where, limit, run.open_table("explanations").schema.names)
    if not table.num_rows:
        raise ExportError(f"no row of {run_path} fulfils --where {where!r}; there is nothing to export")
    _check_kind(file_format, axis_columns.rank_of(table.column_names), manifest)
    problems: list[str] = []
    about = {"run": run_path, "where": where, "heatbeam": manifest.heatbeam}
    with errors.about(directory, "write"):
        if overwrite and target.exists():
            shutil.rmtree(target)
        if file_format == "nifti":
            image_count, found = export_nifti.write(target, table, manifest, about, problems)
            return Exported(directory, table.num_rows, matched, image_count, found, tuple(problems))
        (target / export_samples.IMAGES).mkdir(parents=True)
    samples = export_samples.samples(table, manifest, target, problems)
    if file_format == "huggingface":
        found = export_huggingface.write(target, table, samples, longest_px)
    else:
        found = export_fiftyone.write(target, table, samples, manifest.class_names, about, longest_px)
    image_count = len(list((target / export_samples.IMAGES).iterdir()))
    return Exported(directory, table.num_rows, matched, image_count, found, tuple(problems))


def _check_kind(file_format: str, rank: int, manifest: manifests.Manifest) -> None:
    """Refuse a format that has no place for the inputs of the run."""
    kind = _KINDS[shown.kind_of(of_rows.axes_of(manifest) or records.plain_axes(rank))]
    if file_format == "nifti":
        if kind != "volumes":
            raise ExportError(f"--format nifti is for volumes; the inputs of this run are {kind}: {_DRAWN}")
        nifti_files.check_installed()
    elif kind != "pictures":
        other = "give --format nifti; " if kind == "volumes" else ""
        raise ExportError(f"--format {file_format} is for pictures; the inputs of this run are {kind}: {other}{_DRAWN}")


def _check(target: pathlib.Path, file_format: str, sizes: dict[str, int], *, overwrite: bool) -> None:
    if file_format not in FORMATS:
        raise ExportError(f"unknown format {file_format!r}; expected one of {', '.join(FORMATS)}")
    for name, value in sizes.items():
        if value < 1:
            raise ExportError(f"{name} is {value}; expected 1 or more")
    if overwrite and target.is_dir():
        if others := sorted({path.name for path in target.iterdir()} - _ENTRIES):
            raise ExportError(f"{target} holds {others[0]}, which no export writes; it is not removed")
    elif target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ExportError(
            f"{target} is there and not empty; give a new directory, or --overwrite to replace an exported dataset"
        )
