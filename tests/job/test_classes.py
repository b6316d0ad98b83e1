"""The classes of the data in a whole run: labels, boxes and masks of the right class, said and recorded."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from heatbeam import config
from heatbeam.job import class_sources, plan
from heatbeam.job.check import dry_run
from heatbeam.runs import source_images, source_truth
from heatbeam.transforms.sources import tfexample
from tests.support import sample_shards, small_runs

MODEL = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
"""What the golden model's ten classes are called here."""

MINE = ("Jay", "cat", "raccoon")
"""A dataset of three classes: 9, 2 and none of the model's."""


def given(pattern, tmp_path, *more, name="run"):
    names = f"model.class_names=[{', '.join(MODEL)}]"
    return small_runs.settings(pattern, tmp_path / name, "explain.methods=[grad_cam]", names, *more)


def said_of(settings):
    stream = io.StringIO()
    good = dry_run.check(settings, 6, stream)
    return good, stream.getvalue()


def labels_of(directory):
    return {row["image_id"]: tuple(row["label_ids"]) for row in small_runs.rows(directory).to_pylist()}


@pytest.mark.parametrize("number", [int, float])
def test_one_hot_vectors_are_no_lists_of_ids(tmp_path, number):
    """Each image had the labels 0 and 1."""
    records = [small_runs.record(i, y=[number(c == i % 10) for c in range(10)]) for i in range(6)]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    for feature, other in (("labels", "label"), ("label", "labels")):
        settings = given(pattern, tmp_path, f"input.features.{feature}=y", f"input.features.{other}=null", name=feature)
        assert labels_of(small_runs.run_quietly(settings)) == {f"image{i:04d}": (i,) for i in range(6)}


def test_lists_of_several_lengths_are_no_vectors(tmp_path):
    """Nine records say that these are lists, so that ten zeros and ones in a tenth are one too."""
    records = [small_runs.record(i, y=[i % 10] * (1 + i % 3)) for i in range(9)]
    records.append(small_runs.record(9, y=[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))
    pattern = small_runs.write(tmp_path / "data", records, 2)
    settings = given(pattern, tmp_path, "input.features.labels=y", "input.features.label=null")
    directory = small_runs.run_quietly(settings)
    assert directory.read_manifest().conventions.label_form == "ids_or_names"
    labels = labels_of(directory)
    assert labels == {**{f"image{i:04d}": (i,) for i in range(9)}, "image0009": (0, 1)}


def test_check_warns_of_classes_beyond_the_model(tmp_path):
    """These records count from 1: only the last class gives it away."""
    both = ("image/class/label", "image/object/class/label")
    pattern = small_runs.write(
        tmp_path / "data", [small_runs.record(i, **{k: [i + 1] for k in both}) for i in (8, 9)], 1
    )
    good, text = said_of(given(pattern, tmp_path))
    assert good
    assert (
        "image0009 has label 10, the model has classes 0 to 9; see input.label_offset, as 1 where ids count from"
        in text
    )
    assert (
        "1 of 2 records have boxes of classes that the model does not have, the first, image0009, of class 10" in text
    )
    text = said_of(given(pattern, tmp_path, "input.label_offset=1", name="other"))[1]
    assert "input.label_offset" not in text and "boxes of classes" not in text


def test_names_decide_in_labels_boxes_and_masks(tmp_path):
    fields = {"image/class/label": [0], "image/object/class/label": [1]}
    records = [small_runs.record(0, **fields), small_runs.record(1, **{**fields, "image/class/label": [1]})]
    records.append(small_runs.record(2, **{**fields, "image/class/label": [2]}))  # the raccoon: no label that is known
    pattern = small_runs.write(tmp_path / "data", records, 1)
    mine = f"input.class_names=[{', '.join(MINE)}]"
    with pytest.raises(config.ConfigError, match="1 of the dataset's 3 classes are none of the model's: raccoon"):
        said_of(given(pattern, tmp_path, mine))
    settings = given(pattern, tmp_path, mine, "input.class_map={raccoon: null}", "explain.targets=[label]")
    good, text = said_of(settings)
    assert good
    line = "the dataset's 3 are matched to the model's 10 by name, input.class_map, 1 of them left out; e.g. Jay is "
    assert f"classes  {line}class 9 (jay)\n" in text and "record   image0000: 24x20, label jay," in text
    directory = small_runs.run_quietly(settings)
    assert labels_of(directory) == {"image0000": (9,), "image0001": (2,)}
    manifest = directory.read_manifest()
    assert (manifest.counts.images_explained, manifest.counts.images_skipped) == (2, 1)
    classes = manifest.conventions.classes
    assert classes.words.startswith(line) and classes.ids == ((0, 9), (1, 2), (2, None)) and len(classes.digest) == 64
    rows = directory.open_table("explanations").to_table().to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    # The box and the mask are of the cat: they say nothing of an image that is explained for the jay.
    assert by_id["image0000"]["box_iou"] is None and by_id["image0000"]["energy_share"] is None
    assert by_id["image0001"]["box_iou"] is not None and by_id["image0001"]["energy_share"] is not None
    assert [by_id[name]["class_name"] for name in sorted(by_id)] == ["jay", "cat"]
    (record,) = source_images.source_records(manifest, [_place(by_id["image0001"])])
    maps = manifest.maps_of_classes()
    assert [len(source_truth.true_boxes(record, (24, 20), i, (), maps)) for i in (1, 2, 9)] == [0, 1, 0]


def _place(row):
    return row["shard"], row["record_index"], row["image_sha256"]


def test_what_is_reused_has_the_label_of_today(tmp_path):
    """Another map gives other labels: rows of the old ones are not taken."""
    both = ("image/class/label", "image/object/class/label")
    records = [small_runs.record(i, **{key: [i % 2] for key in both}) for i in range(4)]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    names = "input.class_names=[Jay, cat]"
    first = small_runs.run_quietly(given(pattern, tmp_path, names))
    changed = given(pattern, tmp_path, names, "input.class_map={cat: fox}", f"output.reuse={first.path}", name="second")
    second = small_runs.run_quietly(changed)
    assert labels_of(second) == {"image0000": (9,), "image0001": (5,), "image0002": (9,), "image0003": (5,)}
    assert second.read_manifest().counts.images_reused == 2


def test_semantic_masks_go_through_the_map(tmp_path):
    grey = np.zeros((20, 24), np.uint8)
    grey[:, 12:] = 2
    more = {"image/class/label": [1], "mask": [sample_shards.encode(grey)], "image/object/mask": None}
    boxes = {f"image/object/bbox/{side}": None for side in ("xmin", "ymin", "xmax", "ymax")}
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0, **more, **boxes)], 1)
    features = (
        *("input.features.semantic_mask=mask", "input.features.instance_masks=null", "input.features.mask_class=null"),
        "input.semantic_offset=1",
    )
    shares = {}
    for name in ("cat", "jay"):  # the mask's value 2, less 1, is the second class
        mine = f"input.class_names=[hen, {name}]"
        directory = small_runs.run_quietly(given(pattern, tmp_path, mine, *features, "explain.targets=[2]", name=name))
        (row,) = small_runs.rows(directory).to_pylist()
        shares[name] = row["energy_share"]
    assert shares["cat"] is not None and shares["jay"] is None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS dataset of three named classes."""
    label = tfds.features.ClassLabel(names=list(MINE))
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"), "label": label}
    )

    def examples():
        for number in range(3):
            image = tfexample.values(tfexample.parse(small_runs.record(number))["image/encoded"])[0]
            yield number, {"image": io.BytesIO(image), "label": number}

    folder = tmp_path_factory.mktemp("tfds")
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="three", version="1.0.0", features=features, split_datasets={"validation": examples()}, data_dir=folder
    )
    return str(builder.data_dir)


def test_tfds_brings_its_own_names(prepared, tmp_path):
    """Three names and ten classes were refused; with the model's names, the ids were taken for its positions."""
    settings = given("unused", tmp_path, "input.class_map={raccoon: null}", "evaluate.slices=[]").as_dict()
    settings["input"] = {"tfds": {"directory": prepared}, "class_map": {"raccoon": "eel"}}
    directory = small_runs.run_quietly(config.RunConfig.model_validate(settings))
    assert sorted(labels_of(directory).values()) == [(2,), (4,), (9,)]
    settings["model"]["class_names"] = None
    with pytest.raises(config.ConfigError, match=r"the dataset: 3 names .*; the model has 10 classes, whose names are"):
        said_of(config.RunConfig.model_validate(settings | {"input": {"tfds": {"directory": prepared}}}))


def test_files_that_are_wrong_are_named_together(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    (tmp_path / "mine.txt").write_bytes("ñandú\n".encode("latin-1"))
    (tmp_path / "map.json").write_text("[")
    more = (f"input.class_names={tmp_path / 'mine.txt'}", f"input.class_map={tmp_path / 'map.json'}")
    with pytest.raises(config.ConfigError) as caught:
        plan.make(given(pattern, tmp_path, *more, f"model.class_names={tmp_path / 'none.txt'}"))
    said = "\n".join(caught.value.problems)
    for part in ("input.class_names: ", "not UTF-8", "input.class_map: ", "is not JSON", "model.class_names: "):
        assert part in said


def test_an_offset_beside_stated_ids_is_refused(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 2 name: 'jay' }")
    more = (f"input.class_names={tmp_path / 'map.pbtxt'}", "input.label_offset=1")
    with pytest.raises(config.ConfigError, match=r"label_offset: 1, but .*map\.pbtxt.* states the ids from 1"):
        plan.make(given(pattern, tmp_path, *more))


@pytest.mark.parametrize("form", ["mapping", "list"])
def test_names_in_the_file_of_settings(tmp_path, form):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0, **{"image/class/label": [1]})], 1)
    names = "{0: hen, 1: jay}" if form == "mapping" else "[hen, jay]"
    settings = given(pattern, tmp_path, f"input.class_names={names}")
    assert "label jay" in said_of(settings)[1]
    assert config.RunConfig.model_validate(json.loads(json.dumps(settings.as_dict()))) == settings


def test_words_that_yaml_takes_for_something_else_are_refused(tmp_path):
    with pytest.raises(config.ConfigError, match="put it in quotes"):
        given("x", tmp_path, "input.class_map={no: cat}")


def test_names_that_keras_has_for_imagenet(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    settings = given(pattern, tmp_path, "model.class_names=imagenet")
    with pytest.raises(config.ConfigError, match=r"there is no .*imagenet_class_index\.json .* give a file of names"):
        plan.make(settings)
    (tmp_path / "models").mkdir()
    index = {str(i): [f"n{i:08d}", f"kind {i}"] for i in range(1000)}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
    known = plan.make(settings).known_classes
    assert known.model.words().startswith("Keras' names for ImageNet: 1,000 names (kind 0, kind 1,")
    application = {"application": "MobileNet", "arguments": {"weights": "imagenet"}}
    assert class_sources.read(_with_model(settings, application), []).imagenet == known.model
    assert (
        class_sources.read(_with_model(settings, {"application": "MobileNet", "weights": "w.h5"}), []).imagenet is None
    )


def _with_model(settings, model):
    return config.RunConfig.model_validate({**settings.as_dict(), "model": model})
