"""A run as the pages of the explorer know it: its tables, its pictures, and what can be chosen in it."""

from __future__ import annotations

import dataclasses
import functools
import getpass
from collections.abc import Mapping, Sequence

from heatbeam.explore import pictures, views
from heatbeam.explore import table as tables
from heatbeam.pages.signals import of_rows, shown
from heatbeam.runs import manifests, moved_images, reviews, run_directory, run_methods, summaries
from heatbeam.transforms.metrics import map_statistics, paired, slicing
from heatbeam.transforms.metrics.localization import baselines
from heatbeam.transforms.tables import axis_columns, schemas

_MASKS = frozenset({"instance_masks", "semantic_mask"})
_OF_MASKS = frozenset({"pxap", "mean_mask_iou"})


@dataclasses.dataclass(frozen=True, eq=False)
class ShownRun:
    """One run.

    Attributes:
        side: ``a``, or ``b`` for the second of two; begins the paths of its pages.
        path: of the run, as it was given.
        run: the directory.
        manifest: of the run, with settings that lead to the images.
        table: its rows.
        pictures: of its rows.
        numbers: the summary.
        marks: of people.
        kind: of the signals, as of `shown.Signal`; empty for pictures and bands.
    """

    side: str
    path: str
    run: run_directory.RunDirectory
    manifest: manifests.Finished
    table: tables.Table
    pictures: pictures.Pictures
    numbers: Mapping[summaries.Key, paired.Mean]
    marks: reviews.Reviews
    kind: str

    def subject(self, row: tables.Row) -> reviews.Subject:
        """What a mark of a row is about."""
        labels = row["label_ids"] or ()
        return reviews.Subject(row, (labels[0], self.class_name(labels[0])) if labels else None)

    @property
    def title(self) -> str:
        """What the run is called."""
        return self.run.path.rstrip("/").rsplit("/", 1)[-1] or self.run.path

    @functools.cached_property
    def class_names(self) -> Sequence[str]:
        """By class id; empty where the run does not know them."""
        return slicing.distinct_names(self.manifest.class_names)

    def class_name(self, class_id: int) -> str:
        """The name of a class, or its number."""
        names = self.class_names
        return names[class_id] if 0 <= class_id < len(names) else f"class_{class_id}"

    @functools.cached_property
    def methods(self) -> list[str]:
        """Methods in the order of the configuration, then what else the summary has, without fixed maps."""
        configured = list(run_methods.by_label(self.manifest))
        known = {method for method, *_ in self.numbers} - {slicing.MODEL, *baselines.BASELINES}
        return configured + sorted(known - set(configured))

    @functools.cached_property
    def reference(self) -> str:
        """The method that is shown first: the first that is no baseline."""
        controls = run_methods.controls(self.manifest)
        return next((one for one in self.methods if one not in controls), next(iter(self.methods), ""))

    @functools.cached_property
    def targets(self) -> list[str]:
        """Why classes were explained."""
        return [f"class_{one}" if isinstance(one, int) else one for one in self.manifest.config.explain.targets]

    @functools.cached_property
    def slices(self) -> dict[str, list[str]]:
        """Values of each slice feature, as the summary has them."""
        found: dict[str, set[str]] = {
            name[len(schemas.SLICE_PREFIX) :]: set()
            for name in self.table.schema.names
            if name.startswith(schemas.SLICE_PREFIX)
        }
        for _, name, value, _ in self.numbers:
            if name in found:
                found[name].add(value)
        return {name: sorted(values) for name, values in found.items()}

    @functools.cached_property
    def masks(self) -> bool:
        """Whether there may be true masks: they were measured, or the configuration names their feature."""
        given = self.manifest.config.input.features_given or ()
        return not _MASKS.isdisjoint(given) or any(metric in _OF_MASKS for *_, metric in self.numbers)

    @property
    def health(self) -> list[str]:
        """Flags of sick maps."""
        return list(map_statistics.HEALTH_FLAGS)

    def start(self) -> views.View:
        """The view that is shown first."""
        target = self.manifest.primary_target
        return views.View(method=self.reference, target=target)

    def address(self, view: views.View) -> str:
        """Where the rows of a view are shown."""
        return f"/{self.side}/grid?{view.address()}"


def _user() -> str:
    """Who is at the machine; nobody where it does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def opened(side: str, path: str, images: str | None) -> ShownRun:
    """Open a finished run.

    Raises:
        run_directory.RunDirectoryError: if it is not finished or damaged.
    """
    run = run_directory.RunDirectory(path)
    manifest = run.read_manifest()
    located = moved_images.located(manifest, images)
    table = tables.Table(run)
    rank = axis_columns.rank_of(table.schema.names)
    axes = of_rows.axes_of(manifest)
    kind = "" if rank == 2 else shown.kind_of(axes) if len(axes) == rank else {1: "series", 3: "volume"}[rank]
    return ShownRun(
        side=side,
        path=path,
        run=run,
        manifest=manifests.Finished.model_validate({**dict(manifest), "config": located.config}),
        table=table,
        pictures=pictures.Pictures(table, located),
        numbers=summaries.read(run),
        marks=reviews.Reviews(path, manifest.run_id or "", _user()),
        kind=kind,
    )
