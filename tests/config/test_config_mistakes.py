"""Whatever is wrong in a configuration is named at once, however it is wrong."""

from __future__ import annotations

import pytest

from heatbeam import config
from heatbeam.config import yaml_text

PLANTED = """
input:
  tfrecord: 5
  compression: zip
  features: {image: 7, labell: x, boxes: [a]}
  required: 3
  raw_shape: [0, 2, 3]
  resize: stretch
  crop_fraction: 2
  pad_value: 300
  exif: maybe
  max_pixels: 0
  resampler: imagemagick
  reshuffle: true
  tfds: {name: a, directory: b, splitt: test}
model:
  path: m.keras
  application: ResNet50
  weights: w.h5
  safe_mode: perhaps
  preprocessing: {mode: tf, scale: 2, ofset: 1}
  input_size: [224]
  scores: logit
explain:
  methods:
    - gradcam
    - {method: cam, optoins: {}}
    - {method: smooth, layer: 3}
    - {method: score_cam, options: {chanels: 8}}
    - {method: grad_cam, wrapper: smoothgrad}
  targets: [label, best, -3, top_0]
  batch_size: many
  precision: float8
  seed: x
evaluate:
  protocol: wsol
  localization: 2
  slices: [all]
  replicates: -1
  faithfulness: {metrics: [insertoin], sample: 2, steps: 0, road_percentiles: [0], seed: q}
output:
  root: r
  directory: d
  resume: true
  overwrite: true
  keep: 0
  heatmap_dtype: int8
  max_dead_letter_ratio: 5
runner:
  name: local
  workers: 0
  processes: true
  options: --x=1
  resource_hints: [gpu]
sky: blue
"""

NAMED = """
input.tfrecord: ; input.compression: ; input.features.image: ; input.features.labell: unknown key; input.features.boxes:
input.required: ; input.raw_shape.0: ; input.resize: ; input.crop_fraction: ; input.pad_value: ; input.exif:
input.max_pixels: ; input.resampler: ; input.reshuffle: unknown key; input.tfds: give exactly one of name and directory
input.tfds.splitt: unknown key; input: give exactly one of tfrecord and tfds
model: give exactly one of path; model: weights and arguments go; model.safe_mode:
model.preprocessing: give either a mode; model.preprocessing.ofset: unknown key; model.input_size; model.scores
explain.methods.0: unknown method 'gradcam'; explain.methods.1.optoins: unknown key; explain.methods.2.layer
explain.methods.3.options.chanels; explain.methods.4.wrapper:
explain.targets: unknown target 'best'; explain.targets: class id -3; explain.targets: unknown target 'top_0'
explain.batch_size: ; explain.precision: ; explain.seed:
evaluate.protocol: ; evaluate.localization: ; evaluate.slices: all ; evaluate.replicates:
evaluate.faithfulness.metrics.0: ; evaluate.faithfulness.sample: ; evaluate.faithfulness.steps:
evaluate.faithfulness.road_percentiles.0: ; evaluate.faithfulness.seed:
output: give exactly one of directory and root; output: give either resume or overwrite; output.keep:
output.heatmap_dtype: ; output.max_dead_letter_ratio:
runner.name: ; runner.workers: ; runner.processes: ; runner.options: ; runner.resource_hints: ; sky: unknown key
"""


def problems_of(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(config.ConfigError) as caught:
        config.parse(text, overrides)
    return caught.value.problems


def test_every_one_of_many_mistakes_is_named_at_once():
    said = problems_of(PLANTED, "explain.seeed=1", "runner", "output.keep.more=2")
    named = [one.strip() for line in NAMED.strip().splitlines() for one in line.split(";")]
    assert len(named) > 50
    assert not [one for one in named if not any(line.startswith(one) for line in said)]
    assert any(line.startswith("explain.seeed: unknown key") for line in said)
    assert sum(line.startswith("--set ") for line in said) == 2
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input: {tfrecord: 5}\nmodel: {path: m}\noutput: {directory: d}", ("input.tfrecord: ",)),
        ("input: {tfrecord: x}\nmodel: {path: 5}\noutput: {directory: d}", ("model.path: ",)),
        ("input: {tfrecord: x}\nmodel: {path: m}\noutput: {directory: 5}", ("output.directory: ",)),
        ("input: {tfrecord: x}\nmodel: {path: m}\noutput: {root: 5, keep: 2}", ("output.root: ",)),
        ("input: {tfds: {name: 5}}\nmodel: {path: m}\noutput: {directory: d}", ("input.tfds.name: ",)),
        ("input: {tfrecord: x}\noutput: {directory: d}", ("model: is missing",)),
        ("input: 3\nmodel: []\noutput: d", ("input: ", "model: ", "output: ")),
    ],
)
def test_a_mistake_does_not_bring_another_with_it(text, said):
    found = problems_of(text)
    assert len(found) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(found, said, strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input:\n  tfrecord: a\n  tfrecord: b\n", "line 3: tfrecord is given twice in one section, first in line 2"),
        ("input: {}\nmodel: {}\ninput: {}\n", "line 3: input is given twice in one section, first in line 1"),
        ("input: {label_offset: 010}\n", "line 1: 010 is an octal number in YAML, 8; text goes in quotes"),
        ("runner:\n  resource_hints: {x: 12:30}\n", "line 2: 12:30 is a number of base 60 in YAML, 750"),
        ("model: {path: no}\n", "model.path: Input should be a valid string (it is False); YAML reads yes, no, on and"),
        ("model: {path: 12}\n", "model.path: Input should be a valid string (it is 12); put it in quotes if it is"),
        ("model: {path: 2026-01-02}\n", "(it is datetime.date(2026, 1, 2)); put it in quotes if it is text"),
        ("model:\n\tpath: x\n", "YAML is indented by spaces, not by tabs"),
        ("model: {path: 2026-13-45}\n", "not YAML: month must be in 1..12"),
        ("model: [\n", "not YAML: "),
        ("- a\n", "is a list, expected sections"),
        ("0\n", "is a int, expected sections"),
    ],
)
def test_what_yaml_reads_otherwise_than_it_is_meant_is_said(text, said):
    assert any(said in line for line in problems_of(text))


def test_keys_of_merged_sections_may_be_given_again():
    content, mistakes = yaml_text.read("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert content["b"] == {"x": 3, "y": 2} and not mistakes


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"input: {tfrecord: \xff\xfe}")
    with pytest.raises(config.ConfigError, match=r"c\.yaml: it is not UTF-8"):
        config.load(tmp_path / "c.yaml")
