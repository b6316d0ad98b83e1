"""``heatbeam demo``: build the bundled sample (dataset and model), run on it, and write the report.

Nothing is downloaded: real handwritten digits over crops of two real photos, both from scikit-learn. One class carries
a planted shortcut, which the audit must find.
"""

from __future__ import annotations

import pathlib
import shutil
import time
from typing import TextIO

from heatbeam import config
from heatbeam.demo import demo_data, demo_model
from heatbeam.job import run
from heatbeam.listing import config_schema
from heatbeam.report import report
from heatbeam.transforms import errors

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


def config_text(data: str, directory: str) -> str:
    """The demo's configuration over the data in `data`, for a run in `directory`."""
    return CONFIG.format(
        data=data, run=directory, scale=demo_model.PREPROCESSING_SCALE, offset=demo_model.PREPROCESSING_OFFSET
    )


def demo(directory: str, stream: TextIO) -> None:
    """Build, run and report.

    Args:
        directory: of the run; the data and the model go to ``<directory>_data`` and are kept for the next time.
        stream: where to say what is going on.
    """
    data = pathlib.Path(f"{directory.rstrip('/')}_data")
    settings_file = data / "demo.yaml"
    with errors.about(data, "write"):
        _build(data, stream)
        (data / "audit.schema.json").write_text(config_schema.text(), encoding="utf-8")
        settings_file.write_text(config_text(str(data), directory), encoding="utf-8")
    stream.write(f"running {settings_file}\n")
    stream.flush()
    result = run.run(config.load(settings_file), (), stream)
    run.print_result(result, stream)
    stream.write(f"  {report.write_report(directory)}\n")


def _build(data: pathlib.Path, stream: TextIO) -> None:
    """Write the dataset and train the model, unless both are there."""
    done = data / "complete"
    if done.exists():
        stream.write(f"using the dataset and model in {data}\n")
        return
    if data.exists():
        if not (data / "NOTICE.txt").exists() and any(data.iterdir()):
            raise config.ConfigError([f"{data} holds something else; give another --directory"], "demo")
        shutil.rmtree(data)
    started = time.monotonic()
    stream.write(f"drawing the dataset in {data}\n")
    stream.flush()
    dataset = demo_data.write_dataset(data)
    stream.write(
        f"  {dataset.train_images:,} training and {dataset.validation_images:,} validation images, "
        f"{time.monotonic() - started:.0f} s\ntraining the model\n"
    )
    stream.flush()
    training = demo_model.train_model(data, data / "model.keras")
    stream.write(f"  validation accuracy {training.validation_accuracy:.1%}, {training.seconds:.0f} s\n")
    stream.flush()
    done.write_text("The dataset and the model are complete.\n", encoding="utf-8")
