"""A model that classifies pixels, through a whole run: labels come from masks, maps are of the claimed pixels."""

from __future__ import annotations

import io
import json
import pathlib

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from heatbeam import config
from heatbeam.job import run
from heatbeam.job.check import dry_run
from heatbeam.report import report
from heatbeam.transforms.models.files import loading
from tests.support import sample_shards, small_runs


def mask(*areas: tuple[int, int]) -> list[bytes]:
    """20 x 24 pixels, so many of each class, from the top left; the others are background (0)."""
    grey = np.concatenate([np.full(n, class_id, np.uint8) for class_id, n in areas])
    return [sample_shards.encode(np.concatenate([grey, np.zeros(480 - len(grey), np.uint8)]).reshape(20, 24))]


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> config.RunConfig:
    folder = tmp_path_factory.mktemp("segmentation")
    keras.utils.set_random_seed(7)
    inputs = keras.Input((20, 24, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="features")(x)
    keras.Model(inputs, keras.layers.Conv2D(4, 1, activation="softmax")(x)).save(folder / "segments.keras")
    masks = [mask((2, 100), (1, 60)), mask((1, 5), (3, 7), (255, 300)), mask((0, 9))]
    drawn = {"image/class/label": None, "image/object/mask": None, "image/object/class/label": None}
    images = [[sample_shards.encode(sample_shards.noise(20, 24, seed=i))] for i in range(3)]
    made = [
        small_runs.record(i, **drawn, **{"image/encoded": image, "segmentation": given})  # type: ignore[arg-type]
        for i, (image, given) in enumerate(zip(images, masks, strict=True))
    ]
    text = small_runs.settings(small_runs.write(folder / "data", made, 1), folder / "run").as_dict()
    text["input"]["features"] |= {"semantic_mask": "segmentation", "instance_masks": None, "mask_class": None}
    text["model"] = {"path": str(folder / "segments.keras"), "preprocessing": "none"}
    text["explain"] = {"methods": ["grad_cam", "layer_cam", "gradients"]}
    text["evaluate"] = {"replicates": 0}
    return config.RunConfig.model_validate(text)


def test_labels_come_from_the_masks_and_the_choice_is_the_largest_area(settings):
    directory = pathlib.Path(run.run(settings, [], io.StringIO()).directory.path)
    rows = [r for r in pq.read_table(directory / "explanations").to_pylist() if r["method"] == "grad_cam"]
    labels = {row["image_id"]: row["label_ids"] for row in rows}
    assert labels == {"image0000": [2], "image0001": [3], "image0002": []}
    assert settings.model.path is not None
    model = keras.models.load_model(settings.model.path)
    for row in rows:
        noise = sample_shards.noise(20, 24, seed=int(row["image_id"][-1]))
        said = np.asarray(model(noise[None].astype(np.float32)))[0]
        assert row["predicted_class_id"] == np.bincount(said.argmax(-1).ravel(), minlength=4).argmax()
        assert row["probability"] == pytest.approx(said[..., row["class_id"]].mean(), abs=1e-6)
        assert (row["heatmap_height"], row["heatmap_width"]) == (20, 24)
    assert any(row["mask_iou"] is not None for row in rows)
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["model"]["pixels"] == [20, 24] and manifest["model"]["target_layer"] == "features"
    assert manifest["conventions"]["decode"]["label"] == "the largest class of the masks"
    assert "no better than chance" not in pathlib.Path(report.write_report(str(directory))).read_text()


def test_check_says_what_is_explained(settings):
    said = io.StringIO()
    explained = settings.model_copy(update={"output": settings.output.model_copy(update={"overwrite": True})})
    assert dry_run.check(explained, 3, said)
    assert "of 20x24 pixels: of a class, the mean over those that it claims (Seg-Grad-CAM)" in said.getvalue()


def test_methods_that_ask_the_model_again_are_refused(settings):
    again = settings.explain.model_copy(update={"methods": (config.MethodConfig(method="score_cam"),)})
    changed = settings.model_copy(update={"explain": again})
    with pytest.raises(loading.ModelError, match="for a model that classifies pixels take a method of one pass"):
        dry_run.check(changed, 1, io.StringIO())
