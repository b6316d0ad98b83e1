"""A model that gives an embedding: how near it is to another one is explained."""

from __future__ import annotations

import io
import pathlib

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from heatbeam import config
from heatbeam.job import run
from heatbeam.job.check import dry_run
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.tables import stored_maps
from tests.support import sample_shards, small_runs

REFERENCES = np.array([[3.0, 0.0, 4.0, 0.0], [-1.0, 1.0, 1.0, 1.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("similarity")
    keras.utils.set_random_seed(4)
    inputs = keras.Input((20, 24, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="last_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(4)(x)).save(folder / "embedding.keras")
    images = [[sample_shards.encode(sample_shards.noise(20, 24, seed=i))] for i in range(3)]
    small_runs.write(
        folder / "data", [small_runs.record(i, **{"image/encoded": image}) for i, image in enumerate(images)], 1
    )
    return folder


def settings_of(folder: pathlib.Path, reference: object, name: str, **explain: object) -> config.RunConfig:
    np.save(folder / f"{name}.npy", np.asarray(reference))
    text = small_runs.settings(str(folder / "data" / "data-*.tfrecord"), folder / name).as_dict()
    text["model"] = {"path": str(folder / "embedding.keras"), "preprocessing": "none", "scores": "similarity",
                     "reference": str(folder / f"{name}.npy")}  # fmt: skip
    text["explain"] = {"methods": ["grad_cam"], **explain}
    text["evaluate"] = {"replicates": 0}
    return config.RunConfig.model_validate(text)


def cosines(embeddings: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(embeddings, axis=1)[:, None] * np.linalg.norm(REFERENCES, axis=1)
    return embeddings @ REFERENCES.T / lengths


def test_the_value_is_the_cosine_and_the_map_its_evidence(folder):
    """d cos / d x = (v / |v| - cos x / |x|) / |x|; Grad-CAM weighs channels by its mean over the cells."""
    directory = pathlib.Path(run.run(settings_of(folder, REFERENCES[0], "one"), [], io.StringIO()).directory.path)
    table = pq.read_table(directory / "explanations")
    rows = table.to_pylist()
    model = keras.models.load_model(folder / "embedding.keras")
    until = keras.Model(model.input, model.get_layer("last_conv").output)
    for place, row in enumerate(rows):
        image = sample_shards.noise(20, 24, seed=int(row["image_id"][-1]))[None].astype(np.float32)
        x = np.asarray(model(image)).astype(np.float64)
        cosine = cosines(x)[0, 0]
        assert row["predicted_value"] == pytest.approx(cosine, abs=1e-6)
        assert (row["probability"], row["true_value"], row["error"], row["label_ids"]) == (None, None, None, [])
        length = np.linalg.norm(x)
        gradient = (REFERENCES[0] / 5 - cosine * x[0] / length) / length
        activations = np.asarray(until(image))[0]
        expected = (activations * (np.asarray(model.layers[-1].kernel) @ gradient)).sum(-1) / (9 * 11)
        found = stored_maps.StoredMaps(table).maps(np.array([place]))[0]
        np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() * 1e-4)
    assert {row["targets"][0] for row in rows} == {"predicted"}


def test_several_references_are_named_by_index(folder):
    directory = pathlib.Path(
        run.run(settings_of(folder, REFERENCES, "two", targets=[0, 1]), [], io.StringIO()).directory.path
    )
    rows = pq.read_table(directory / "explanations").to_pylist()
    model = keras.models.load_model(folder / "embedding.keras")
    for row in rows:
        image = sample_shards.noise(20, 24, seed=int(row["image_id"][-1]))[None].astype(np.float32)
        assert row["predicted_value"] == pytest.approx(cosines(np.asarray(model(image)))[0, row["class_id"]], abs=1e-6)
    assert len(rows) == 6


def test_check_says_what_it_is(folder):
    said = io.StringIO()
    assert dry_run.check(settings_of(folder, REFERENCES[0], "said"), 2, said)
    assert (
        "scores   cosine of the embedding that the model returns with the reference (model.reference)"
        in said.getvalue()
    )


def test_the_mean_embedding_of_a_class_is_compared_with(folder):
    """Records 1 and 4 are of class 1: (e(1) + e(4)) / 2."""
    images = [sample_shards.noise(20, 24, seed=i) for i in range(5)]
    made = [
        small_runs.record(i, **{"image/encoded": [sample_shards.encode(one)], "image/class/label": [i % 3]})
        for i, one in enumerate(images)
    ]
    settings = settings_of(folder, REFERENCES[0], "by_class").as_dict()
    settings["input"]["tfrecord"] = [small_runs.write(folder / "classes", made, 1)]
    settings["model"] |= {"reference": None, "reference_class": 1}
    directory = pathlib.Path(run.run(config.RunConfig.model_validate(settings), [], io.StringIO()).directory.path)
    model = keras.models.load_model(folder / "embedding.keras")
    embeddings = np.asarray(model(np.stack(images).astype(np.float32))).astype(np.float64)
    mean = (embeddings[1] + embeddings[4]) / 2
    expected = embeddings @ mean / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(mean)
    rows = sorted(pq.read_table(directory / "explanations").to_pylist(), key=lambda row: row["image_id"])
    np.testing.assert_allclose([row["predicted_value"] for row in rows], expected, atol=1e-6)
    settings["explain"] |= {"unfit": "skip", "methods": [{"method": "grad_cam"}, {"method": "layer_cam_fused"}]}
    settings["output"]["directory"] = str(folder / "skipped")
    told = io.StringIO()
    skipped = pathlib.Path(run.run(config.RunConfig.model_validate(settings), [], told).directory.path)
    assert "method layer_cam_fused is left out" in told.getvalue()
    assert set(pq.read_table(skipped / "explanations")["method"].to_pylist()) == {"grad_cam"}
    settings["model"]["reference_class"] = "raccoon"
    with pytest.raises(config.ConfigError, match="no record of class raccoon"):
        dry_run.check(config.RunConfig.model_validate(settings), 1, io.StringIO())


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([1.0, 2.0], "model.reference has embeddings of 2 numbers, the model returns 4"),
        ([0.0] * 4, "has an embedding of zeros"),
        (["a", "b"], "expected the numbers of one embedding"),
        (np.ones((2, 2, 2)), "expected the numbers of one embedding"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(folder, reference, said):
    with pytest.raises((config.ConfigError, loading.ModelError), match=said):
        dry_run.check(settings_of(folder, reference, "wrong"), 1, io.StringIO())


def test_a_reference_that_is_missing_or_not_needed_is_named(folder):
    settings = settings_of(folder, REFERENCES[0], "changed")
    for changes, said in (
        ({"reference": None}, "similarity needs either model.reference"),
        ({"scores": "softmax"}, "reference_class go with model.scores: similarity"),
        ({"reference": str(folder / "embedding.keras")}, "is no .npy file that can be read"),
        ({"reference": str(folder / "nothing.npy")}, "is no .npy file that can be read"),
    ):
        changed = settings.model_copy(update={"model": settings.model.model_copy(update=changes)})
        with pytest.raises(config.ConfigError, match=said):
            dry_run.check(changed, 1, io.StringIO())
