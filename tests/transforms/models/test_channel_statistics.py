"""Statistics of channels: what files hold, and what they make of inputs of every rank, against NumPy."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import channel_statistics, loading
from tests.support import small_runs

MEAN, STD = (1.5, -2.0, 100.0), (0.5, 2.0, 50.0)


def saved(save, *arrays, **named):
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def text(**found):
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "data",
    [
        text(mean=MEAN, std=STD),
        text(mean=MEAN, variance=[each**2 for each in STD], count=0),
        text(image_mean=MEAN, image_std=STD, do_rescale=False, rescale_factor=0.5),
        saved(np.save, np.array([MEAN, STD], np.float32)),
        saved(np.savez, mean=np.float64(MEAN), std=np.float64(STD)),
        saved(np.savez, mean=np.reshape(MEAN, (1, 1, 1, 3)), variance=np.reshape(STD, (1, 1, 1, 3)) ** 2),
    ],
    ids=["json", "variance", "transformers", "npy", "npz", "normalization"],
)
def test_every_form_of_a_file(data):
    assert channel_statistics.parsed(data, "f") == channel_statistics.Statistics(MEAN, STD)


def test_a_rescaling_comes_first():
    found = channel_statistics.parsed(text(image_mean=MEAN, image_std=STD, rescale_factor=1 / 255), "f")
    assert found.scale == 1 / 255
    assert channel_statistics.parsed(text(mean=MEAN, std=STD, rescale_factor=None), "f").scale is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"mean: 3", "f holds no mean and std of channels: its bytes are neither JSON nor .npz nor .npy"),
        (b"\x00\xff", "neither JSON nor"),
        (b"\n", "the file is empty"),
        (text(mean=MEAN), "no std or image_std or variance or var among mean"),
        (text(mean=MEAN, std=STD[:2]), "3 means and 2 deviations"),
        (text(mean=MEAN, std=[1, 0, 1]), "not all finite and above 0"),
        (text(mean=MEAN, variance=[1, -1, 1]), "holds no mean and std"),
        (text(mean=["a"], std=[1]), "holds no mean and std"),
        (b"[1, 2]", "a list at the top"),
        (saved(np.save, np.zeros(4)), r"an array of shape \(4,\)"),
        (saved(np.save, np.array([{}], object)), "holds no mean and std"),
        (b"PK\x03\x04 broken", "holds no mean and std"),
    ],
)
def test_what_holds_none(data, message):
    with pytest.raises(ValueError, match=message):
        channel_statistics.parsed(data, "f")


@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 3), (2, 4, 5, 3)])
def test_inputs_of_every_rank(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    of = model_source.Preprocessing(scale=(1 / 255,), mean=MEAN, std=STD)
    found = loading.preprocessing_function(of, None)(pixels).numpy()
    np.testing.assert_allclose(found, (pixels / 255 - MEAN) / STD, rtol=1e-5, atol=1e-5)
    alone = loading.preprocessing_function(model_source.Preprocessing(mean=(3.0,)), None)(pixels).numpy()
    np.testing.assert_array_equal(alone, pixels.astype(np.float32) - 3)
    own = loading.preprocessing_function(model_source.Preprocessing(f"{__name__}:halved"), None)(pixels).numpy()
    np.testing.assert_array_equal(own, pixels.astype(np.float32) / 2)
    bgr = loading.preprocessing_function(model_source.Preprocessing("caffe"), None)(pixels).numpy()
    np.testing.assert_allclose(bgr, pixels[..., ::-1] - np.array([103.939, 116.779, 123.68]), rtol=1e-5, atol=1e-4)


def test_scale_and_offset_come_before_mean_and_deviation():
    of = model_source.Preprocessing(scale=(0.5,), offset=(1.0, -1.0), mean=(2.0,), std=(4.0, 2.0))
    found = loading.preprocessing_function(of, None)(np.array([[[10, 10], [0, 6]]], np.uint8)).numpy()
    # The first: 10 / 2 + 1 = 6, less 2 is 4, over 4 is 1.
    assert found.tolist() == [[[1.0, 1.0], [-0.25, 0.0]]]


def halved(pixels):
    return pixels / 2


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
@pytest.mark.parametrize("mode", ["caffe", "torch", "ResNet50", "DenseNet121"])
def test_means_of_imagenet_are_for_three_channels(mode, channels):
    function = loading.preprocessing_function(model_source.Preprocessing(mode), None)
    with pytest.raises(
        loading.ModelError, match=rf"{mode} is for the three channels of RGB.* has {channels}; give the"
    ):
        function(np.zeros((2, 4, channels), np.float32))


@pytest.mark.parametrize("mode", ["tf", "MobileNetV2"])
def test_scaling_is_defined_for_any_number_of_channels(mode):
    values = np.linspace(0, 255, 2 * 3 * 13, dtype=np.float32).reshape(2, 3, 13)
    found = loading.preprocessing_function(model_source.Preprocessing(mode), None)(values).numpy()
    np.testing.assert_allclose(found, values / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("name", ["scale", "offset", "mean", "std"])
def test_numbers_for_other_channels_are_refused(name):
    function = loading.preprocessing_function(model_source.Preprocessing(**{name: (1.0, 2.0, 3.0)}), None)
    with pytest.raises(loading.ModelError, match=rf"model\.preprocessing\.{name} has 3 numbers.*13 channels"):
        function(np.zeros((2, 4, 13), np.float32))


def settings(tmp_path, preprocessing):
    shards = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    written = json.dumps(preprocessing).replace("NaN", ".nan").replace("Infinity", ".inf")  # as YAML writes them
    return config.parse(
        f"input: {{tfrecord: '{shards}'}}\nmodel: {{path: m.keras, preprocessing: {written}}}\n"
        "output: {directory: d}\n"
    )


def test_a_plan_holds_the_numbers_of_the_file(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_bytes(text(image_mean=MEAN, image_std=STD, rescale_factor=0.25))
    made = plan.make(settings(tmp_path, {"statistics": str(path)}))
    wanted = {"scale": (0.25,), "mean": MEAN, "std": STD}
    assert made.engine_spec.preprocessing.numbers == wanted
    assert made.settings.model.preprocessing == config.PreprocessingConfig(**wanted)
    with pytest.raises(config.ConfigError, match="has a rescale_factor; leave"):
        plan.make(settings(tmp_path, {"statistics": str(path), "scale": 2}))
    for name, why in (("gone.json", "No such file or directory"), ("data", "Is a directory")):
        with pytest.raises(config.ConfigError, match=rf"preprocessing\.statistics: cannot read .*{name}: {why}$"):
            plan.make(settings(tmp_path, {"statistics": str(tmp_path / name)}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "tf", "mean": 3}, "either a mode or scale and offset"),
        ({"statistics": "a.json", "std": 3}, "either statistics or mean and std"),
        ({"std": [1, 0]}, "greater than 0"),
        ({"mean": "a"}, r"model\.preprocessing\.mean: Input should be a list \(it is 'a'\)"),
        ({"mean": float("nan")}, r"mean\.0: Input should be a finite number \(it is nan\)"),
        ({"offset": [0, float("inf")]}, r"offset\.1: Input should be a finite number"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, given, message):
    with pytest.raises(config.ConfigError, match=message):
        settings(tmp_path, given)
