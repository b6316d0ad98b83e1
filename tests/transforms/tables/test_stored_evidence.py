"""Channel evidence in the columns of a table: where it stands, what it takes, and what is read back."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam.transforms import records, write
from heatbeam.transforms.engine import shared_pass
from heatbeam.transforms.tables import schemas, stored_evidence
from tests.transforms.tables import test_rows


def evidence(*values: list[float], total: float = 2.0) -> records.ChannelEvidence:
    """Of a class for each list; the channels count down from 9."""
    array = np.array(values, np.float32)
    channels = np.broadcast_to(9 - np.arange(array.shape[1], dtype=np.int32), array.shape)
    sums = np.full(len(array), total, np.float32)
    return records.ChannelEvidence(channels, array, sums, 2 * np.abs(array).sum(axis=1))


def with_evidence(one: records.Localization, found: records.ChannelEvidence | None) -> records.Localization:
    return dataclasses.replace(one, explanation=dataclasses.replace(one.explanation, evidence=found))


def test_it_stands_once_for_an_image_and_class_in_the_row_of_the_first_method():
    first = with_evidence(test_rows.two_classes(), evidence([2047.0, -1.0], [0.5, 0.25]))
    table = test_rows.table_of(first, test_rows.one_class())
    assert table["method"].to_pylist() == ["cam", "cam", "layer_cam", "layer_cam", "cam"]
    assert table["evidence_channels"].to_pylist() == [[9, 8], [9, 8], None, None, None]
    assert table["evidence_steps"].to_pylist()[:2] == [[2047, -1], [2047, 1024]]
    assert table["evidence_scale"].to_pylist()[:2] == [1.0, np.float32(0.5 / 2047)]
    assert table["evidence_total"].to_pylist() == [2.0, 2.0, None, None, None]
    assert table["evidence_magnitude"].to_pylist() == [4096.0, 1.5, None, None, None]
    assert stored_evidence.given(table)["class_id"].to_pylist() == [1, 2]


def test_it_is_read_as_sparse_rows():
    table = test_rows.table_of(with_evidence(test_rows.two_classes(), evidence([2047.0, -1.0], [4.0, 2.0])))
    found = stored_evidence.decoded(table)
    assert found.ends.tolist() == [0, 2, 4, 4, 4]
    matrix = found.sparse(12).toarray()
    assert matrix.shape == (4, 12)
    assert matrix[0, [8, 9]].tolist() == [-1.0, 2047.0]
    assert matrix[1, 9] == pytest.approx(4.0)
    assert not matrix[2:].any()
    assert found.share[:2] == pytest.approx([0.5, 0.5], rel=1e-3)
    assert np.isnan(found.share[2:]).all()


def test_a_class_whose_evidence_is_no_number_has_none():
    table = test_rows.table_of(with_evidence(test_rows.two_classes(), evidence([np.nan, 1.0], [2.0, 1.0])))
    assert table["evidence_total"].to_pylist() == [None, 2.0, None, None]
    again = stored_evidence.of_image(table, slice(0, 2))
    assert again is not None
    assert np.isnan(again.total[0])
    assert again.values[1] == pytest.approx([2.0, 1.0], rel=1e-3)


def test_what_was_read_is_written_as_it_was():
    table = test_rows.table_of(with_evidence(test_rows.two_classes(), evidence([3.7, -1.2, 0.1], [0.5, 0.25, 0.0])))
    again = with_evidence(test_rows.two_classes(), stored_evidence.of_image(table, slice(0, 2)))
    assert test_rows.table_of(again).select(stored_evidence.COLUMNS[:2]) == table.select(stored_evidence.COLUMNS[:2])
    assert stored_evidence.of_image(table, slice(2, 4)) is None


def test_a_row_takes_less_than_128_bytes():
    """Of 2,048 channels, any of which may be strongest, with contributions that fall as those of real networks do."""
    rng, count, kept = np.random.default_rng(0), 2048, shared_pass.EVIDENCE_CHANNELS
    channels = np.stack([rng.permutation(2048)[:kept] for _ in range(count)]).astype(np.int32)
    values = -np.sort(-rng.gamma(0.5, size=(count, kept))).astype(np.float32)
    found = [
        records.ChannelEvidence(channels[i : i + 1], values[i : i + 1], rng.normal(size=1), rng.gamma(9, size=1))
        for i in range(count)
    ]
    schema = pa.schema([schemas.explanations([], [], heatmap_dtype="int16").field(n) for n in stored_evidence.COLUMNS])
    columns = stored_evidence.encoded(found, [1] * count)
    table = pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=3, **write.parquet_options(schema))
    assert len(sink.getvalue()) / count <= 128
