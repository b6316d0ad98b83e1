"""Rows of earlier runs found by content, and the files they are in."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.io import iobase

from heatbeam.transforms import records, write
from heatbeam.transforms.tables import earlier, journal, rows, schemas, table_files

NAMES = ("cat", "dog", "owl")
SCHEMA = schemas.with_run_metadata(
    schemas.explanations([schemas.ValueColumn("insertion_auc")], [], heatmap_dtype="int16", curves=["insertion"]), {}
)
METHODS = ("cam", "grad_cam")


def raw_map(number: int, method: int, row: int) -> np.ndarray:
    """Whole steps of 1 to the largest, so that it is stored exactly."""
    return np.array([[32767, number], [-method, row]], np.float32)


def evidence(number: int) -> records.ChannelEvidence:
    """Whole steps to the largest, as the maps; that of class 0 is no number."""
    values = np.array([[2047, number, -1], [np.nan, 1, 0]], np.float32)
    return records.ChannelEvidence(
        np.array([[5, 3, 9], [1, 2, 3]], np.int32), values, np.array([1, np.nan], np.float32), np.full(2, 9, np.float32)
    )


def localization(number: int, **changes) -> records.Localization:
    """Image `number`, of which classes 2 and 0 are explained by two methods; only the first has a curve."""
    facts = {
        "image_id": f"i{number}", "shard": "s", "index": number, "image_sha256": f"{number:064x}", "size": (40, 30),
        "view": (0.0, 0.0, 40.0, 30.0), "label_ids": (2,),
    }  # fmt: skip
    methods = tuple(
        records.MethodMaps(
            name, f"layer_{m}", np.stack([raw_map(number, m, row) for row in (0, 1)]),
            (("insertion_auc", np.array([0.5, np.nan])),),
            (("insertion", np.array([[0.25, number], [0.5, 1]])),) if m == 0 else (),
        )
        for m, name in enumerate(METHODS)
    )  # fmt: skip
    explanation = records.Explanation(
        source=records.Source(**(facts | changes)),
        ground_truth=records.GroundTruth(),
        class_ids=np.array([2, 0]),
        targets=(("label",), ("predicted", "top_1")),
        logits=np.array([number, -1], np.float32),
        probabilities=np.array([0.25, 0.75], np.float32),
        ranks=np.array([3, 1]),
        predicted_class_id=0,
        methods=methods,
        evidence=evidence(number),
    )
    boxes = np.full((2, 4), np.nan)
    scores = tuple(records.MethodScores(m, boxes, (), ((), ())) for m in METHODS)
    return records.Localization(explanation, scores, (None, None))


def table(*localizations: records.Localization) -> pa.Table:
    return rows.explanation_table(localizations, SCHEMA, NAMES)


def parquet(folder: pathlib.Path, tables, group_rows: int = 8192) -> str:
    limits = write.Limits(rows=group_rows, bytes=1 << 20, compression_level=1)
    path = str(folder / "part.parquet")
    sink = write.ParquetSink(str(folder), "explanations", SCHEMA, limits, 0)
    handle = sink.open(path)
    for one in tables:
        handle.write(one)
    handle.close()
    return path


def arrow(folder: pathlib.Path, tables) -> str:
    clock = iter(range(1000))
    kept = journal.Journal(str(folder), SCHEMA, journal.Pace(lambda: next(clock) * 1e-9))
    kept._pace._cost_s = 1e9  # one file for all of it
    for one in tables:
        kept.write(one)
    kept.close()
    (path,) = folder.glob("*.arrow")
    return str(path)


def index_of(*paths: str, names=None) -> earlier.Index:
    index, damaged = earlier.build_index(paths, lambda path, schema: names or {m: m for m in METHODS})
    assert damaged == []
    return index


def wanted(*methods: tuple[str, float], same_id: bool = False) -> earlier.Wanted:
    return earlier.Wanted(methods or tuple((m, 1.0) for m in METHODS), 0, ("insertion_auc",), ("insertion",), same_id)


def encoded(number: int, **changes) -> records.EncodedExample:
    facts = {"image_id": f"i{number}", "shard": "t", "index": 7, "image": b"", "label_ids": (2,)}
    return records.EncodedExample(**(facts | changes))


def find(index: earlier.Index, number: int, want: earlier.Wanted | None = None, **changes) -> records.Earlier:
    looked = earlier.EarlierRows(index, want or wanted())
    try:
        return looked.find(encoded(number, **changes), f"{number:064x}")
    finally:
        looked.close()


def hashed(number: int) -> records.Localization:
    """Distinct in the first 64 bits of the hash, which the index keeps."""
    return localization(number, image_sha256=f"{number:016x}" + f"{number:048x}")


@pytest.mark.parametrize("form", [lambda f, t: parquet(f, t, 3), arrow], ids=["parquet", "arrow"])
def test_what_was_stored_is_found_bit_by_bit_wherever_row_groups_end(tmp_path, form):
    path = form(tmp_path, [table(*(hashed(i) for i in range(4))), table(*(hashed(i) for i in range(4, 9)))])
    looked = earlier.EarlierRows(index_of(path), wanted())
    for number in (8, 0, 3, 4, 7, 1, 2, 5, 6):
        found = looked.find(encoded(number), f"{number:016x}" + f"{number:048x}")
        expected = hashed(number).explanation
        assert found.complete and found.size == (40, 30)
        assert found.class_ids.tolist() == [2, 0] and found.targets == expected.targets
        assert found.logits.tolist() == [number, -1] and found.logits.dtype == np.float32
        assert found.evidence is not None
        assert found.evidence.channels[0].tolist() == [5, 3, 9]
        assert found.evidence.values[0].tolist() == [2047, number, -1]
        assert np.isnan(found.evidence.total[1])
        assert found.probabilities.tolist() == [0.25, 0.75] and found.ranks.tolist() == [3, 1]
        assert found.predicted_class_id == 0
        for mine, theirs in zip(found.methods, expected.methods, strict=True):
            assert (mine.method, mine.layer) == (theirs.method, theirs.layer)
            assert mine.maps.dtype == np.float32
            np.testing.assert_array_equal(mine.maps, theirs.maps)
            np.testing.assert_array_equal(mine.scores[0][1], [0.5, np.nan])
        assert found.methods[1].curves == ()
        ((name, points),) = found.methods[0].curves
        assert name == "insertion" and points.tolist() == [[0.25, number], [0.5, 1.0]]
    looked.close()


def test_the_index_costs_24_bytes_an_image_and_is_the_same_when_loaded(tmp_path):
    index = index_of(parquet(tmp_path, [table(*(hashed(i) for i in range(50)))]))
    assert index.entries.nbytes == 50 * 24
    index.save(str(tmp_path / "index.npz"))
    loaded = earlier.load_index(str(tmp_path / "index.npz"))
    assert loaded is earlier.load_index(str(tmp_path / "index.npz"))  # once per process
    assert loaded.files == index.files
    np.testing.assert_array_equal(loaded.entries, index.entries)


@pytest.mark.parametrize("same_id", [False, True])
def test_each_of_many_equal_images_is_found_at_its_own_place(tmp_path, monkeypatch, same_id):
    """30 records of the same bytes, every other one labelled otherwise, a row group each: 30 groups are decoded."""
    labels = [(2,) if i % 2 else (1,) for i in range(30)]
    equal = [localization(1, image_id=f"i{i}", index=i, label_ids=label) for i, label in enumerate(labels)]
    index = index_of(parquet(tmp_path, [table(one) for one in equal], 4))
    looked, decoded, read = earlier.EarlierRows(index, wanted(same_id=same_id)), [], table_files.TableFile.read
    monkeypatch.setattr(table_files.TableFile, "read", lambda *given: decoded.append(given[1]) or read(*given))
    for number, label in reversed(list(enumerate(labels))):
        found = looked.find(encoded(1, image_id=f"i{number}", label_ids=label), f"{1:064x}")
        assert found.complete, number
    assert decoded == list(range(29, -1, -1))
    new = looked.find(encoded(1, image_id="new", label_ids=(2,)), f"{1:064x}")
    assert new.complete is not same_id and len(decoded) <= 30 + (0 if same_id else 2)
    looked.close()


def test_equal_images_of_other_ids_are_looked_at_in_the_order_in_which_they_lie_and_not_for_what_no_file_has(
    tmp_path, monkeypatch
):
    equal = [localization(1, image_id=f"i{i}", index=i) for i in range(30)]
    index = index_of(parquet(tmp_path, [table(one) for one in equal], 4))
    firsts = [row for _, row, _ in index.find(f"{1:064x}", "new")]
    assert firsts == sorted(firsts) and len(firsts) == 30
    assert [row for _, row, _ in index.find(f"{1:064x}", "i7")] == [firsts[7], *firsts[:7], *firsts[8:]]
    decoded, read = [], table_files.TableFile.read
    monkeypatch.setattr(table_files.TableFile, "read", lambda *given: decoded.append(given[1]) or read(*given))
    found = find(index, 1, wanted(*((m, 1.0) for m in METHODS), ("of_no_file", 1.0)), image_id="new")
    assert {one.method for one in found.methods} == set(METHODS) and not found.complete
    assert decoded == [0]


def test_an_image_with_the_same_64_bits_of_hash_is_not_taken_for_another(tmp_path):
    index = index_of(parquet(tmp_path, [table(localization(1), localization(2))]))  # both begin with zeros
    assert len(list(index.find(f"{3:064x}"))) == 2
    assert find(index, 3) is earlier.NOTHING
    assert find(index, 2).logits[0] == 2


@pytest.mark.parametrize(
    ("changes", "same_id", "complete"),
    [
        ({}, True, True),
        ({"image_id": "renamed"}, False, True),
        ({"image_id": "renamed"}, True, False),
        ({"label_ids": (1,)}, False, False),
        ({"label_ids": (2, 1)}, False, False),
        ({"raw_shape": (30, 40, 1)}, False, True),
        ({"raw_shape": (40, 30, 1)}, False, False),
    ],
    ids=["same", "renamed", "renamed-scores", "other-label", "more-labels", "raw", "raw-of-another-shape"],
)
def test_rows_are_taken_only_for_the_same_image_and_labels(tmp_path, changes, same_id, complete):
    index = index_of(parquet(tmp_path, [table(localization(1))]))
    found = find(index, 1, wanted(same_id=same_id), **changes)
    assert found.complete == complete
    assert complete or found is earlier.NOTHING


def test_only_the_wanted_methods_are_taken_under_their_new_names(tmp_path):
    path = parquet(tmp_path, [table(localization(1))])
    found = find(index_of(path, names={"grad_cam": "renamed"}), 1, wanted(("cam", 1.0), ("renamed", 1.0)))
    assert [m.method for m in found.methods] == ["renamed"] and not found.complete
    np.testing.assert_array_equal(found.methods[0].maps, localization(1).explanation.methods[1].maps)
    only = find(index_of(path), 1, wanted(("grad_cam", 1.0)))
    assert [m.method for m in only.methods] == ["grad_cam"] and only.complete


def test_a_method_of_a_sample_is_needed_only_by_the_images_in_it(tmp_path):
    index = index_of(parquet(tmp_path, [table(localization(1))]), names={"cam": "cam"})
    assert find(index, 1, wanted(("cam", 1.0), ("grad_cam", 0.0))).complete
    assert not find(index, 1, wanted(("cam", 1.0), ("grad_cam", 1.0))).complete
    # An image that no method explains is in no table, so the model has to be asked whether it knew the class.
    assert find(index, 1, wanted(("cam", 0.0))) is earlier.NOTHING


def test_methods_are_gathered_from_several_files(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    one = parquet(tmp_path / "one", [table(localization(1))])
    two = parquet(tmp_path / "two", [table(localization(1))])
    stored = {one: {"cam": "cam"}, two: {"grad_cam": "grad_cam"}}
    index, _ = earlier.build_index([one, two], lambda path, schema: stored[path])
    found = find(index, 1)
    assert found.complete and {m.method for m in found.methods} == set(METHODS)


def test_equal_records_side_by_side_are_two_entries(tmp_path):
    twice = [localization(1), localization(1, index=9)]
    index = index_of(parquet(tmp_path, [table(*twice)]), names={"cam": "cam"})
    assert index.entries["rows"].tolist() == [4, 4]
    assert find(index, 1, wanted(("cam", 1.0))).class_ids.tolist() == [2, 0]


def test_a_file_without_a_method_to_take_is_left_out_unread(tmp_path):
    path = parquet(tmp_path, [table(localization(1))])
    index, damaged = earlier.build_index([path], lambda path, schema: {})
    assert (index.files, len(index.entries), damaged) == ((), 0, [])
    assert find(index, 1) is earlier.NOTHING


@pytest.mark.parametrize("form", [parquet, arrow])
@pytest.mark.parametrize("left", [0, 5, 0.5], ids=["nothing", "five-bytes", "half"])
def test_a_truncated_file_is_named_and_left_out(tmp_path, form, left):
    path = pathlib.Path(form(tmp_path, [table(localization(1))]))
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if left == 0.5 else left])
    with pytest.raises(table_files.DamagedFile, match="not complete"):
        table_files.TableFile(str(path))
    index, damaged = earlier.build_index([str(path)], lambda path, schema: {"cam": "cam"})
    assert index.files == () and len(damaged) == 1 and str(path) in damaged[0]


def test_blocks_of_rows(tmp_path):
    file = table_files.TableFile(parquet(tmp_path, [table(*(localization(i) for i in range(5)))], 8))
    assert file.starts.tolist() == [0, 8, 16, 20]
    assert file.blocks_of(0, 8) == (0, 0)
    assert file.blocks_of(7, 2) == (0, 1)
    assert file.blocks_of(8, 4) == (1, 1)
    assert file.blocks_of(4, 16) == (0, 2)
    file.close()


def test_pace_takes_a_hundredth_of_the_time():
    now = [0.0]
    pace = journal.Pace(lambda: now[0])
    assert pace.due()
    pace.done(0.02)
    now[0] = 1.99
    assert not pace.due()
    now[0] = 2.0  # 100 x 0.02
    assert pace.due()
    now[0] = 10_000.0
    pace.done(0.02)
    now[0] = 10_009.9
    assert not pace.due()
    now[0] = 10_010.1  # a thousandth of the time since the start
    assert pace.due()


def test_every_file_of_a_journal_but_the_open_one_is_complete(tmp_path):
    now = [0.0]
    kept = journal.Journal(str(tmp_path), SCHEMA, journal.Pace(lambda: now[0]))
    kept.write(table(localization(0)))  # due at once
    kept._pace._cost_s = 0.01
    for number in (1, 2):
        kept.write(table(localization(number)))
    now[0] = 1.0
    kept.write(table(localization(3)))  # due
    kept._pace._cost_s = 0.01
    kept.write(table(localization(4)))
    found, damaged = earlier.build_index(
        [str(p) for p in tmp_path.glob("*.arrow")], lambda path, schema: {"cam": "cam"}
    )
    assert len(found.files) == 2 and len(damaged) == 1
    assert sorted(found.entries["rows"].tolist()) == [4] * 4
    kept.close()
    found, damaged = earlier.build_index(
        [str(p) for p in tmp_path.glob("*.arrow")], lambda path, schema: {"cam": "cam"}
    )
    assert len(found.entries) == 5 and not damaged


def test_a_table_is_kept_before_its_file_is_closed(tmp_path):
    (tmp_path / "journal").mkdir()
    limits = write.Limits(rows=8192, bytes=1 << 20, compression_level=1)
    sink = write.ParquetSink(str(tmp_path), "explanations", SCHEMA, limits, 0, str(tmp_path / "journal"))
    writer: iobase.Writer = sink.open_writer(sink.initialize_write(), "bundle")
    writer.write(table(localization(1)))
    (kept,) = (tmp_path / "journal").iterdir()
    file = table_files.TableFile(str(kept))
    assert file.read(0, 0, SCHEMA.names).equals(table(localization(1)))
    file.close()
    writer.close()
