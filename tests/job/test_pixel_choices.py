"""What check says about the code that resizes and decodes: the model's own answers on the libraries' own pixels."""

from __future__ import annotations

import dataclasses
import io
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from heatbeam.job import pixel_choices
from heatbeam.job.check import dry_run
from heatbeam.transforms import records
from heatbeam.transforms.engine import engine
from heatbeam.transforms.sources import decode_options, images
from tests.support import engine_specs, keras_models, sample_shards, small_runs

STORED = [
    records.EncodedExample(f"i{i}", "s", i, sample_shards.encode(sample_shards.noise(150, 170, seed=i), "JPEG"))
    for i in range(5)
]
CHOSEN = decode_options.ImageOptions(64, 64, resampler="pillow", decoder="pillow")


@pytest.fixture(scope="module")
def explainer() -> engine.Engine:
    return engine.Engine(engine_specs.spec(engine_specs.file(keras_models.GAP), batch_size=4))


def test_effects_are_those_of_the_libraries_own_pixels(explainer):
    model = keras.models.load_model(keras_models.GAP)

    def probabilities(resized) -> np.ndarray:
        inputs = [explainer.preprocess(np.asarray(resized(one.image))[None])[0] for one in STORED]
        return tf.nn.softmax(model(np.stack(inputs), training=False)).numpy()

    def pillow(data):
        return Image.open(io.BytesIO(data)).resize((64, 64), Image.Resampling.BILINEAR)

    own = probabilities(pillow)
    plain = probabilities(lambda data: tf.image.resize(np.asarray(Image.open(io.BytesIO(data))), (64, 64)).numpy())
    decoded = probabilities(
        lambda data: Image.fromarray(tf.io.decode_image(data).numpy()).resize((64, 64), Image.Resampling.BILINEAR)
    )
    found = {(one.setting, one.value): one for one in pixel_choices.effects(explainer, STORED, CHOSEN)}
    assert set(found) == {
        *(("resampler", name) for name in ("tensorflow", "tensorflow_antialias", "opencv", "torchvision")),
        ("decoder", "tensorflow"),
    }
    first = own.argmax(axis=1)
    for key, other in (("resampler", "tensorflow"), plain), (("decoder", "tensorflow"), decoded):
        assert found[key].agreeing == (other.argmax(axis=1) == first).sum()
        expected = np.abs(other[range(5), first] - own[range(5), first]).mean()
        assert found[key].change == pytest.approx(expected, abs=1e-5) and expected > 1e-4
    assert found["resampler", "torchvision"].change == 0  # here Pillow's own


def test_only_filters_that_a_library_has_and_images_that_it_reads_are_compared(explainer):
    # A BMP of one bit, which TensorFlow refuses: the decoders are not compared.
    black = sample_shards.encode(np.zeros((9, 9), bool), "BMP")
    stored = [records.EncodedExample("b", "s", 0, black)]
    chosen = decode_options.ImageOptions(64, 64, resampler="pillow", decoder="pillow", interpolation="lanczos")
    found = pixel_choices.effects(explainer, stored, chosen)
    assert [(one.setting, one.value) for one in found] == [
        ("resampler", "tensorflow"), ("resampler", "tensorflow_antialias"), ("resampler", "opencv"),
    ]  # fmt: skip


def test_words_name_the_setting_that_matters_most(monkeypatch):
    explainer = types.SimpleNamespace(description=types.SimpleNamespace(probability="softmax"))
    effects = [pixel_choices.Effect("resampler", "opencv", 4, 0.02), pixel_choices.Effect("decoder", "x", 5, 0.1)]
    monkeypatch.setattr(pixel_choices, "effects", lambda *given: effects)
    first, second = pixel_choices.in_words(explainer, STORED, CHOSEN)
    assert "5 records" in first and "resampler opencv: 4 agree, probability 0.020 off" in first
    assert second.startswith("input.resampler matters for this model") and "opencv 4 of 5" in second
    effects[0] = pixel_choices.Effect("resampler", "opencv", 5, 0.002)
    assert list(pixel_choices.in_words(explainer, STORED, CHOSEN))[1].startswith("input.decoder matters")
    effects[1] = pixel_choices.Effect("decoder", "x", 5, 0.0)
    assert "none of these settings matters" in list(pixel_choices.in_words(explainer, STORED, CHOSEN))[1]


def test_of_values_the_change_is_said_and_no_choice():
    """A model that gives one number for each image, its mean."""

    def predict(pixels, others):
        assert others is None
        return pixels.mean(axis=(1, 2, 3))[:, None]

    regressor = types.SimpleNamespace(
        description=types.SimpleNamespace(probability="value"), preprocess=lambda pixels: pixels, predict=predict
    )
    (said,) = pixel_choices.in_words(regressor, STORED, CHOSEN)
    found = {one.value: one for one in pixel_choices.effects(regressor, STORED, CHOSEN)}
    one = dataclasses.replace(CHOSEN, resampler="opencv")
    means = [[images.decode_image(each.image, None, how)[0].mean() for how in (CHOSEN, one)] for each in STORED]
    assert found["opencv"].change == pytest.approx(np.mean([abs(a - b) for a, b in means]), rel=1e-4)
    assert "values of 5 records" in said and f"resampler opencv: {found['opencv'].change:.3g} off" in said


@pytest.mark.parametrize(
    ("top", "value_range", "words"),
    [
        (4095, "type", "have no value above 4095 here, which the model sees as level 15.9 of 255"),
        (4095, "type", "input.value_range: [0, 4095]"),
        (200, "type", "input.value_range: [0, 255]"),
        (60000, "type", None),
        (4095, (0.0, 4095.0), None),
        (4095, "percentile", None),
        (1023, (0.0, 4095.0), "input.value_range: [0, 1023]"),
        (4095, (1000.0, 2000.0), "75.6% of the values of images of 16 bits lie outside of input.value_range"),
    ],
)
def test_a_range_that_hides_most_of_sixteen_bits_is_said(top, value_range, words):
    """Of values that rise evenly from 0 to 4095, 24.4% lie from 1000 to 2000."""
    values = np.linspace(0, top, 64 * 64).astype(np.uint16).reshape(64, 64)
    stored = [*STORED, records.EncodedExample("d", "s", 9, sample_shards.encode(values))]
    said = list(pixel_choices.ranges_in_words(stored, dataclasses.replace(CHOSEN, value_range=value_range)))
    assert said == [] if words is None else words in said[0]
    assert list(pixel_choices.ranges_in_words(STORED, CHOSEN)) == []  # 8 bits


def test_check_says_it(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(3)], 1)
    stream = io.StringIO()
    assert dry_run.check(small_runs.settings(pattern, tmp_path / "run"), 3, stream)
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("pixels")]
    assert len(lines) == 2 and "first choices of 3 records" in lines[0]
    assert "bilinear by pillow, decoded by pillow" in stream.getvalue()
