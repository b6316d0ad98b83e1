"""Writing: what Beam leaves on disk, read back by every reader a user may have."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
from typing import Any

import apache_beam as beam
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options import pipeline_options
from apache_beam.testing import test_pipeline
from apache_beam.testing import util as beam_util

from heatbeam.runs import run_directory
from heatbeam.transforms import records, write
from heatbeam.transforms.tables import rows, schemas, stored_maps
from tests.support import manifests

LIMITS = write.Limits(rows=8192, bytes=32 << 20, compression_level=3)
CLASS_NAMES = ("cat", "dog")
METADATA = {"protocol": "wsol", "model_sha256": "cd" * 32}
HEIGHT, WIDTH = 2, 3


def explanations_schema(heatmap_dtype: str = "int16") -> pa.Schema:
    plain = schemas.explanations([schemas.ValueColumn("max_iou")], ["size"], heatmap_dtype=heatmap_dtype)
    return schemas.with_run_metadata(plain, METADATA)


def raw_map(number: int) -> np.ndarray:
    """A map whose largest cell is 32767 steps of (number + 1) / 8: every cell is stored exactly."""
    steps = np.array([[32767, -number, 0], [1, -32767, 100 * number]], np.float32)
    return steps * np.float32((number + 1) / 8)


def localization(number: int) -> records.Localization:
    nan = float("nan")
    explanation = records.Explanation(
        source=records.Source(
            f"image-{number:03d}", "s-0", number, f"{number:064x}", (640, 480), (0.0, 0.0, 640.0, 480.0), (1,),
            (("size", "large"),) if number % 2 else (),
        ),
        ground_truth=records.GroundTruth(),
        class_ids=np.array([1]),
        targets=(("label",),),
        logits=np.array([number / 4], np.float32),
        probabilities=np.array([0.5], np.float32),
        ranks=np.array([1]),
        predicted_class_id=1,
        methods=(records.MethodMaps("cam", "last_act", raw_map(number)[None]),),
    )  # fmt: skip
    iou = nan if number % 3 == 0 else number / 16
    box = [nan] * 4 if number % 3 == 0 else [number, 0, number + 10.5, 480]
    scores = records.MethodScores("cam", np.array([box]), (("max_iou", np.array([iou])),), ((),))
    return records.Localization(explanation, (scores,), (None,))


def pipeline() -> test_pipeline.TestPipeline:
    options = pipeline_options.PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
    return test_pipeline.TestPipeline(runner="FnApiRunner", options=options)


def write_explanations(directory: pathlib.Path, numbers, schema=None, limits=LIMITS):
    with pipeline() as p:
        _ = (
            p
            | beam.Create(numbers, reshuffle=False)
            | beam.Map(localization).with_output_types(records.Localization)
            | write.WriteExplanations(str(directory), schema or explanations_schema(), CLASS_NAMES, limits)
        )
    return sorted(directory.glob("*"))


READERS = {
    "pandas": lambda path: pd.read_parquet(path).to_dict("list"),
    "polars": lambda path: pl.read_parquet(path).to_dict(as_series=False),
    "duckdb": lambda path: duckdb.read_parquet(str(path)).to_arrow_table().to_pydict(),
    "pyarrow": lambda path: pq.read_table(path).to_pydict(),
}


@pytest.fixture(scope="module", params=schemas.HEATMAP_DTYPES)
def written(request, tmp_path_factory) -> pathlib.Path:
    """A file of ten rows per way to store the map."""
    directory = tmp_path_factory.mktemp(request.param)
    files = write_explanations(directory, range(10), explanations_schema(request.param))
    assert [file.name for file in files] == ["part-00000-of-00001.parquet"]
    return files[0]


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_gets_the_same_numbers(written, reader):
    columns = READERS[reader](written)
    order = np.argsort(columns["record_index"])
    assert np.array(columns["record_index"])[order].tolist() == list(range(10))
    for number, row in enumerate(order):
        value = {name: column[row] for name, column in columns.items()}
        cells = np.asarray(value["heatmap"], np.float32) * np.float32(value["heatmap_scale"])
        np.testing.assert_array_equal(cells.reshape(HEIGHT, WIDTH), raw_map(number))
        assert (value["heatmap_height"], value["heatmap_width"]) == (HEIGHT, WIDTH)
        assert value["image_id"] == f"image-{number:03d}"
        assert value["logit"] == number / 4
        assert list(value["label_ids"]) == [1]
        assert list(value["targets"]) == ["label"]
        assert list(value["health"]) == []
        box = [value[f"box_{edge}"] for edge in ("x0", "y0", "x1", "y1")]
        if number % 3 == 0:
            assert all(pd.isna(missing) for missing in [*box, value["max_iou"]])
        else:
            assert (box, value["max_iou"]) == ([number, 0, number + 10.5, 480], number / 16)
        assert value["slice_size"] == "large" if number % 2 else pd.isna(value["slice_size"])


def test_missing_numbers_are_null_and_not_nan(written):
    query = "SELECT count(*), count(max_iou), sum(max_iou) FROM read_parquet(?)"
    # 0, 3, 6 and 9 have none; the others add up to (1 + 2 + 4 + 5 + 7 + 8) / 16.
    assert duckdb.connect().execute(query, [str(written)]).fetchone() == (10, 6, 27 / 16)


def test_metadata_of_table_and_fields_survives(written):
    schema = pq.read_schema(written)
    assert schema.metadata[b"protocol"] == b"wsol"
    assert schema.metadata[b"heatbeam_schema_version"] == b"2"
    assert schema.field("box_x0").metadata[b"unit"] == b"px"
    assert not schema.field("image_id").nullable


def column_chunks(path: pathlib.Path):
    group = pq.ParquetFile(path).metadata.row_group(0)
    return {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}


def test_columns_are_encoded_for_what_they_hold(written):
    chunks = column_chunks(written)
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    cells = chunks["heatmap.list.element"]
    assert not cells.has_dictionary_page
    assert not cells.is_stats_set
    assert chunks["image_id"].has_dictionary_page
    assert (chunks["max_iou"].statistics.min, chunks["max_iou"].statistics.max) == (1 / 16, 8 / 16)
    assert not chunks["max_iou"].has_dictionary_page


KNOWN_ENCODINGS = {"PLAIN", "RLE", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
"""Of the first version of Parquet, which every reader has; tried with Spark 3.5.3 and fastparquet 2026.9."""

TABLES = {
    "explanations": explanations_schema(),
    "exact explanations": explanations_schema("float32"),
    "explanations with curves": schemas.explanations([], [], heatmap_dtype="int16", curves=["insertion"]),
    "localizations": schemas.localizations(["single_50", "multi_70"]),
    "summary": schemas.SUMMARY,
    "curves": schemas.CURVES,
    "dead_letters": schemas.DEAD_LETTERS,
}


def made_up_column(field: pa.Field, count: int) -> pa.Array:
    """Values of any type that a table has, so many and so different that a dictionary grows too large; some null."""
    is_list = pa.types.is_list(field.type)
    value_type = field.type.value_type if is_list else field.type
    numbers = np.arange(3 * count if is_list else count)
    if pa.types.is_string(value_type):
        values = pa.array([f"{n:064d}" for n in numbers], value_type)
    else:
        values = pa.array(numbers * (0.37 if pa.types.is_floating(value_type) else 1)).cast(value_type, safe=False)
    if is_list:
        values = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * 3, pa.int32()), values).cast(field.type)
    return pa.array([None, *values[1:].to_pylist()], field.type) if field.nullable else values


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_no_column_of_any_table_has_an_encoding_that_common_readers_do_not_know(tmp_path, schema):
    count = 30_000  # a dictionary of 64-letter strings outgrows its page of 1 MiB, and pages after it are plain
    sink = write.ParquetSink(str(tmp_path), "t", schema, write.Limits(count, 1 << 30, 3), 0, run_id="r")
    handle = sink.open(str(tmp_path / "x.parquet"))
    sink.write_record(handle, pa.table([made_up_column(f, count) for f in schema], schema=schema))
    sink.close(handle)
    chunks = column_chunks(tmp_path / "x.parquet")
    assert len(chunks) == len(schema) + 1
    unknown = {name: set(c.encodings) - KNOWN_ENCODINGS for name, c in chunks.items()}
    assert not {name: found for name, found in unknown.items() if found}


def test_every_row_names_the_run(tmp_path):
    for number, run_id in enumerate(("first", "second")):
        sink = write.ParquetSink(str(tmp_path), "summary", schemas.SUMMARY, LIMITS, 0, run_id=run_id)
        handle = sink.open(str(tmp_path / f"{number}.parquet"))
        sink.write_record(handle, pa.concat_tables([summary_table(0)] * (number + 1)))
        sink.close(handle)
    stacked = pq.read_table(tmp_path)
    assert stacked.schema.names == [*schemas.SUMMARY.names, "run_id"]
    assert stacked["run_id"].to_pylist() == ["first", "second", "second"]
    assert column_chunks(tmp_path / "1.parquet")["run_id"].has_dictionary_page


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_fastparquet_reads_the_same(written):  # it leaves the file open
    fastparquet = pytest.importorskip("fastparquet", reason="fastparquet is not installed: pip install '.[test]'")
    found, expected = fastparquet.ParquetFile(str(written)).to_pandas(), pq.read_table(written).to_pydict()
    assert list(found.columns) == list(expected)
    for name, column in expected.items():
        for mine, yours in zip(found[name], column, strict=True):
            if isinstance(yours, list):
                assert [v.decode() if isinstance(v, bytes) else v for v in mine] == yours, name
            else:
                assert pd.isna(mine) if yours is None else mine == yours, name


def table_of(numbers) -> pa.Table:
    return rows.explanation_table([localization(n) for n in numbers], explanations_schema(), CLASS_NAMES)


def row_groups(path: pathlib.Path) -> list[int]:
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (write.Limits(rows=8192, bytes=32 << 20, compression_level=1), [60]),
        (write.Limits(rows=25, bytes=32 << 20, compression_level=1), [25, 25, 10]),
        (write.Limits(rows=8192, bytes=10 * raw_map(0).nbytes, compression_level=1), [10, 10, 10, 10, 10, 10]),
    ],
    ids=["one group", "by rows", "by bytes of the maps"],
)
def test_rows_of_a_bundle_are_collected_into_row_groups(tmp_path, limits, expected):
    (file,) = write_explanations(tmp_path / "t", range(60), limits=limits)
    assert row_groups(file) == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (write.Limits(rows=1000, bytes=32 << 20, compression_level=1), [40]),
        (write.Limits(rows=10, bytes=32 << 20, compression_level=1), [10, 10, 10, 10]),
        (write.Limits(rows=1000, bytes=2 * table_of(range(4)).nbytes, compression_level=1), [8, 8, 8, 8, 8]),
    ],
    ids=["all", "rows", "bytes"],
)
def test_small_tables_are_collected_into_row_groups(tmp_path, limits, expected):
    sink = write.ParquetSink(str(tmp_path), "explanations", explanations_schema(), limits, 0)
    handle = sink.open(str(tmp_path / "x.parquet"))
    for start in range(0, 40, 4):
        handle.write(table_of(range(start, start + 4)))
    size = handle.close()
    assert row_groups(tmp_path / "x.parquet") == expected
    numbers = pq.read_table(tmp_path / "x.parquet")["record_index"].to_pylist()
    assert numbers == list(range(40))
    assert size == (tmp_path / "x.parquet").stat().st_size


def test_empty_input_leaves_one_valid_file_of_no_rows(tmp_path):
    (file,) = write_explanations(tmp_path / "t", [])
    assert file.name == "part-00000-of-00001.parquet"
    table = pq.read_table(file)
    assert table.num_rows == 0
    assert table.schema.equals(explanations_schema(), check_metadata=True)
    assert pl.read_parquet(file).columns == pd.read_parquet(file).columns.tolist() == explanations_schema().names


def fail_at_seven(number: int) -> records.Localization:
    if number == 7:
        raise RuntimeError("number seven")
    return localization(number)


def test_a_run_that_fails_leaves_temporary_files_that_the_run_directory_removes(tmp_path):
    run = run_directory.RunDirectory(str(tmp_path / "run"))
    run.create(manifests.manifest(), overwrite=False)
    limits = write.Limits(rows=2, bytes=32 << 20, compression_level=1)
    with pytest.raises(RuntimeError, match="number seven"), pipeline() as p:
        made = p | beam.Create(range(10), reshuffle=False) | beam.Map(fail_at_seven).with_output_types(Any)
        _ = made | write.WriteExplanations(run.path_of("explanations"), explanations_schema(), CLASS_NAMES, limits)
    (left,) = (tmp_path / "run" / "explanations").iterdir()
    assert left.name.startswith("beam-temp-part-")
    run.fail(manifests.manifest())
    assert list((tmp_path / "run" / "explanations").iterdir()) == []


def test_two_threads_write_every_row_once(tmp_path):
    run = run_directory.RunDirectory(str(tmp_path / "run"))
    run.create(manifests.manifest(), overwrite=False)
    modes = [
        "--runner=heatbeam.runners.direct_runner.DirectRunner",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    ]
    with beam.Pipeline(options=pipeline_options.PipelineOptions(modes)) as p:
        made = p | beam.Create(range(40)) | beam.Map(localization).with_output_types(records.Localization)
        _ = made | write.WriteExplanations(run.path_of("explanations"), explanations_schema(), CLASS_NAMES, LIMITS)
    assert run.finish(manifests.manifest()).tables["explanations"].rows == 40
    table = run.open_table("explanations").to_table().sort_by("record_index")
    assert table["record_index"].to_pylist() == list(range(40))
    for number, cells in enumerate(stored_maps.StoredMaps(table).each()):
        np.testing.assert_array_equal(cells, raw_map(number))


def dead_letter(number: int) -> records.DeadLetter:
    return records.DeadLetter(f"s__{number}", "s", number, "decode", "corrupt_image", f"got {number} bytes")


@pytest.mark.parametrize("count", [0, 5])
def test_dead_letters_are_one_file(tmp_path, count):
    with pipeline() as p:
        letters = p | beam.Create(range(count)) | beam.Map(dead_letter).with_output_types(records.DeadLetter)
        paths = letters | write.WriteDeadLetters(str(tmp_path / "d"), schemas.DEAD_LETTERS, LIMITS)
        beam_util.assert_that(paths, beam_util.equal_to([str(tmp_path / "d" / "part-00000-of-00001.parquet")]))
    (file,) = (tmp_path / "d").iterdir()
    found = pq.read_table(file).sort_by("record_index").to_pylist()
    assert [row["message"] for row in found] == [f"got {n} bytes" for n in range(count)]


def summary_table(_) -> pa.Table:
    row = {"method": "cam", "slice_name": "all", "slice_value": "all", "metric": "max_box_acc",
           "value": 0.75, "n": 4, "lower": 0.5, "upper": None}  # fmt: skip
    return schemas.table_from_rows(schemas.SUMMARY, [row])


def test_any_table_can_be_written_and_counted(tmp_path):
    p = pipeline()
    tables = p | beam.Create([0]) | beam.Map(summary_table).with_output_types(pa.Table)
    _ = tables | write.WriteTable(str(tmp_path / "s"), "summary", schemas.SUMMARY, LIMITS)
    result = p.run()
    result.wait_until_finish()
    (file,) = (tmp_path / "s").iterdir()
    assert pq.read_table(file).to_pylist() == summary_table(0).to_pylist()
    counters = {c.key.metric.name: c.committed for c in result.metrics().query()["counters"]}
    assert counters == {"summary_rows_written": 1, "summary_bytes_written": file.stat().st_size}


def test_a_table_of_another_schema_is_refused(tmp_path):
    sink = write.ParquetSink(str(tmp_path), "summary", schemas.SUMMARY, LIMITS, 0)
    handle = sink.open(str(tmp_path / "x.parquet"))
    with pytest.raises(ValueError, match="unknown: extra"):
        sink.write_record(handle, summary_table(0).append_column("extra", pa.array([1])))
    handle.close()


def test_a_retried_bundle_leaves_no_duplicate_and_no_temporary_file(tmp_path):
    sink = write.ParquetSink(str(tmp_path), "explanations", explanations_schema(), LIMITS, 0)
    temporary = sink.initialize_write()
    lost = sink.open_writer(temporary, "first-attempt")
    lost.write(table_of(range(4)))
    lost.close()
    died = sink.open_writer(temporary, "second-attempt")
    died.write(table_of(range(2)))
    committed = sink.open_writer(temporary, "third-attempt")
    committed.write(table_of(range(4)))
    results = [committed.close()]
    sink.pre_finalize(temporary, results)
    assert list(sink.finalize_write(temporary, results, None)) == [str(tmp_path / "part-00000-of-00001.parquet")]
    assert [file.name for file in tmp_path.iterdir()] == ["part-00000-of-00001.parquet"]
    assert pq.read_table(tmp_path)["record_index"].to_pylist() == [0, 1, 2, 3]
    # The commit itself may be tried again after it succeeded.
    assert list(sink.finalize_write(temporary, results, None)) == []
    assert pq.read_table(tmp_path).num_rows == 4


def test_masks_are_not_held_while_rows_are_collected():
    masked = records.GroundTruth(masks=np.ones((1, 480, 640), bool))
    plain = localization(1)
    heavy = records.Localization(
        records.Explanation(**{**vars(plain.explanation), "ground_truth": masked}), plain.scores, plain.true_boxes
    )
    light = write._without_ground_truth(heavy)
    assert light.explanation.ground_truth.masks is None
    assert heavy.explanation.ground_truth is masked
    assert light.explanation.methods is heavy.explanation.methods


def test_a_table_that_crosses_a_process_is_no_larger_than_its_rows():
    limits = write.Limits(rows=4, bytes=1 << 20, compression_level=1)
    build = write._ToTablesFn(lambda localizations: table_of(range(len(localizations))), lambda _: (1, 1), id, limits)
    build.start_bundle()
    emitted = [table for number in range(8) for table in build.process(number)]
    assert [table.num_rows for table in emitted] == [4, 4]
    overhead = len(pickle.dumps(emitted[0].slice(0, 0)))  # of names and descriptions, and of empty columns
    assert max(len(pickle.dumps(table)) for table in emitted) < 2 * emitted[0].nbytes + overhead


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"rows": 0}, "at least one row"), ({"bytes": 0}, "at least one row"), ({"compression_level": 23}, "1 to 22")],
    ids=["rows", "bytes", "level"],
)
def test_impossible_limits_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        write.Limits(**{"rows": 1, "bytes": 1, "compression_level": 3} | changes)


def test_schemas_and_rows_need_neither_beam_nor_tensorflow():
    code = "import sys, heatbeam.transforms.tables.rows\n"
    code += "print([m for m in ('apache_beam', 'tensorflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
