"""The columns of a raw map: what is written is read again, row by row and by size."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam.transforms import heatmaps, write
from heatbeam.transforms.tables import schemas, stored_maps

MAPS = [np.array(one, np.float32) for one in ([[1, -2], [0, 4]], [[3, 1, 2]], [[8, 4], [2, -1]])]


def table_of(value_type: pa.DataType) -> pa.Table:
    """One row for each of `MAPS`, in two chunks."""
    table = pa.table(stored_maps.encoded([one[None] for one in MAPS], value_type))
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


@pytest.mark.parametrize("dtype", schemas.HEATMAP_DTYPES)
def test_every_way_of_reading_gives_the_same_maps(dtype: str) -> None:
    table = table_of({"int16": pa.int16(), "float32": pa.float32()}[dtype])
    stored = stored_maps.StoredMaps(table)
    assert stored.shapes.tolist() == [[2, 2], [1, 3], [2, 2]]
    assert [rows.tolist() for rows in stored.by_shape()] == [[1], [0, 2]]
    each = stored.each()
    for got, want, row in zip(each, MAPS, table.to_pylist(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=np.abs(want).max() / 32767 / 2 * 1.001 if dtype == "int16" else 0)
        np.testing.assert_array_equal(stored_maps.raw_map(row), got)
    np.testing.assert_array_equal(stored.maps(np.array([0, 2])), [each[0], each[2]])
    np.testing.assert_array_equal(stored.maps(slice(1, 2)), [each[1]])
    assert stored.cells(slice(2, 3))[0, 0, 0] == (32767 if dtype == "int16" else 8)


def test_a_part_of_a_table_has_its_own_rows() -> None:
    stored = stored_maps.StoredMaps(table_of(pa.float32()).slice(1))
    np.testing.assert_array_equal(stored.maps(slice(1, 2))[0], MAPS[2])
    np.testing.assert_array_equal(stored.each()[0], MAPS[1])
    assert stored_maps.StoredMaps(table_of(pa.int16()).slice(0, 0)).each() == []


def test_a_table_without_shapes_is_read_by_height_and_width() -> None:
    table = table_of(pa.int16())
    old = table.drop_columns(["heatmap_shape"])
    assert stored_maps.columns(old.column_names) == ("heatmap", "heatmap_scale", "heatmap_height", "heatmap_width")
    assert stored_maps.columns(table.column_names) == ("heatmap", "heatmap_scale", "heatmap_shape")
    for got, want in zip(stored_maps.StoredMaps(old).each(), stored_maps.StoredMaps(table).each(), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(stored_maps.raw_map(old.to_pylist()[1]), stored_maps.raw_map(table.to_pylist()[1]))


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)], ids=["series", "volume"])
def test_a_heatmap_of_any_rank_covers_its_image(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    raw = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    row = pa.table(stored_maps.encoded([raw[None]], pa.float32(), rank)).to_pylist()[0]
    for letter, side, name in zip("xyz", shape[::-1], ("width", "height", "depth"), strict=False):
        row |= {f"image_{name}": side, f"view_{letter}0": 0.0, f"view_{letter}1": float(side)}
    positive = np.maximum(raw, 0)
    want = (positive - positive.min()) / np.ptp(positive)
    np.testing.assert_allclose(stored_maps.heatmap(row), want, atol=1e-6)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        stored_maps.encoded([np.array([[[1.0, np.nan]]])], pa.int16())


def awkward_scales() -> np.ndarray:
    """Every float32 in [1, 2) that 32767 * scale / 32767 does not give back."""
    every = np.arange(2**23, dtype=np.uint32) + np.float32(1).view(np.uint32)
    scales = every.view(np.float32)
    return scales[scales * np.float32(32767) / np.float32(32767) != scales]


def test_quantizing_what_was_decoded_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    scales = np.concatenate([awkward_scales(), np.exp(rng.normal(size=2000) * 8).astype(np.float32)])
    assert len(scales) == 256 + 2000
    steps = rng.integers(-32767, 32768, (len(scales), 49)).astype(np.int16)
    steps[:, 7] = 32767
    decoded = (steps * scales[:, None]).reshape(-1)
    again, same_scales = stored_maps.quantize(decoded, np.arange(0, decoded.size + 1, 49))
    np.testing.assert_array_equal(again, steps.reshape(-1))
    np.testing.assert_array_equal(same_scales, scales)


def test_quantizing_follows_the_rule_of_the_methods() -> None:
    rng = np.random.default_rng(1)
    maps = (rng.normal(size=(300, 7, 7)) * np.exp(rng.normal(size=(300, 1, 1)) * 8)).astype(np.float32)
    maps[0] = 0
    maps[1] = 1e-36
    maps[2] = -maps[3]
    steps, scales = heatmaps.quantize(maps)
    mine, my_scales = stored_maps.quantize(maps.reshape(-1), np.arange(0, maps.size + 1, 49))
    np.testing.assert_array_equal(mine, steps.reshape(-1))
    np.testing.assert_array_equal(my_scales, scales)
    assert my_scales[:2].tolist() == [1, 1]


VOLUMES = pathlib.Path(__file__).with_name("volume_maps.npz")
"""Maps of a Conv3D network, 8 x 8 x 8, in 16-bit steps: 95 % right on drawn balls, boxes, cylinders and shells."""


def volumes() -> dict[str, np.ndarray]:
    with np.load(VOLUMES) as stored:
        return {method: stored[method].astype(np.float32) / 1000 for method in stored.files}


def test_a_volume_of_512_cells_takes_at_most_600_bytes(tmp_path: pathlib.Path) -> None:
    each = volumes()
    assert list(each) == ["grad_cam", "grad_cam_plus_plus", "score_cam"]
    maps = np.concatenate(list(each.values()))
    schema = schemas.explanations([], [], heatmap_dtype="int16", rank=3)
    schema = pa.schema([schema.field(name) for name in stored_maps.columns(schema.names)])
    table = pa.table(stored_maps.encoded([maps], pa.int16(), 3, schemas.volume_steps(schema)), schema=schema)
    options = write.parquet_options(schema)
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd", compression_level=3, **options)
    group = pq.read_metadata(tmp_path / "t.parquet").row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert sum(column.total_compressed_size for column in columns) <= 600 * len(maps)
    assert {encoding for column in columns for encoding in column.encodings} <= {"RLE_DICTIONARY", "PLAIN", "RLE"}
    got = np.array(stored_maps.StoredMaps(pq.read_table(tmp_path / "t.parquet")).each())
    error = np.abs(got - maps).max(axis=(1, 2, 3))
    assert (error <= np.abs(maps).max(axis=(1, 2, 3)) / 255 / 2 * 1.001).all()


def test_a_volume_that_was_stored_is_stored_again_to_the_bit() -> None:
    maps = volumes()["grad_cam"]
    decoded = heatmaps.dequantize(*heatmaps.quantize(maps, 3, 255), rank=3)
    again = pa.table(stored_maps.encoded([decoded], pa.int16(), 3, 255))
    np.testing.assert_array_equal(stored_maps.StoredMaps(again).each(), decoded)


def test_a_volume_of_depth_one_is_stored_as_the_picture() -> None:
    maps = volumes()["grad_cam"][:, :1]
    flat = stored_maps.encoded([maps], pa.int16(), 3, 255)
    picture = stored_maps.encoded([maps[:, 0]], pa.int16())
    assert flat["heatmap"].equals(picture["heatmap"])
    np.testing.assert_array_equal(flat["heatmap_scale"], picture["heatmap_scale"])


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)], ids=["series", "picture", "volume"])
def test_a_map_of_any_rank_is_read_with_pyarrow_and_numpy_alone(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
    maps = np.random.default_rng(2).normal(size=(3, *shape)).astype(np.float32)
    pq.write_table(pa.table(stored_maps.encoded([maps], pa.int16(), len(shape))), tmp_path / "part-0.parquet")
    # As in README.md of this room.
    columns = ["heatmap", "heatmap_scale", "heatmap_shape"]
    got = []
    for row in pq.read_table(tmp_path, columns=columns).to_pylist():
        got.append(
            np.array(row["heatmap"], np.float32).reshape(row["heatmap_shape"]) * np.float32(row["heatmap_scale"])
        )
    np.testing.assert_allclose(got, maps, atol=np.abs(maps).max() / 32767)
