"""A world audited as a user would: a run, then ``prove``; and what the audit of places and clusters of maps say."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import time
from collections.abc import Callable, Collection
from unittest import mock

import numpy as np
import yaml

from heatbeam import config
from heatbeam.audit import map_clusters, shortcuts
from heatbeam.audit.evidence import sample
from heatbeam.audit.proving import job as proving
from heatbeam.job import run
from heatbeam.runs import run_directory
from heatbeam.transforms.sources import tfexample
from tests.benchmarks.shortcuts import cues, worlds
from tests.support import sample_shards

EACH = 200
"""Images of a class that are audited."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the audits said of a world.

    Attributes:
        effects: of each planted cue on its class, by the generator.
        proved, fixed_place, clusters: classes that each audit accuses.
        without_boxes: those that are proved where no boxes are known.
        tried: classes of which a suspect was tried.
        run_s, prove_s: seconds, the model loaded before.
        run_images, passes: that the model was asked about.
        prove_blind_s, passes_blind: the same without boxes.
    """

    effects: dict[int, float]
    proved: frozenset[int]
    without_boxes: frozenset[int]
    tried: frozenset[int]
    fixed_place: frozenset[int]
    clusters: frozenset[int]
    run_s: float
    prove_s: float
    run_images: int
    passes: int
    prove_blind_s: float
    passes_blind: int


def settings(world: worlds.World, folder: pathlib.Path) -> config.RunConfig:
    """An audit of a world by Grad-CAM, its shards written and its network trained."""
    worlds.trained(world, folder)
    shards = folder / f"{world.name}_shards"
    if not shards.exists():
        _write(world.images(EACH, 1), shards)
    text = {
        "input": {"tfrecord": str(shards / "*.tfrecord"), "decoder": "pillow", "resampler": "pillow"},
        "model": {"path": str(folder / f"{world.name}.keras"), "preprocessing": "none"},
        "explain": {"methods": ["grad_cam"], "targets": ["label"]},
        "runner": {"workers": 1},
        "output": {"directory": str(folder / f"{world.name}_run"), "overwrite": True},
    }
    return config.parse(yaml.safe_dump(text), ())


def _write(drawn: worlds.Drawn, folder: pathlib.Path) -> None:
    order = np.random.default_rng(0).permutation(len(drawn.labels)).tolist()
    side = cues.SIDE
    records = []
    for i in order:
        x0, y0, x1, y1 = (drawn.boxes[i] / side).tolist()
        records.append(tfexample.serialize({
            "image/encoded": [sample_shards.encode(drawn.pixels[i])],
            "image/source_id": [f"{i:05d}".encode()],
            "image/class/label": [int(drawn.labels[i])],
            "image/object/bbox/xmin": [x0],
            "image/object/bbox/ymin": [y0],
            "image/object/bbox/xmax": [x1],
            "image/object/bbox/ymax": [y1],
            "image/object/class/label": [int(drawn.labels[i])],
        }))  # fmt: skip
    folder.mkdir(parents=True)
    for number in range(4):
        name = f"data-{number:05d}-of-00004.tfrecord"
        (folder / name).write_bytes(sample_shards.shard_bytes(records[number::4]))


def judge(world: worlds.World, folder: pathlib.Path) -> Judged:
    """Audit a world."""
    configured = settings(world, folder)
    model = worlds.trained(world, folder)
    truth = folder / f"{world.name}_truth.json"
    if not truth.exists():
        truth.write_text(json.dumps(worlds.truth(world, model)))
    effects = {int(class_id): value for class_id, value in json.loads(truth.read_text()).items()}
    started = time.perf_counter()
    finished = run.run(configured, (), io.StringIO())
    ran = time.perf_counter() - started
    with mock.patch.object(sample, "columns", _without_boxes(sample.columns)):
        proving.prove(finished.directory.path, stream=io.StringIO())  # loads the model, so that no time below has that
        started = time.perf_counter()
        without = proving.prove(finished.directory.path, stream=io.StringIO())
        proved_blind = time.perf_counter() - started
    blind = without.table.drop_columns(["pictures"]).to_pylist()
    started = time.perf_counter()
    found = proving.prove(finished.directory.path, stream=io.StringIO())
    proved = time.perf_counter() - started
    rows = found.table.drop_columns(["pictures"]).to_pylist()
    (folder / f"{world.name}_proofs.json").write_text(json.dumps(rows, indent=1))
    (folder / f"{world.name}_proofs_without_boxes.json").write_text(json.dumps(blind, indent=1))
    accused, accused_blind = (
        frozenset(row["class_id"] for row in some if row["verdict"] == "proved") for some in (rows, blind)
    )
    tried = frozenset(row["class_id"] for row in rows)
    return Judged(
        effects=effects,
        proved=accused,
        without_boxes=accused_blind,
        tried=tried,
        fixed_place=_of_place(finished.directory),
        clusters=_of_clusters(finished.directory, world.classes),
        run_s=ran,
        prove_s=proved,
        run_images=world.classes * EACH,
        passes=sum(row["passes"] for row in rows),
        prove_blind_s=proved_blind,
        passes_blind=sum(row["passes"] for row in blind),
    )


def _without_boxes(columns: Callable[[Collection[str]], list[str]]) -> Callable[[Collection[str]], list[str]]:
    """What is read of a run as if its data had no boxes."""
    return lambda names: columns([name for name in names if name not in ("energy_share", "true_boxes")])


def _of_place(directory: run_directory.RunDirectory) -> frozenset[int]:
    found = shortcuts.over_all(directory.open_table("explanations"), "label", "grad_cam")
    return frozenset(one.class_id for one in found if one.suspect)


def _of_clusters(directory: run_directory.RunDirectory, classes: int) -> frozenset[int]:
    """Classes whose maps fall into more than one cluster."""
    table = directory.open_table("explanations")
    return frozenset(
        class_id
        for class_id in range(classes)
        if len(map_clusters.cluster_class(table, "grad_cam", "label", class_id, 1)) > 1
    )
