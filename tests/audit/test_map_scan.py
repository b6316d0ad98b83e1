"""The one pass over the maps: sums by arithmetic, the same for any batches."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pyarrow as pa
import pytest

from heatbeam.audit import map_scan
from heatbeam.transforms.tables import rows, schemas, stored_maps
from tests.support import audit_runs

HALF_0 = [f"i{k}" for k in range(40) if (zlib.crc32(f"i{k}".encode()) >> 3) & 1 == 0]
HALF_1 = [f"i{k}" for k in range(40) if (zlib.crc32(f"i{k}".encode()) >> 3) & 1 == 1]
SCHEMA = schemas.explanations(
    [schemas.ValueColumn(name) for name in audit_runs.VALUES], ["weather"], heatmap_dtype="int16"
)


def table(*given):
    return rows.explanation_table([audit_runs.localization(row) for row in given], SCHEMA, audit_runs.CLASS_NAMES)


def scan(batch, pieces=1, **changes):
    settings = {"primary_target": "label", "reference": "cam", "score_columns": ["energy_share", "rank"],
                "histogram_columns": ["energy_share"]} | changes  # fmt: skip
    scanner = map_scan.Scanner(batch.schema, **settings)
    for i in range(pieces):
        start, end = batch.num_rows * i // pieces, batch.num_rows * (i + 1) // pieces
        scanner.add(batch.slice(start, end - start))
    return scanner.result()


def test_energy_is_the_positive_part_divided_by_its_sum():
    batch = table(audit_runs.Row("a", ((3, -5), (1, 0))), audit_runs.Row("b", ((-1, -1), (-1, -1))))
    [(positions, energy)] = map_scan.energies(batch)
    assert positions.tolist() == [0]  # the second map has no energy
    np.testing.assert_allclose(energy, [[[0.75, 0], [0.25, 0]]], atol=1e-4)


def test_large_maps_are_averaged_down_and_keep_their_sum():
    raw = np.zeros((56, 56))
    raw[0, 0], raw[55, 55] = 3, 1
    [(_, energy)] = map_scan.energies(table(audit_runs.Row("a", raw.tolist())))
    assert energy.shape == (1, 28, 28)
    assert energy[0, 0, 0] == pytest.approx(0.75, abs=1e-4) and energy[0, 27, 27] == pytest.approx(0.25, abs=1e-4)


def areas(cells: int, most: int) -> np.ndarray:
    """The share of each old cell in each new one, ``(most, cells)``, by the lengths that they have in common."""
    edges = np.arange(most + 1)[:, None] * cells / most
    starts, ends = np.maximum(edges[:-1], np.arange(cells)), np.minimum(edges[1:], np.arange(cells) + 1)
    return np.maximum(ends - starts, 0)


@pytest.mark.parametrize(("shape", "grid"), [((70,), (28,)), ((18, 10, 24), (12, 10, 12)), ((1, 30, 5), (1, 28, 5))])
def test_series_and_volumes_are_averaged_down_along_each_axis(shape, grid):
    raw = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    [(_, energy)] = map_scan.energies(pa.table(stored_maps.encoded([raw[None]], pa.float32(), len(shape))))
    expected = np.maximum(raw, 0).astype(np.float64)
    for axis, (cells, most) in enumerate(zip(shape, grid, strict=True)):
        expected = np.moveaxis(np.tensordot(areas(cells, most), expected, (1, axis)), 0, axis)
    np.testing.assert_allclose(energy, (expected / expected.sum())[None], atol=1e-7)


def test_group_has_means_deviations_and_a_map_per_half():
    one, other = HALF_0[0], HALF_1[0]
    batch = table(
        audit_runs.Row(one, ((1, 0), (0, 0)), energy_share=0.2),
        audit_runs.Row(HALF_0[1], ((0, 1), (0, 0)), energy_share=0.6),
        audit_runs.Row(other, ((0, 0), (0, 1)), energy_share=math.nan),
    )
    [group] = scan(batch).groups(slice_name="all")
    assert (group.n, group.half_n, group.class_id, group.scope) == (3, (2, 1), 0, ("all", "all"))
    assert group.means["energy_share"] == pytest.approx((0.2 + 0.6) / 2)
    assert group.deviations["energy_share"] == pytest.approx(0.2)
    assert math.isnan(group.means["border_share"])  # the table has no such column
    np.testing.assert_allclose(group.halves[0], [[0.5, 0.5], [0, 0]])
    np.testing.assert_allclose(group.halves[1], [[0, 0], [0, 1]])
    np.testing.assert_allclose(group.mean_map, np.array([[1, 1], [0, 1]]) / 3)


def test_only_maps_of_the_primary_target_count_but_health_counts_all():
    batch = table(
        audit_runs.Row("a", targets=("label", "predicted")),
        audit_runs.Row("b", class_id=1, targets=("predicted",)),
    )
    found = scan(batch)
    assert [(g.class_id, g.n) for g in found.groups(slice_name="all")] == [(0, 1)]
    assert found.health["cam"].maps == 2 and found.scores.num_rows == 1


def test_health_flags_are_counted_per_method():
    batch = table(audit_runs.Row("a"), audit_runs.Row("b"), audit_runs.Row("c", method="layer_cam"))
    lists = pa.array([["blank", "constant"], ["blank"], []], batch.schema.field("health").type)
    batch = batch.set_column(batch.schema.get_field_index("health"), batch.schema.field("health"), lists)
    found = scan(batch)
    sick, well = found.health["cam"], found.health["layer_cam"]
    assert (sick.maps, sick.flags, sick.sick, sick.useless) == (2, {"blank": 2, "constant": 1}, 2, 2)
    assert (well.maps, well.flags, well.sick) == (1, {}, 0)


def test_ids_that_stand_for_several_records_are_found():
    batch = table(
        audit_runs.Row("a"), audit_runs.Row("a", class_id=1, targets=("label", "predicted")),  # two classes of a record
        audit_runs.Row("b"), audit_runs.Row("b", record=1),
        audit_runs.Row("c", method="layer_cam"), audit_runs.Row("c", record=5, method="layer_cam"),  # not the reference
    )  # fmt: skip
    assert scan(batch).ambiguous == scan(batch, 6).ambiguous == ["b"]


def test_histogram_has_the_ends_and_no_missing_values():
    values = (0.0, 0.005, 0.995, 1.0, math.nan)
    batch = table(*(audit_runs.Row(f"i{i}", energy_share=v) for i, v in enumerate(values)))
    counts = scan(batch).histograms["cam", "energy_share"]
    assert (counts[0], counts[-1], counts.sum()) == (2, 2, 4)


def test_slices_are_counted_for_the_reference_method_only():
    batch = table(
        audit_runs.Row("a", slice="rain"), audit_runs.Row("b", slice="sun"), audit_runs.Row("c"),
        audit_runs.Row("a", slice="rain", method="layer_cam"),
    )  # fmt: skip
    found = scan(batch)
    assert sorted((g.method, g.scope, g.n) for g in found.groups()) == [
        ("cam", ("all", "all"), 3), ("cam", ("weather", "rain"), 1), ("cam", ("weather", "sun"), 1),
        ("layer_cam", ("all", "all"), 1),
    ]  # fmt: skip


@pytest.mark.parametrize("pieces", [2, 5, 30])
def test_batches_do_not_change_the_sums(pieces):
    rng = np.random.default_rng(1)
    batch = table(
        *(
            audit_runs.Row(
                f"i{i}", rng.normal(size=(3, 4)).tolist(), class_id=i % 3, labels=(i % 3,),
                energy_share=rng.random(), slice=("rain", "sun")[i % 2],
            )
            for i in range(30)
        )
    )  # fmt: skip
    whole, parts = scan(batch), scan(batch, pieces)
    assert whole.scores.equals(parts.scores) and whole.health == parts.health
    for one, other in zip(whole.groups(), parts.groups(), strict=True):
        assert (one.scope, one.class_id, one.n, one.half_n) == (other.scope, other.class_id, other.n, other.half_n)
        np.testing.assert_allclose(one.halves, other.halves, atol=1e-12)
        assert one.means["energy_share"] == pytest.approx(other.means["energy_share"])


def test_maps_of_another_size_are_brought_to_the_first_one():
    batch = table(audit_runs.Row("a", ((1, 0), (0, 0))), audit_runs.Row("b", np.eye(4)[:, :4].tolist()))
    [group] = scan(batch).groups(slice_name="all")
    # The identity of 4 x 4 is, in 2 x 2 cells, half above left and half below right.
    np.testing.assert_allclose(
        group.mean_map, (np.array([[1, 0], [0, 0]]) + np.array([[0.5, 0], [0, 0.5]])) / 2, atol=1e-6
    )


def test_nothing_to_scan():
    found = scan(SCHEMA.empty_table())
    assert found.groups() == [] and found.scores.num_rows == 0 and not found.health
