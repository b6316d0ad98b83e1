"""``heatbeam demo``: build the bundled sample (dataset and model), run on it, and write the report.

Nothing is downloaded: real handwritten digits over crops of two real photos, both from scikit-learn. One class carries
a planted shortcut, which the audit must find. Other kinds of input (`kinds`) are drawn, with a planted shortcut each.
"""

from __future__ import annotations

import pathlib
import shutil
import time
from typing import TextIO

from heatbeam import config
from heatbeam.demo import demo_data, demo_model, demo_scenes, loops
from heatbeam.demo.kinds import catalogue, kind, planted, suspects
from heatbeam.job import run
from heatbeam.listing import config_schema
from heatbeam.report import report
from heatbeam.runs import run_directory
from heatbeam.transforms import errors

IMAGES = "images"
KINDS = (IMAGES, *catalogue.KINDS)
"""What the demo can be of: encoded images, or a kind that `catalogue` lists."""

METHOD = "grad_cam"
"""Whose maps the demo of a kind says the suspects of."""

CONFIG = """\
# yaml-language-server: $schema=audit.schema.json
# The demo: 1,000 validation images of digits over photos, with boxes, masks and slices.
# `heatbeam demo` makes the data and the model that this file names.
input:
  tfrecord: {data}/validation-*.tfrecord
  decoder: pillow                       # the demo's model was trained so
  resampler: pillow
model:
  path: {data}/model.keras
  preprocessing: {{scale: {scale!r}, offset: {offset!r}}}
  class_names: {data}/class_names.txt
explain:
  methods:
    - cam
    - grad_cam
    - grad_cam_plus_plus
    - layer_cam
    - {{method: score_cam, sample: 0.2}}   # many passes: a fixed fifth of the images
    - random_cam                         # a baseline
  targets: [label, predicted]
evaluate:
  slices: [source, size_bucket]
output:
  directory: {run}
  overwrite: true
"""

_NOTICE = "NOTICE.txt"
_DRAWN = "Drawn by heatbeam demo --kind {kind}; delete the folder to have it drawn again.\n"


def config_text(data: str, directory: str, of: str = IMAGES) -> str:
    """The demo's configuration over the data in `data`, for a run in `directory`; `of` is one of `KINDS`."""
    if of != IMAGES:
        return catalogue.KINDS[of].settings(data, directory)
    return CONFIG.format(
        data=data, run=directory, scale=demo_model.PREPROCESSING_SCALE, offset=demo_model.PREPROCESSING_OFFSET
    )


def demo(directory: str, stream: TextIO, of: str = IMAGES) -> None:
    """Build, run and report.

    Args:
        directory: of the run; the data and the model go to ``<directory>_data`` and are kept for the next time.
        stream: where to say what is going on.
        of: one of `KINDS`.
    """
    data = pathlib.Path(f"{directory.rstrip('/')}_data")
    settings_file = data / "demo.yaml"
    with errors.about(data, "write"):
        _build(data, stream, of)
        (data / "audit.schema.json").write_text(config_schema.text(), encoding="utf-8")
        settings_file.write_text(config_text(str(data), directory, of), encoding="utf-8")
    stream.write(f"running {settings_file}\n")
    stream.flush()
    result = run.run(config.load(settings_file), (), stream)
    run.print_result(result, stream)
    stream.write(f"  {report.write_report(directory)}\n")
    if of != IMAGES:
        _say_suspects(result.directory, catalogue.KINDS[of], stream)


def _say_suspects(directory: run_directory.RunDirectory, of: kind.Kind, stream: TextIO) -> None:
    """Whom the audit suspects, beside the class that it should."""
    for finding in suspects.found(directory, METHOD):
        name = of.class_names[finding.class_id]
        stream.write(f"  suspected by {METHOD}: {name!r}, {'; '.join(finding.reasons())}\n")
    stream.write(f"  the marker is on {of.shortcut_class!r}\n")


def _notice(of: str) -> str:
    """What stands in the folder of the data of one of `KINDS`, and tells it from any other."""
    return demo_scenes.NOTICE if of == IMAGES else _DRAWN.format(kind=of)


def _build(data: pathlib.Path, stream: TextIO, of: str) -> None:
    """Write the dataset and train the model, unless both are there."""
    done = data / "complete"
    if data.exists():
        notice = data / _NOTICE
        is_mine = notice.exists() and notice.read_text(encoding="utf-8") == _notice(of)
        if not is_mine and any(data.iterdir()):
            raise config.ConfigError([f"{data} holds something else; give another --directory"], "demo")
        if done.exists():
            stream.write(f"using the dataset and model in {data}\n")
            return
        shutil.rmtree(data)
    stream.write(f"drawing the dataset in {data}\n")
    stream.flush()
    if of == IMAGES:
        with loops.compiled_meanwhile():
            _build_images(data, stream)
    else:
        _build_kind(data, stream, catalogue.KINDS[of])
    stream.flush()
    done.write_text("The dataset and the model are complete.\n", encoding="utf-8")


def _build_images(data: pathlib.Path, stream: TextIO) -> None:
    started = time.monotonic()
    dataset = demo_data.write_dataset(data)
    stream.write(
        f"  {dataset.train_images:,} training and {dataset.validation_images:,} validation images, "
        f"{time.monotonic() - started:.0f} s\ntraining the model\n"
    )
    stream.flush()
    training = demo_model.train_model(data, data / "model.keras")
    stream.write(f"  validation accuracy {training.validation_accuracy:.1%}, {training.seconds:.0f} s\n")


def _build_kind(data: pathlib.Path, stream: TextIO, of: kind.Kind) -> None:
    started = time.monotonic()
    data.mkdir(parents=True)
    (data / _NOTICE).write_text(_notice(of.name), encoding="utf-8")
    planted.write_dataset(of, data)
    train_count, validation_count = of.counts
    stream.write(
        f"  {train_count:,} training and {validation_count:,} validation {of.title}, "
        f"{time.monotonic() - started:.0f} s\ntraining the model\n"
    )
    stream.flush()
    training = planted.train_model(of, data / "model.keras")
    stream.write(
        f"  validation accuracy {training.accuracy:.1%}, {training.seconds:.0f} s; of {of.shortcut_class!r} with its "
        f"marker {training.marked_recall:.0%}, without it {training.unmarked_recall:.0%}\n"
    )
