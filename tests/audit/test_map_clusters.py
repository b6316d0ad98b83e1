"""Clusters of maps: groups that were drawn are found, and one group stays one."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit import map_clusters
from heatbeam.runs import run_directory
from tests.support import report_runs


def drawn(places, counts, seed=0):
    """Energy maps of 8 x 8 cells with a bump near each of `places`, and which place each belongs to."""
    rng = np.random.default_rng(seed)
    maps, labels = [], []
    for label, (place, count) in enumerate(zip(places, counts, strict=True)):
        for _ in range(count):
            x, y = np.array(place) + 0.02 * rng.normal(size=2)
            one = report_runs._spot(x, y) + 0.02 * rng.random((8, 8))
            maps.append(one / one.sum())
            labels.append(label)
    return np.array(maps), np.array(labels)


@pytest.mark.parametrize(
    ("places", "counts"),
    [([(0.1, 0.1), (0.6, 0.6)], [30, 40]), ([(0.1, 0.1), (0.9, 0.1), (0.5, 0.8)], [25, 30, 35])],
    ids=["two", "three"],
)
def test_drawn_groups_are_found(places, counts):
    maps, labels = drawn(places, counts)
    found = map_clusters.ward_clusters(maps)
    assert len(np.unique(found)) == len(counts)
    # The same partition, whatever the numbers.
    assert len({(a, b) for a, b in zip(labels.tolist(), found.tolist(), strict=True)}) == len(counts)


def test_a_few_scattered_maps_are_parted_from_a_tight_group():
    tight, _ = drawn([(0.1, 0.1)], [60])
    rng = np.random.default_rng(1)
    scattered, _ = drawn(rng.uniform(0.4, 0.9, (8, 2)).tolist(), [1] * 8)
    found = map_clusters.ward_clusters(np.concatenate([tight, scattered]))
    assert len(set(found[:60].tolist())) == 1 and found[0] not in found[60:]


def test_one_group_stays_one():
    maps, _ = drawn([(0.5, 0.5)], [60])
    assert np.unique(map_clusters.ward_clusters(maps)).tolist() == [0]


def test_clusters_of_a_class_of_a_run(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=24, truth=False, shard=False))
    table = run_directory.RunDirectory(path).open_table("explanations")
    found = map_clusters.cluster_class(table, "cam", "label", 2, 3)
    assert sum(one.n for one in found) == 24 and sum(one.share for one in found) == pytest.approx(1)
    assert all(one.mean_map.sum() == pytest.approx(1) for one in found)
    # Every map of the planted class is the same spot in the upper left corner.
    assert all(one.mean_map[:4, :4].sum() > 0.95 for one in found)
    assert map_clusters.cluster_class(table, "cam", "label", 99, 3) == []


def test_few_maps_are_not_clustered(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=5, truth=False, shard=False))
    table = run_directory.RunDirectory(path).open_table("explanations")
    assert map_clusters.cluster_class(table, "cam", "label", 0, 3) == []
