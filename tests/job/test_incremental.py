"""Runs that take over what an earlier one explained: the same tables as a full run, and less work."""

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import pyarrow as pa
import pytest
import yaml

from heatbeam import cli, config
from heatbeam.job import incremental, plan, run
from heatbeam.runs import formats, run_directory
from heatbeam.runs import manifests as run_manifests
from heatbeam.transforms import explain
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.tables import table_files
from tests.support import cluster_models, keras_models, manifests, paths, sample_shards, small_runs

COUNT = 24
# One image a batch: what else is in a batch changes the last bits of a float, and these tests compare exactly.
METHODS = ("explain.methods=[cam, grad_cam, {method: rise, options: {masks: 8, cells: 3}}]", "explain.batch_size=1")

# Numbers that are counted pixel by pixel, by table: in which column they are named, and parts of their names.
_OF_PIXELS = {"summary": ("metric", ("mask_iou", "mask_f1", "pxap")), "curves": ("curve", ("pixel_",))}


def records(*numbers: int) -> list[bytes]:
    return [small_runs.record(i) for i in numbers]


def run_with(pattern: str, directory: pathlib.Path, *overrides: str) -> tuple[run.Result, str]:
    said = io.StringIO()
    result = run.run(small_runs.settings(pattern, directory, *METHODS, *overrides), (), said)
    assert {p.name for p in directory.iterdir()} == {"manifest.json", *run_directory.TABLES}  # nothing is left over
    return result, said.getvalue()


def counts(result: run.Result) -> tuple[int, int]:
    """Images explained by the model and images taken over; they are all that were explained."""
    found, asked = result.manifest.counts, result.manifest.metrics.get("images_explained", 0)
    assert asked + found.images_reused == found.images_explained
    return asked, found.images_reused


def lost(directory: run_directory.RunDirectory) -> list[dict]:
    return directory.open_table("dead_letters").to_table().drop_columns("run_id").sort_by("image_id").to_pylist()


def assert_same_tables(
    one: run_directory.RunDirectory, other: run_directory.RunDirectory, same_batches: bool = True
) -> None:
    """Equal tables: explanations and dead letters row by row, summary and curves number by number.

    In other batches (`same_batches` false) the last bits of a map differ, and with them on which side of a threshold a
    pixel lies: a mean of IoUs may then move by a pixel, and the interval of two images by some times as much.
    """
    small_runs.assert_same_rows(small_runs.rows(one), small_runs.rows(other))
    assert lost(one) == lost(other)
    for name, keys in (("localizations", 3), ("summary", 4), ("curves", 5)):
        tables = [directory.open_table(name).to_table().drop_columns("run_id") for directory in (one, other)]
        order = [(column, "ascending") for column in tables[0].column_names[:keys]]
        mine, yours = (table.sort_by(order) for table in tables)
        assert mine.select(range(keys)).equals(yours.select(range(keys)))
        moves = np.zeros(len(mine), bool)
        if name in _OF_PIXELS and not same_batches:
            named, words = _OF_PIXELS[name]
            moves = np.array([any(word in value for word in words) for value in mine[named].to_pylist()])
            assert moves.any() and not moves.all()
        for column in mine.column_names[keys:]:
            a, b = (np.array(table[column].to_pylist(), float) for table in (mine, yours))
            rtol, atol = (1e-6, 1e-7) if same_batches else (1e-3, 1e-4)
            np.testing.assert_allclose(a[~moves], b[~moves], rtol=rtol, atol=atol, err_msg=f"{name}.{column}")
            np.testing.assert_allclose(a[moves], b[moves], atol=5e-3, err_msg=f"{name}.{column} of pixels")


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    """Most runs have the same small model and methods: it is loaded once."""
    spec = plan.engine_spec(small_runs.settings("", pathlib.Path("run"), *METHODS))
    engine, _ = explain.acquire_engine(spec)
    yield
    del engine


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> tuple[str, run_directory.RunDirectory]:
    """Two shards, a record that cannot be explained among them, and their run."""
    folder = tmp_path_factory.mktemp("before")
    broken = small_runs.record(5, **{"image/encoded": [b"no image"], "image/source_id": [b"broken"]})
    pattern = small_runs.write(folder / "data", [*records(*range(COUNT)), broken], 2)
    return pattern, run_with(pattern, folder / "run")[0].directory


def reusing(before) -> str:
    return f"output.reuse={before[1].path}"


def test_nothing_changed(before, tmp_path):
    result, said = run_with(before[0], tmp_path / "run", reusing(before), "runner.workers=1")
    assert counts(result) == (0, COUNT)
    assert small_runs.rows(result.directory).equals(small_runs.rows(before[1]))  # to the bit
    assert_same_tables(result.directory, before[1])
    assert result.manifest.as_dict()["reused"] == {
        "runs": [before[1].path], "files": 2, "damaged_files": [], "images_indexed": COUNT,
        "index_bytes": 24 * COUNT, "methods": ["cam", "grad_cam", "rise"],
    }  # fmt: skip
    assert f"reuse: {COUNT} images of {before[1].path}: cam, grad_cam, rise" in said
    metrics = result.manifest.metrics
    assert "batches" not in metrics and "images_decoded" not in metrics
    assert metrics["maps_reused"] == 3 * COUNT
    printed = io.StringIO()
    run.print_result(result, printed)
    assert f"{COUNT} images explained ({COUNT} taken from an earlier run)" in printed.getvalue()


def changed_data(folder: pathlib.Path) -> str:
    """Of the images of `before`: 0 removed, 1 with other bytes, 2 with another label, 3 with another box and slice, 4
    renamed, 5 with a box that is wrong, 6 twice; the others as they are, in other shards; 30 to 32 new."""
    other = sample_shards.encode(sample_shards.noise(20, 24, seed=99))
    changed = [
        small_runs.record(1, **{"image/encoded": [other]}),
        small_runs.record(2, **{"image/class/label": [3]}),
        small_runs.record(3, **{"image/object/bbox/xmin": [0.0], "image/object/mask": None, "camera": [b"top"]}),
        small_runs.record(4, **{"image/source_id": [b"new name"]}),
        small_runs.record(5, **{"image/object/mask": [b"no PNG"]}),
        small_runs.record(6),
        small_runs.record(6, **{"image/source_id": [b"copy"]}),
    ]
    return small_runs.write(folder, [*changed, *records(*range(COUNT - 1, 6, -1), 30, 31, 32)], 3)


def test_changed_data_gives_the_tables_of_a_full_run(before, tmp_path):
    pattern = changed_data(tmp_path / "data")
    allowed = "output.max_dead_letter_ratio=0.5"
    full, _ = run_with(pattern, tmp_path / "full", allowed)
    result, _ = run_with(pattern, tmp_path / "run", reusing(before), allowed)
    # The model sees new bytes (1), a new label (2), and new images (30 to 32).
    assert counts(result) == (5, COUNT - 3)
    assert full.manifest.counts.images_explained == COUNT + 2
    assert [(d["image_id"], d["stage"], d["error_type"]) for d in lost(result.directory)] == [
        ("image0005", "decode", "corrupt_mask")
    ]
    assert_same_tables(result.directory, full.directory)


@pytest.mark.long
def test_a_new_and_a_changed_method_recompute_only_themselves(before, tmp_path):
    methods = "explain.methods=[hires_cam, {method: rise, options: {masks: 6, cells: 3}}, {method: cam, name: old}]"
    full, _ = run_with(before[0], tmp_path / "full", methods, "explain.batch_size=7")
    engine_methods: list[dict] = []
    explain = engines.Engine.explain

    def noted(self, images, label_ids, selected, inputs):
        engine_methods.append({name: chosen.tolist() for name, chosen in selected.items()})
        return explain(self, images, label_ids, selected, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines.Engine, "explain", noted)
        result, said = run_with(before[0], tmp_path / "run", reusing(before), methods, "explain.batch_size=7")
    assert_same_tables(result.directory, full.directory, same_batches=False)
    assert counts(result) == (COUNT, 0) and result.manifest.metrics["maps_reused"] == COUNT
    # Only the renamed method is known, so it alone is not asked of the model (the first call warms up).
    assert all(set(s) == {"old"} and not any(s["old"]) for s in engine_methods if s)
    assert sum(bool(s) for s in engine_methods) >= 3
    assert "images of" in said and ": old\n" in said
    assert "anew: hires_cam, rise because of rise.options.masks (8 before, now 6)" in said
    mine, theirs = (small_runs.rows(d).to_pylist() for d in (result.directory, before[1]))
    kept = [r["heatmap"] for r in theirs if r["method"] == "cam"]
    assert [r["heatmap"] for r in mine if r["method"] == "old"] == kept


@pytest.mark.long
def test_scores_of_the_model_and_their_curves_are_taken_over(tmp_path):
    pattern = small_runs.write(tmp_path / "data", records(*range(12)), 2)
    measured = (
        "explain.methods=[cam]", "evaluate.faithfulness.metrics=[insertion, drop]", "evaluate.faithfulness.sample=0.5",
        "evaluate.faithfulness.steps=4",
    )  # fmt: skip
    first, _ = run_with(pattern, tmp_path / "first", *measured)
    assert "insertion" in first.directory.open_table("curves").to_table()["curve"].to_pylist()
    renamed = [small_runs.record(0, **{"image/source_id": [b"renamed"]}), *records(*range(1, 12))]
    again = small_runs.write(tmp_path / "again", renamed, 3)
    full, _ = run_with(again, tmp_path / "full", *measured)
    result, _ = run_with(again, tmp_path / "run", f"output.reuse={first.directory.path}", *measured)
    assert counts(result) == (1, 11)  # the sample and the noise depend on the id
    assert_same_tables(result.directory, full.directory)
    assert small_runs.rows(result.directory)["insertion_auc"].null_count < len(small_runs.rows(result.directory))


def test_scores_that_are_measured_otherwise_are_measured_anew():
    def taken(before: str | None, now: str | None) -> dict[str, str]:
        metadata = {
            "heatbeam_schema_version": "2",
            incremental.METADATA: json.dumps({"methods": {"cam": "k"}, "scores": before}),
        }
        choice = incremental._Choice({"methods": {"cam": "k"}, "scores": now})
        return choice("part.parquet", pa.schema([], metadata))

    assert taken("s", "s") == taken(None, None) == {"cam": "cam"}
    assert taken("s", None) == {"cam": "cam"}  # no scores are wanted, and the map is the same
    assert taken("s", "t") == taken(None, "s") == {}


def test_what_differs_is_said():
    before = run_manifests.KeyedBy(all={"xla": False}, scores={"steps": 4}, methods={"cam": {"layers": ["a"]}})
    now = run_manifests.KeyedBy(all={"xla": True}, scores={"steps": 16}, methods={"cam": {"layers": ["b"]}, "new": {}})
    assert list(incremental._differences(before, now, ["cam", "new"])) == [
        "xla (false before, now true)",
        "evaluate.faithfulness.steps (4 before, now 16)",
        'cam.layers (["a"] before, now ["b"])',
    ]


# The keys, without a run.

SAME = (
    "explain.batch_size=3", "explain.pass_batch_size=2", "runner.workers=1", "evaluate.protocol=torchray",
    "evaluate.slices=[]", "evaluate.replicates=0", "output.journal=false", "input.required=[camera]",
    "model.class_names=[a, b, c, d, e, f, g, h, i, j]", "explain.methods.0={method: cam, sample: 0.5}",
)  # fmt: skip
ALL_OTHER = (
    "explain.targets=[label]", "model.preprocessing=torch", "input.resize=crop", "input.interpolation=nearest",
    "output.heatmap_dtype=float32", "explain.precision=mixed_bfloat16", "model.path=other", "model.scores=sigmoid",
)  # fmt: skip
ONE_OTHER = (
    "explain.methods.0={method: cam, layer: stem}", "explain.methods.0={method: cam, wrapper: smooth}",
    "explain.methods.0={method: random_cam}",
)  # fmt: skip


def _keys(tmp_path: pathlib.Path, override: str | None) -> dict:
    model = keras_models.classifier(classes=10, seed=2 if override == "model.path=other" else 1)
    path = tmp_path / f"{override == 'model.path=other'}.keras"
    if not path.exists():
        model.save(path)
    text = {
        "input": {
            "tfrecord": small_runs.write(tmp_path / "data", records(0), 1),
            "decoder": "pillow",
            "resampler": "pillow",
        },
        "model": {"path": str(path), "preprocessing": "none"},
        "explain": {"methods": [{"method": "cam"}, {"method": "random_cam", "name": "second"}]},
        "output": {"directory": str(tmp_path / "run")},
    }
    place, _, value = (override or "explain.seed=0").partition("=")
    section, key, *number = place.split(".")
    if number:
        text[section][key][int(number[0])] = yaml.safe_load(value)
    elif override != "model.path=other":
        text.setdefault(section, {})[key] = yaml.safe_load(value)
    planned = plan.make(config.parse(yaml.safe_dump(text)))
    facts = incremental.content_facts(planned, engines.Engine(planned.engine_spec))
    return incremental._keys(facts)["methods"]


@pytest.fixture(scope="module")
def keys_before(tmp_path_factory) -> tuple[pathlib.Path, dict]:
    folder = tmp_path_factory.mktemp("keys")
    return folder, _keys(folder, None)


@pytest.mark.parametrize("override", SAME)
def test_what_changes_no_map_keeps_the_keys(keys_before, override):
    assert list(_keys(keys_before[0], override).values()) == list(keys_before[1].values())


@pytest.mark.parametrize("override", ALL_OTHER)
def test_what_changes_every_map_changes_every_key(keys_before, override):
    assert not set(_keys(keys_before[0], override).values()) & set(keys_before[1].values())


@pytest.mark.parametrize("override", ONE_OTHER)
def test_what_changes_one_method_changes_its_key_alone(keys_before, override):
    changed = _keys(keys_before[0], override)
    assert changed["second"] == keys_before[1]["second"]
    assert next(iter(changed.values())) != keys_before[1]["cam"]


def test_a_seed_belongs_to_the_methods_that_draw(keys_before):
    changed = _keys(keys_before[0], "explain.seed=7")
    assert changed["cam"] == keys_before[1]["cam"] and changed["second"] != keys_before[1]["second"]


def test_models_with_the_same_weights_and_other_activations_differ():
    def model(activation: str, name: str) -> keras.Model:
        inputs = keras.Input((8, 8, 3), name=f"{name}_in")
        x = keras.layers.Conv2D(2, 3, activation=activation, name=name)(inputs)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(x))

    digest = incremental.architecture_digest
    assert digest(model("relu", "a")) == digest(model("relu", "b"))
    assert digest(model("relu", "a")) != digest(model("gelu", "a"))


# What cannot be reused.


def test_wrong_runs_are_refused_before_anything_is_written(before, tmp_path):
    def refused(match: str, *overrides: str) -> None:
        with pytest.raises(run_directory.RunDirectoryError, match=match):
            small_runs.run_quietly(small_runs.settings(before[0], tmp_path / "run", *overrides))
        assert not (tmp_path / "run").exists()

    (tmp_path / "empty").mkdir()
    refused("is not a heatbeam run: it has no manifest", f"output.reuse={tmp_path}/empty")
    refused("is the directory of this run", f"output.reuse={tmp_path}/run")
    with pytest.raises(run_directory.RunDirectoryError, match="finished run; there is nothing to resume"):
        small_runs.run_quietly(small_runs.settings(before[0], pathlib.Path(before[1].path), "output.resume=true"))
    for overrides, match in (
        (("output.resume=true", "output.overwrite=true"), "either resume or overwrite"),
        (("output.reuse=newest",), "newest goes with root"),
    ):
        with pytest.raises(config.ConfigError, match=match):
            small_runs.settings(before[0], tmp_path / "run", *overrides)


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({"heatbeam_schema_version": "0"}, "its rows have schema version 0, and this heatbeam's 2"),
        ({"heatbeam_schema_version": "2"}, "it does not say how its maps were made, as an older heatbeam wrote it"),
    ],
)
def test_rows_of_another_kind_are_not_taken_and_a_line_says_why(metadata, match):
    choice = incremental._Choice({"methods": {}, "scores": None})
    assert choice("run/a.parquet", pa.schema([], metadata)) == {}
    assert choice("run/b.parquet", pa.schema([], metadata)) == {}
    assert list(choice.unlike) == [f"reuse: nothing of run: {match}"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "heatbeam 0.1.0 wrote it in format 0, and this one writes 2"),
        (3, "has format version 3, written by heatbeam 0.1.0"),
    ],
)
def test_a_run_of_another_format_is_explained_anew_and_a_line_says_why(before, tmp_path, monkeypatch, version, said):
    monkeypatch.setitem(formats.STEPS, 0, formats.Step())
    shutil.copytree(before[1].path, tmp_path / "other")
    path = tmp_path / "other" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))
    result, text = run_with(before[0], tmp_path / "run", f"output.reuse={tmp_path}/other")
    assert result.manifest.reused is None and result.manifest.counts.images_explained == COUNT
    (line,) = [line for line in text.splitlines() if line.startswith("reuse: ")]
    assert said in line and line.endswith("everything is explained anew")


# Runs that were stopped.


@pytest.mark.parametrize(
    ("process", "refused"),
    [
        ({"host": socket.gethostname(), "pid": os.getppid()}, True),
        ({"host": socket.gethostname(), "pid": os.getpid()}, False),
        ({"host": socket.gethostname(), "pid": 2**22 + 1}, False),  # above Linux' greatest
        ({"host": "another", "pid": os.getppid()}, False),
        (None, False),
    ],
    ids=["alive", "this-one", "dead", "elsewhere", "unknown"],
)
def test_a_run_that_still_goes_on_is_not_resumed(tmp_path, process, refused):
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    directory.create(manifests.manifest(process=process), overwrite=False)
    output = config.OutputConfig(directory=directory.path, resume=True)
    if refused:
        with pytest.raises(run_directory.RunDirectoryError, match="still being written by process"):
            incremental.check_sources(output, directory)
    else:
        assert incremental.check_sources(output, directory) is None  # it left no rows
    replacing = config.OutputConfig(directory=directory.path, overwrite=True)
    if refused:
        with pytest.raises(run_directory.RunDirectoryError, match="still being written by process"):
            incremental.check_sources(replacing, directory)
    else:
        assert incremental.check_sources(replacing, directory) is None
    directory.fail(manifests.manifest(process=process))
    incremental.check_sources(output, directory)
    incremental.check_sources(replacing, directory)


def slow_config(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    text = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "model": {
            "factory": "tests.support.cluster_models:journalled",
            "arguments": {"journal": str(folder / "calls"), "seconds": 0.25},
            "preprocessing": "none",
        },
        "explain": {"methods": ["cam"], "batch_size": 4},
        "output": {"directory": str(folder / "run"), "report": False},
        "runner": {"workers": 1},
    }
    path = folder / "slow.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def complete_files(folder: pathlib.Path) -> int:
    found = 0
    for path in folder.glob("*.arrow"):
        try:
            table_files.TableFile(str(path)).close()
            found += 1
        except table_files.DamagedFile:
            pass
    return found


@pytest.mark.runner
@pytest.mark.timeout(200)
@pytest.mark.long
def test_a_killed_run_is_resumed_where_it_was(tmp_path, capsys):
    pattern = small_runs.write(tmp_path / "data", records(*range(60)), 3)
    path = slow_config(tmp_path, pattern)
    root = paths.ROOT
    program = [sys.executable, "-m", "heatbeam", "run", str(path)]
    with subprocess.Popen(program, cwd=root, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while complete_files(tmp_path / "run" / "unfinished") < 3 and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    killed = run_directory.RunDirectory(str(tmp_path / "run"))
    stopped = killed.read_any_manifest()
    assert stopped.status == "running"
    started = stopped.started
    calls = _images_called(tmp_path / "calls")

    assert cli.main(["run", str(path)]) == 2
    assert "or resume it" in capsys.readouterr().err
    assert cli.main(["run", str(path), "--resume"]) == 0
    said = capsys.readouterr()
    manifest = killed.read_manifest()
    assert manifest.as_dict()["resumed"] == {"started": started}
    assert manifest.status == "succeeded" and manifest.reused.runs == (killed.path,)
    again, kept = manifest.metrics["images_explained"], manifest.counts.images_reused
    counted = manifest.counts
    assert again + kept == counted.images_explained == counted.records_read == 60
    assert (counted.images_skipped, counted.dead_letters, counted.lost) == (0, 0, 0)
    assert sum(shard.records_read for shard in manifest.shards) == 60
    assert kept >= 8 and again < 60, said.err
    # What the model saw after the kill is what was left to explain.
    assert again - 2 <= _images_called(tmp_path / "calls") - calls <= again
    # In flight: the batch in the model, and those whose rows were not yet in a closed file.
    assert calls - kept <= 4 * 5
    assert f"({kept} taken from an earlier run)" in said.out
    table = small_runs.rows(killed)
    assert sorted(set(table["image_id"].to_pylist())) == [f"image{i:04d}" for i in range(60)]
    keys = list(zip(table["image_id"].to_pylist(), table["class_id"].to_pylist(), strict=True))
    assert len(keys) == len(set(keys))
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"manifest.json", *run_directory.TABLES}


def _images_called(path: pathlib.Path) -> int:
    """Images that the run asked the model for: in batches of four; it warms up with two, and trials have more."""
    called = (int(words[2]) for words in cluster_models.read_journal(path) if words[0] == "call")
    return sum(count for count in called if count != 2 and count <= 4)


@pytest.mark.long
def test_a_failed_run_keeps_what_it_explained_and_another_one_takes_it(tmp_path):
    broken = [small_runs.record(i, **{"image/encoded": [b"no image"]}) for i in range(6, 12)]
    pattern = small_runs.write(tmp_path / "data", [*records(*range(6)), *broken], 1)
    said = io.StringIO()
    with pytest.raises(run.RunFailed, match="6 of 12 records were lost"):
        run.run(small_runs.settings(pattern, tmp_path / "run", *METHODS), (), said)
    assert "run again with --resume, or with --reuse" in said.getvalue()
    failed = run_directory.RunDirectory(str(tmp_path / "run"))
    assert failed.read_any_manifest().status == "failed"
    kept = {pathlib.Path(p).parent.name for p in failed.unfinished_files()}
    assert kept == {"unfinished", "explanations"}

    mended = small_runs.write(tmp_path / "mended", records(*range(12)), 1)
    full, _ = run_with(mended, tmp_path / "full")
    other, _ = run_with(mended, tmp_path / "other", f"output.reuse={failed.path}")
    assert counts(other) == (6, 6)
    assert_same_tables(other.directory, full.directory)
    result, _ = run_with(mended, tmp_path / "run", "output.resume=true")
    assert counts(result) == (6, 6)
    assert_same_tables(result.directory, full.directory)


@pytest.mark.long
def test_resume_starts_where_there_is_nothing_and_schedules_reuse_the_newest(tmp_path):
    pattern = small_runs.write(tmp_path / "data", records(*range(4)), 1)
    first = small_runs.settings(pattern, tmp_path / "run", *METHODS, "output.resume=true")
    assert run.run(first, (), io.StringIO()).manifest.reused is None
    scheduled = ("output.directory=null", f"output.root={tmp_path / 'audits'}", "output.reuse=newest", *METHODS)
    (tmp_path / "audits").mkdir()
    settings = small_runs.settings(pattern, tmp_path / "run", *scheduled)
    one = run.run(settings, (), io.StringIO())
    assert one.manifest.reused is None
    time.sleep(1.1)  # names of dated directories are whole seconds
    two = run.run(settings, (), io.StringIO())
    assert two.manifest.reused.runs == (one.directory.path,)
    assert counts(two) == (0, 4)
