from __future__ import annotations

import io
import json
import os
import pathlib
import re
import signal
import threading
import time

import numpy as np
import pyarrow.compute as pc
import pytest
import tensorflow_datasets as tfds

from heatbeam import config
from heatbeam.job import run
from heatbeam.runs import run_directory
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import localization
from heatbeam.transforms.sources import tfexample
from heatbeam.transforms.tables import stored_maps
from tests.support import cluster_models, keras_models, sample_shards, small_runs

COUNT = 40


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> run_directory.RunDirectory:
    """One shard, one thread, batches of 8."""
    folder = tmp_path_factory.mktemp("reference")
    pattern = small_runs.write(folder / "data", [small_runs.record(i) for i in range(COUNT)], 1)
    return small_runs.run_quietly(small_runs.settings(pattern, folder / "run", "runner.workers=1"))


def test_leaves_the_promised_tree(reference):
    root = pathlib.Path(reference.path)
    found = {str(p.relative_to(root).parts[0]) for p in root.rglob("*") if p.is_file()}
    assert found == {"manifest.json", "explanations", "localizations", "summary", "curves", "dead_letters"}
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["status"] == "succeeded"
    assert manifest["counts"] == {
        "records_read": 40, "images_explained": 40, "images_skipped": 0, "dead_letters": 0,
        "lost": 0, "lost_is_estimate": False, "dropped_boxes": 0,
    }  # fmt: skip
    stored = (root.parent / "data" / "data-00000-of-00001.tfrecord").stat().st_size
    shard = {"name": "data-00000-of-00001.tfrecord", "bytes": stored, "records_read": 40, "lost": 0}
    assert manifest["shards"] == [shard | {"lost_is_estimate": False}]
    assert manifest["warnings"] == []
    assert manifest["model"]["target_layer"] == "last_act"
    assert manifest["model"]["scores"] == "logits: as the model returns them"
    assert manifest["config"]["explain"]["batch_size"] == 8
    assert manifest["metrics"].get("model_loads", 0) == 0  # the worker threads share the launcher's model


@pytest.mark.parametrize("name", run_directory.TABLES)
def test_every_table_names_its_run_so_that_runs_can_be_stacked(reference, name):
    run_id = reference.read_manifest().run_id
    assert run_id is not None and re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", run_id)
    table = reference.open_table(name).to_table()
    assert table.schema.names[-1] == "run_id"
    assert set(table["run_id"].to_pylist()) == ({run_id} if len(table) else set())


def test_every_row_says_what_was_explained_and_why(reference):
    table = small_runs.rows(reference)
    images = table.select(["image_id", "label_ids", "predicted_class_id"]).to_pylist()
    classes = {r["image_id"]: {*r["label_ids"], r["predicted_class_id"]} for r in images}
    assert len(table) == 4 * sum(len(c) for c in classes.values())
    for row in table.to_pylist():
        assert row["class_id"] in classes[row["image_id"]]
        wanted = ["label"] * (row["class_id"] in row["label_ids"])
        wanted += ["predicted"] * (row["class_id"] == row["predicted_class_id"])
        assert (row["targets"], row["target"]) == (wanted, wanted[0])
        assert (row["rank"] == 1) == (row["class_id"] == row["predicted_class_id"])


def test_metrics_are_those_of_the_stored_maps(reference):
    """The numbers in a row can be computed again from the row and the ground truth."""
    table = reference.open_table("explanations").to_table().sort_by(small_runs.SORT)
    maps = stored_maps.StoredMaps(table).each()
    checked = 0
    for row, raw in zip(table.to_pylist()[:60], maps[:60], strict=True):
        number = int(row["image_id"][5:])
        if row["class_id"] != number % 10:
            assert row["box_iou"] is None and row["pointing_hit"] is None
            continue
        x, y = 2 + number % 9, 3 + number % 7
        inside = np.zeros((20, 24), bool)
        inside[y : y + 8, x : x + 10] = True
        assert row["energy_area"] == pytest.approx(_share(inside), abs=0.02)
        from heatbeam.transforms import records

        truth = records.GroundTruth(
            boxes=np.array([[x, y, x + 10, y + 8]], float), box_class_ids=np.array([number % 10]),
            box_difficult=np.array([False]), masks=inside[None], mask_class_ids=np.array([number % 10]),
        )  # fmt: skip
        source = records.Source(row["image_id"], "", 0, "", (24, 20), (0, 0, 24, 20), (number % 10,))
        scores = localization.localize(
            raw[None], source, truth, [row["class_id"]], [row["rank"]], protocols.get("default"), localization.GROUPS
        )
        for name, values in scores.values:
            stored = np.nan if row[name] is None else row[name]
            np.testing.assert_allclose(stored, values[0], rtol=1e-5, err_msg=name)
        checked += 1
    assert checked > 20


def _share(mask: np.ndarray) -> float:
    return float(mask.mean())


def test_summary_is_the_mean_of_the_rows_of_the_label(reference):
    table = reference.open_table("explanations").to_table()
    numbers = small_runs.numbers(reference)
    for method in ("cam", "grad_cam", "score_cam"):
        mine = table.filter((pc.field("method") == method) & (pc.field("target") == "label"))
        assert len(mine) == COUNT
        for column, metric in (("pointing_hit", "pointing_game"), ("energy_share", "energy_pointing_game")):
            row = numbers[method, "all", "all", metric]
            assert row["n"] == COUNT - mine[column].null_count
            assert row["value"] == pytest.approx(pc.mean(mine[column]).as_py(), rel=1e-5)
            assert row["lower"] <= row["value"] <= row["upper"]
        left = mine.filter(pc.field("slice_camera") == "left")
        assert numbers[method, "camera", "left", "pointing_game"]["value"] == pytest.approx(
            pc.mean(left["pointing_hit"]).as_py()
        )
        assert numbers[method, "class", "class_3", "pointing_game"]["n"] == 4
        assert (method, "size", "2", "max_box_acc") in numbers
    top1 = pc.mean(pc.equal(table.filter((pc.field("method") == "cam") & (pc.field("target") == "label"))["rank"], 1))
    assert numbers["model", "all", "all", "top1_accuracy"]["value"] == pytest.approx(top1.as_py())
    assert ("baseline_centre", "all", "all", "pointing_game") in numbers


def assert_best_boxes_are_those_that_were_counted(directory: run_directory.RunDirectory) -> int:
    """Box accuracy of the run, and of its slices at the run's threshold, counted again from the rows; to the count."""
    key = ("image_id", "method", "class_id")
    about = {tuple(r[k] for k in key): r for r in directory.open_table("explanations").to_table().to_pylist()}
    boxes = directory.open_table("localizations").to_table().to_pylist()
    joined = [about.pop(tuple(row[k] for k in key)) | row for row in boxes]
    assert all(row["box_iou"] is None for row in about.values())  # the others have no boxes
    numbers = small_runs.numbers(directory)
    checked = 0
    for (method, slice_name, value, metric), number in numbers.items():
        _, found, name = metric.partition("_at_run_threshold_")
        if method.startswith("baseline_") or not found or slice_name not in ("all", "class", "camera"):
            continue
        limit = int(name[-2:]) / 100
        column = {"all": None, "class": "class_name", "camera": "slice_camera"}[slice_name]
        mine = [r for r in joined if r["method"] == method and "label" in r["targets"]]
        mine = [r for r in mine if column is None or r[column] == value]
        assert number["n"] == len(mine)
        assert number["value"] == sum(r[f"iou_{name}"] >= limit for r in mine) / len(mine)
        if slice_name == "all":
            best = {"single_50": "max_box_acc", "single_30": "max_box_acc_iou30", "single_70": "max_box_acc_iou70"}
            at_best = best.get(name, f"max_box_acc_v2_iou{name[-2:]}")
            assert numbers[method, "all", "all", at_best]["value"] == number["value"]
            threshold = numbers[method, "all", "all", "best_box_threshold_single_50"]["value"]
            assert {r["best_box_threshold"] for r in mine} == {threshold}
        checked += 1
    return checked


@pytest.mark.parametrize("protocol", ["default", "wsolevaluation"])
def test_boxes_at_the_best_threshold_are_those_that_were_counted(tmp_path, protocol):
    records = [small_runs.record(i) for i in range(COUNT)]
    empty = {f"image/object/{name}": [] for name in ("bbox/xmin", "bbox/ymin", "bbox/xmax", "bbox/ymax", "class/label")}
    records[7] = small_runs.record(7, **empty, **{"image/object/mask": []})
    pattern = small_runs.write(tmp_path / "data", records, 3)
    directory = small_runs.run_quietly(
        small_runs.settings(
            pattern, tmp_path / "run", f"evaluate.protocol={protocol}", "explain.methods=[cam, grad_cam_plus_plus]",
            "input.resize=crop", "input.crop_fraction=0.875",
        )
    )  # fmt: skip
    # Two methods, six thresholds; over everything, ten classes and two cameras.
    assert assert_best_boxes_are_those_that_were_counted(directory) == 2 * 6 * (1 + 10 + 2)
    boxes = directory.open_table("localizations").to_table()
    assert len(boxes) == 2 * (COUNT - 1) and "image0007" not in boxes["image_id"].to_pylist()
    truth = directory.open_table("explanations").to_table(filter=pc.field("image_id") == "image0007")["true_boxes"]
    assert set(map(tuple, truth.to_pylist())) == {()}


@pytest.mark.parametrize(
    ("shards", "overrides"),
    [
        (7, ("runner.workers=2",)),
        pytest.param(1, ("explain.batch_size=1", "runner.workers=1"), marks=pytest.mark.long),
        (7, ("explain.batch_size=5", "explain.pass_batch_size=3")),
        pytest.param(3, ("explain.batch_size=32",), marks=pytest.mark.long),
        (2, ("input.reshuffle_records=true",)),
    ],
    ids=["7-shards", "batch-1", "batch-5", "batch-32", "reshuffled"],
)
def test_rows_and_numbers_do_not_depend_on_shards_workers_or_batches(reference, tmp_path, shards, overrides):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(COUNT)], shards)
    other = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", *overrides))
    small_runs.assert_same_rows(small_runs.rows(reference), small_runs.rows(other))
    mine, yours = small_runs.numbers(reference), small_runs.numbers(other)
    assert mine.keys() == yours.keys()
    for key, row in mine.items():
        assert row["n"] == yours[key]["n"], key
        np.testing.assert_allclose(row["value"], yours[key]["value"], rtol=1e-3, atol=1e-4, err_msg=str(key))
    assert assert_best_boxes_are_those_that_were_counted(other) == 4 * 6 * (1 + 10 + 2)


@pytest.mark.runner
@pytest.mark.timeout(200)
@pytest.mark.long
def test_two_worker_processes_of_two_threads_give_the_same_rows(reference, tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(COUNT)], 4)
    configured = small_runs.settings(pattern, tmp_path / "run", "runner.processes=2", "runner.workers=4")
    other = small_runs.run_quietly(configured)
    small_runs.assert_same_rows(small_runs.rows(reference), small_runs.rows(other))
    assert 1 <= other.read_manifest().metrics["model_loads"] <= 2


def test_tfds_gives_the_same_rows_as_tfrecord(reference, tmp_path):
    features = tfds.features.FeaturesDict({
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "image_id": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=[f"class_{i}" for i in range(10)]),
        "objects": tfds.features.Sequence({
            "bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(num_classes=10)
        }),
        "camera": tfds.features.Text(),
        "size": np.int64,
    })  # fmt: skip

    def examples():
        for number in range(COUNT):
            parsed = tfexample.parse(small_runs.record(number))
            one = {name: tfexample.values(parsed[name]) for name in parsed}
            sides = [one[f"image/object/bbox/{side}"][0] for side in ("ymin", "xmin", "ymax", "xmax")]
            yield (
                number,
                {
                    "image": io.BytesIO(one["image/encoded"][0]),
                    "image_id": one["image/source_id"][0],
                    "label": number % 10,
                    "objects": [{"bbox": tfds.features.BBox(*map(float, sides)), "label": number % 10}],
                    "camera": one["camera"][0],
                    "size": number % 3,
                },
            )

    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="squares", version="1.0.0", features=features, split_datasets={"validation": examples()}, data_dir=tmp_path
    )
    masks = ("input.features.instance_masks=null", "input.features.mask_class=null")
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(COUNT)], 2)
    plain = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "plain", *masks))
    configured = small_runs.settings(pattern, tmp_path / "tfds").as_dict()
    configured["input"] = {
        **{name: configured["input"][name] for name in ("decoder", "resampler")},
        "tfds": {"directory": str(builder.data_path), "split": "validation"},
        "features": {"image_id": "image_id"},
    }
    other = small_runs.run_quietly(config.RunConfig.model_validate(configured))
    small_runs.assert_same_rows(small_runs.rows(plain), small_runs.rows(other))


def damaged_records() -> list[bytes]:
    """Thirteen records of which seven cannot be explained, each for another reason, and two have a bad box."""
    poison = sample_shards.noise(20, 24, seed=1)
    return [
        *(small_runs.record(i) for i in range(4)),
        small_runs.record(4, **{"image/encoded": [b"not an image"]}),
        small_runs.record(5, **{"image/encoded": [sample_shards.encode(poison, "JPEG")[:200]]}),
        small_runs.record(6, **{"image/encoded": None}),
        small_runs.record(7, **{"image/class/label": [99]}),
        small_runs.record(8, **{"image/object/bbox/xmin": [1.5], "image/object/bbox/xmax": [1.8]}),
        small_runs.record(9, **{"image/object/bbox/xmin": [0.5], "image/object/bbox/xmax": [0.5]}),
        small_runs.record(10, **{"image/object/bbox/xmin": [0.1, 0.2]}),
        small_runs.record(11, **{"image/class/label": None}),
        b"not a protocol buffer",
    ]


def test_a_bad_record_costs_itself_and_is_accounted_for(tmp_path):
    pattern = small_runs.write(tmp_path / "data", damaged_records(), 1)
    truncated = sample_shards.shard_bytes([small_runs.record(i) for i in (20, 21, 22)])[:-10]
    (tmp_path / "data" / "data-truncated.tfrecord").write_bytes(truncated)
    overrides = ("output.max_dead_letter_ratio=0.9", "explain.targets=[label]")
    directory = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", *overrides))
    counts = directory.read_manifest().counts
    assert counts.model_dump() == {
        "records_read": 16, "images_explained": 8, "images_skipped": 1, "dead_letters": 7,
        "lost": 0, "lost_is_estimate": True, "dropped_boxes": 2,
    }  # fmt: skip
    explained = set(small_runs.rows(directory)["image_id"].to_pylist())
    assert explained == {f"image{i:04d}" for i in (0, 1, 2, 3, 8, 9, 20, 21)}
    lost = {
        r["image_id"]: (r["stage"], r["error_type"])
        for r in directory.open_table("dead_letters").to_table().to_pylist()
    }
    assert {k: v for k, v in lost.items() if k.startswith("image")} == {
        "image0004": ("decode", "corrupt_image"),
        "image0005": ("decode", "corrupt_image"),
        "image0006": ("read", "missing_feature"),
        "image0007": ("explain", "label_out_of_range"),
        "image0010": ("read", "box_length_mismatch"),
    }
    assert len(lost) == 7
    without_box = {r["image_id"]: r for r in small_runs.rows(directory).to_pylist()}
    for name in ("image0008", "image0009"):
        assert without_box[name]["true_boxes"] is None and without_box[name]["box_iou"] is None


@pytest.mark.parametrize(
    ("factory", "error_type"), [("fragile_factory", "model_failed"), ("undefined_factory", "not_a_number")]
)
def test_an_image_the_model_fails_on_is_found_in_its_batch(tmp_path, factory, error_type):
    poison = np.zeros((16, 16, 3), np.uint8)
    poison[0, 0] = (255, 0, 255)
    records = [
        small_runs.record(i, **{"image/class/label": [i % 3], "image/object/class/label": [i % 3]}) for i in range(12)
    ]
    records[5] = small_runs.record(5, **{
        "image/encoded": [sample_shards.encode(poison)], "image/class/label": [1], "image/object/mask": None,
        "image/object/class/label": [1],
    })  # fmt: skip
    pattern = small_runs.write(tmp_path / "data", records, 1)
    configured = small_runs.settings(pattern, tmp_path / "run", "output.max_dead_letter_ratio=0.5").as_dict()
    configured["model"] = {"factory": f"tests.support.keras_models:{factory}", "preprocessing": "none"}
    configured["explain"]["methods"] = ["grad_cam"]
    directory = small_runs.run_quietly(config.RunConfig.model_validate(configured))
    (letter,) = directory.open_table("dead_letters").to_table().to_pylist()
    assert (letter["image_id"], letter["stage"], letter["error_type"]) == ("image0005", "explain", error_type)
    assert directory.read_manifest().counts.images_explained == 11


def test_too_many_dead_letters_fail_the_run_which_does_not_look_finished(tmp_path):
    pattern = small_runs.write(tmp_path / "data", damaged_records(), 1)
    with pytest.raises(run.RunFailed, match="6 of 13 records were lost"):
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run"))
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    assert directory.read_any_manifest().status == "failed"
    with pytest.raises(run_directory.RunDirectoryError, match="not a finished run"):
        directory.open_table("explanations")


def test_empty_shards_are_no_success(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [], 2)
    with pytest.raises(run.RunFailed, match="no record was read"):
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run"))


def test_a_run_is_replaced_only_when_asked(reference, tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run"))
    with pytest.raises(run_directory.RunDirectoryError, match="already holds a heatbeam run"):
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run"))
    pattern = small_runs.write(tmp_path / "less", [small_runs.record(1)], 1)
    directory = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", "output.overwrite=true"))
    assert set(small_runs.rows(directory)["image_id"].to_pylist()) == {"image0001"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("input.tfrecord=/nowhere/*.tfrecord", "no file matches"),
        ("explain.methods=[grad_kam]", "unknown method 'grad_kam', did you mean 'grad_cam'"),
        ("model.class_names=[one, two]", r"2 names \(one, two\), but the model has 10 classes"),
        ("runner.options=[--nonsense=1]", "unknown Beam option --nonsense"),
    ],
)
def test_wrong_settings_are_refused_before_the_first_record(tmp_path, override, said):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    with pytest.raises(config.ConfigError, match=said):
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", override))


def test_ids_and_labels_are_data(tmp_path):
    hostile = "../../x/<script>alert(1)</script>\n'; drop"
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0, **{"image/source_id": [hostile.encode()]})], 1)
    directory = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run"))
    assert set(small_runs.rows(directory)["image_id"].to_pylist()) == {hostile}
    assert not list(tmp_path.parent.glob("x"))
    assert keras_models.GAP  # the run used the golden model


def test_exact_maps_are_stored_on_request(reference, tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(5)], 1)
    directory = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", "output.heatmap_dtype=float32"))
    exact = stored_maps.StoredMaps(directory.open_table("explanations").to_table().sort_by(small_runs.SORT)).each()
    table = reference.open_table("explanations").to_table().sort_by(small_runs.SORT)
    ids = {f"image{i:04d}" for i in range(5)}
    stored = stored_maps.StoredMaps(table.filter(pc.field("image_id").isin(list(ids)))).each()
    for one, other in zip(exact, stored, strict=True):
        assert np.abs(one - other).max() <= np.abs(one).max() * (0.5 / 32767 + 1e-5)


@pytest.mark.runner
@pytest.mark.timeout(300)
@pytest.mark.long
def test_a_run_whose_worker_process_is_killed_fails_and_goes_on_when_resumed(tmp_path):
    journal = tmp_path / "journal"
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(40)], 4)
    text = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "model": {
            "factory": "tests.support.cluster_models:journalled",
            "arguments": {"journal": str(journal), "seconds": 0.5},
            "preprocessing": "tf",
        },
        "explain": {"methods": ["grad_cam"], "batch_size": 2},
        "output": {"directory": str(tmp_path / "run")},
        "runner": {"processes": 2, "workers": 2},
    }
    killed = []

    def kill() -> None:
        while not killed:
            time.sleep(0.1)
            called = [int(words[1]) for words in cluster_models.read_journal(journal) if words[0] == "call"]
            for pid in (p for p in called if p != os.getpid() and called.count(p) >= 3):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(run.RunFailed, match=r"worker process [12] of 2 was killed by SIGKILL"):
        small_runs.run_quietly(config.RunConfig.model_validate(text))
    killer.join()
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    assert directory.read_any_manifest().status == "failed"
    text |= {"runner": {"workers": 2}, "output": {"directory": str(tmp_path / "run"), "resume": True}}
    text["model"]["arguments"]["seconds"] = 0.0
    manifest = small_runs.run_quietly(config.RunConfig.model_validate(text)).read_manifest()
    assert manifest.counts.images_explained == 40
    assert len(directory.open_table("explanations").to_table()["image_id"].unique()) == 40


def test_a_run_needs_nothing_but_its_settings(tmp_path, capsys):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(3)], 1)
    result = run.run(small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]"))
    assert result.directory.read_manifest().counts.images_explained == 3
    assert "10 classes" in capsys.readouterr().err
