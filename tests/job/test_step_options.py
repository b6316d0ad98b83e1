"""Settings reach the steps: those of the same name by themselves, the others as they are worked out."""

from __future__ import annotations

import dataclasses
import types

import pytest

from heatbeam import config
from heatbeam.job import plan, step_options
from heatbeam.runs import run_directory
from heatbeam.transforms.sources import decode_options
from tests.support import small_runs

ABOUT = types.SimpleNamespace(input_size=(64, 48, 3), rank=2, digest="d" * 64, pixels=None, fed=())
"""What of a model's description the steps ask."""


@pytest.fixture
def settings(tmp_path) -> config.RunConfig:
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    return small_runs.settings(pattern, tmp_path / "run", "evaluate.faithfulness.metrics=[drop]")


def changed(settings: config.RunConfig, section: str, **values) -> config.RunConfig:
    given = settings.as_dict()
    given[section].update(values)
    return config.RunConfig.model_validate(given)


def test_no_field_of_an_option_record_is_left_to_its_default(settings, tmp_path, monkeypatch):
    """A field without a setting must be worked out: its default would be one that no file can change."""
    filled, left = plan.filled, {}

    def checked(record, *sections, prefix="", **given):
        names = {field.name for field in dataclasses.fields(record)} - given.keys()
        left[record.__name__] = {n for n in names if not any(prefix + n in type(s).model_fields for s in sections)}
        return filled(record, *sections, prefix=prefix, **given)

    monkeypatch.setattr(plan, "filled", checked)
    planned = plan.make(settings)
    step_options.make(planned, ABOUT, ("a", "b"), run_directory.RunDirectory(str(tmp_path / "run")))
    records = (
        "ModelSource", "Preprocessing", "MethodSpec", "EngineSpec", "ReadShards", "MaskOptions", "Assessment",
        "Settings", "Localize", "Aggregate",
    )  # fmt: skip
    assert left == {name: set() for name in records}
    of_images = {field.name for field in dataclasses.fields(decode_options.ImageOptions)}
    assert of_images - type(settings.input).model_fields.keys() == {"height", "width", "channels"}  # the model's


def test_images_and_masks_are_decoded_as_the_file_says(settings):
    values = {
        "resize": "crop", "interpolation": "bicubic", "crop_fraction": 0.875, "pad_value": 7, "exif": True,
        "draft": True, "max_pixels": 1000, "decoder": "pillow", "resampler": "pillow", "value_range": (0.0, 4095.0),
        "value_percentiles": (2.0, 98.0),
    }  # fmt: skip
    decoding = step_options.decode_step(changed(settings, "input", **values, semantic_ignore=None), ABOUT)
    assert decoding.image == decode_options.ImageOptions(64, 48, 3, **values)
    assert decoding.masks == decode_options.MaskOptions(0, None, 0)
    assert step_options.decode_step(settings, ABOUT).image == decode_options.ImageOptions(
        64, 48, decoder="pillow", resampler="pillow"
    )
    given = {"resize": "shorter_side_center_crop", "shorter_side": 72, "resampler": "tensorflow"}
    read = changed(settings, "input", **given, decoder="tensorflow")
    how = decode_options.ImageOptions(64, 48, **given, decoder="tensorflow")
    assert step_options.decode_step(read, ABOUT).image == how
    assert plan.engine_spec(read).float_pixels and not plan.engine_spec(settings).float_pixels
    with pytest.raises(config.ConfigError, match="input: image options: shorter_side must be at least 64"):
        step_options.decode_step(changed(settings, "input", **given | {"shorter_side": 50}), ABOUT)


@pytest.mark.parametrize(("offsets", "expected"), [((1, None), 1), ((1, 0), 0), ((0, 2), 2)])
def test_masks_count_classes_as_the_labels_do_unless_they_are_told(settings, offsets, expected):
    given = changed(settings, "input", label_offset=offsets[0], semantic_offset=offsets[1])
    assert step_options.decode_step(given, ABOUT).masks.offset == expected


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(("label", "predicted"), "label"), (("predicted", "labels"), "labels"), ((3, "predicted"), "class_3")],
)
def test_the_numbers_are_about_the_label_where_it_is_explained(targets, expected):
    assert step_options.primary_target(targets) == expected
