"""The code that a run's settings name decodes, resizes and shows; a run knows which it was."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io

import cv2
import numpy as np
import pytest
import tensorflow as tf

from heatbeam import config
from heatbeam.job import incremental, plan, run
from heatbeam.runs import run_directory, source_images
from heatbeam.transforms import explain
from tests.support import small_runs

DEEP = (np.arange(20 * 24).reshape(20, 24) * 8).astype(np.uint16)  # 12 bits
DEEP_PNG = cv2.imencode(".png", DEEP)[1].tobytes()


def settings(tmp_path, directory="run", **given) -> config.RunConfig:
    records = [small_runs.record(i) for i in range(4)] + [small_runs.record(4, **{"image/encoded": [DEEP_PNG]})]
    text = small_runs.settings(small_runs.write(tmp_path / "data", records, 1), tmp_path / directory).as_dict()
    text["explain"]["methods"], text["input"] = ["cam", "score_cam"], {**text["input"], **given}
    return config.RunConfig.model_validate(text)


def rows(directory) -> dict[tuple[str, str, int], dict]:
    table = run_directory.RunDirectory(str(directory)).open_table("explanations").to_table().to_pylist()
    return {(row["image_id"], row["method"], row["class_id"]): row for row in table}


@pytest.mark.parametrize("resampler", ["pillow", "tensorflow"])
def test_a_run_explains_the_pixels_of_its_resampler(tmp_path, resampler):
    """Whole levels and fractions, 8 and 16 bits in one batch: each image as if it were alone."""
    asked = settings(tmp_path, resampler=resampler, value_range=(0.0, 4095.0))
    run.run(asked, (), io.StringIO())
    found = rows(tmp_path / "run")
    engine, _ = explain.acquire_engine(plan.make(asked).engine_spec)
    manifest = run_directory.RunDirectory(str(tmp_path / "run")).read_manifest()
    assert manifest.config.input.resampler == manifest.conventions.decode["image"]["resampler"] == resampler
    assert manifest.conventions.decode["image"]["value_range"] == [0, 4095]
    places = {(row["shard"], row["record_index"], row["image_sha256"]): row["image_id"] for row in found.values()}
    checked = 0
    for place, pixels in source_images.originals(manifest, list(places)):
        originals = pixels.astype(np.float32)
        if places[place] == "image0004":
            levels = np.clip(DEEP * (255 / 4095), 0, 255)
            np.testing.assert_array_equal(pixels[..., 0], np.rint(levels))  # shown as it was seen
            originals = np.repeat(levels[..., None], 3, axis=2).astype(np.float32)
        if resampler == "tensorflow":
            seen = tf.image.resize(originals, (64, 64)).numpy()
        else:
            planes = [np.asarray(_pillow(originals[..., i], places[place] != "image0004")) for i in range(3)]
            seen = np.stack(planes, axis=2).astype(np.float32)
        expected = engine.predict(engine.preprocess(seen[None]))[0]
        for (image_id, _, class_id), row in found.items():
            if image_id == places[place]:
                assert row["probability"] == pytest.approx(float(expected[class_id]), abs=2e-5)
                checked += 1
    assert checked == len(found) >= 10


def _pillow(plane: np.ndarray, whole: bool):
    from PIL import Image

    image = Image.fromarray(plane.astype(np.uint8) if whole else np.ascontiguousarray(plane))
    return image.resize((64, 64), Image.Resampling.BILINEAR)


@pytest.mark.parametrize(
    "changed",
    [{"resampler": "tensorflow"}, {"decoder": "tensorflow"}, {"value_range": "percentile"}, {"resize": "keras_crop"}],
    ids=lambda changed: next(iter(changed)),
)
def test_rows_of_other_pixels_are_not_reused(tmp_path, changed):
    """The keys of methods, by which rows are reused, are other ones as soon as a pixel can be."""
    first, second = settings(tmp_path), settings(tmp_path, **changed)
    engine, _ = explain.acquire_engine(dataclasses.replace(plan.make(first).engine_spec))
    keys = [incremental._keys(incremental.content_facts(plan.make(one), engine)) for one in (first, second)]
    assert keys[0] != keys[1] and keys[0] == incremental._keys(incremental.content_facts(plan.make(first), engine))


def test_manifest_and_keys_name_tensorflow_by_the_package_that_is_installed(tmp_path, monkeypatch):
    planned = plan.make(settings(tmp_path))
    engine, _ = explain.acquire_engine(planned.engine_spec)
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.99" if name == "tensorflow-cpu" else known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert run._first_manifest(planned.settings, ()).versions["tensorflow"] == "2.99"
    assert incremental.content_facts(planned, engine).all["versions"]["tensorflow"] == "2.99"


def test_settings_that_do_not_go_together_are_named_before_anything_is_loaded():
    base = {"tfrecord": "x"}
    for given, said in [
        ({"resampler": "opencv", "interpolation": "hamming"}, "opencv has no hamming; its filters are nearest, area"),
        ({"draft": True}, "draft is Pillow's: set resampler and decoder to pillow"),
        ({"shorter_side": 256}, "shorter_side goes with resize: shorter_side_center_crop"),
        ({"value_range": [9, 1]}, "value_range must be low, high"),
    ]:
        with pytest.raises(ValueError, match="image options: ") as caught:
            config.InputConfig(**base, **given)
        assert said in str(caught.value)
    assert config.InputConfig(**base).resampler == "tensorflow" and config.InputConfig(**base).decoder == "tensorflow"
