"""Clusters of the heatmaps within a class: the different things that a model looks at to say one word.

The question is SpRAy's (Lapuschkin et al., Nature Communications 2019, arXiv:1902.10178). SpRAy cuts a graph of
nearest neighbours; here Ward's method (1963) joins maps bottom up, because a cut of that graph does not part a tight
group, such as the images with a watermark, from the few scattered ones without. The number of clusters is the one with
the best mean silhouette (Rousseeuw, 1987); where even that is poor, the maps are one cluster.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from sklearn import cluster, metrics

from heatbeam.audit import map_scan
from heatbeam.transforms.tables import stored_maps

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_MAPS = 20
"""Fewer maps are not clustered."""

MAX_MAPS = 1500
"""Of more maps a fixed sample, by hash of the image id."""

MAX_CLUSTERS = 6
MIN_SILHOUETTE = 0.35
"""Clusters that are told apart less than this (-1 to 1) are one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cluster:
    """Maps of a class that look alike.

    Attributes:
        n: how many.
        share: of the clustered maps.
        mean_map: their mean energy, ``(h, w)``, or of one or three axes.
        image_ids: nearest to it first.
    """

    n: int
    share: float
    mean_map: Floats
    image_ids: tuple[str, ...]


def cluster_class(table: ds.Dataset, method: str, target: str, class_id: int, examples: int) -> list[Cluster]:
    """Clusters of the maps of one class, the largest first; none if there are fewer than `MIN_MAPS` maps.

    Args:
        table: the explanations.
        method: whose maps.
        target: that they were explained for.
        class_id: of the class.
        examples: image ids per cluster.
    """
    names, maps = _maps(table, method, target, class_id)
    if len(maps) < MIN_MAPS:
        return []
    labels = ward_clusters(maps)
    found = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        mean = maps[rows].mean(axis=0)
        distance = ((maps[rows] - mean) ** 2).sum(axis=tuple(range(1, maps.ndim)))
        order = sorted(range(len(rows)), key=lambda i: (distance[i], names[rows[i]]))
        nearest = tuple(names[rows[i]] for i in order[:examples])
        found.append(Cluster(len(rows), len(rows) / len(maps), mean, nearest))
    return sorted(found, key=lambda one: (-one.n, one.image_ids))


def _maps(table: ds.Dataset, method: str, target: str, class_id: int) -> tuple[list[str], Floats]:
    """Image ids and energy ``(N, *grid)``, ordered by id; of several shapes of map the most frequent."""
    columns = ["image_id", "targets", *stored_maps.columns(table.schema.names)]
    condition = (pc.field("method") == method) & (pc.field("class_id") == class_id)
    found: dict[tuple[int, ...], list[tuple[str, Floats]]] = {}
    for batch in map_scan.batches(table, columns, condition):
        chosen = batch.filter(pa.array(map_scan.has_target(batch["targets"], target)))
        for rows, energy in map_scan.energies(chosen):
            ids = chosen["image_id"].take(pa.array(rows)).to_pylist()
            found.setdefault(energy.shape[1:], []).extend(zip(ids, energy, strict=True))
    same = max(found.values(), key=len, default=[])
    sample = sorted(same, key=lambda item: (zlib.crc32(item[0].encode()), item[0]))[:MAX_MAPS]
    sample.sort(key=lambda item: item[0])
    return [name for name, _ in sample], np.array([energy for _, energy in sample])


def ward_clusters(maps: Floats) -> Ints:
    """Cluster number of each map, from 0.

    Args:
        maps: ``(N, h, w)``, or of one or three axes, energy: each sums to 1.
    """
    # Square roots of shares: the Euclidean distance then is Hellinger's, which does not let one strong cell decide.
    points = np.sqrt(maps.reshape(len(maps), -1))
    best, labels = MIN_SILHOUETTE, np.zeros(len(points), np.int64)
    for count in range(2, min(MAX_CLUSTERS, len(points) - 1) + 1):
        found = cluster.AgglomerativeClustering(count, linkage="ward").fit_predict(points)
        score = metrics.silhouette_score(points, found)
        if score > best:
            best, labels = score, found.astype(np.int64)
    return labels
