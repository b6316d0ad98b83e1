"""Small datasets on disk and configurations that explain them, for tests of whole runs."""

from __future__ import annotations

import io
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from heatbeam import config
from heatbeam.job import run
from heatbeam.runs import run_directory
from heatbeam.transforms.sources import tfexample
from tests.support import keras_models, sample_shards


def record(number: int, **changes: Sequence[Any]) -> bytes:
    """Image `number`: 24 x 20 noise with a bright square, its box, its mask, a label of 0 to 9 and two slices."""
    pixels = sample_shards.noise(20, 24, seed=number) // 2
    x, y = 2 + number % 9, 3 + number % 7
    pixels[y : y + 8, x : x + 10] |= 128
    mask = np.zeros((20, 24), np.uint8)
    mask[y : y + 8, x : x + 10] = 255
    fields: dict[str, Sequence[Any]] = {
        "image/encoded": [sample_shards.encode(pixels)],
        "image/source_id": [f"image{number:04d}".encode()],
        "image/class/label": [number % 10],
        "image/object/bbox/xmin": [x / 24],
        "image/object/bbox/ymin": [y / 20],
        "image/object/bbox/xmax": [(x + 10) / 24],
        "image/object/bbox/ymax": [(y + 8) / 20],
        "image/object/class/label": [number % 10],
        "image/object/mask": [sample_shards.encode(mask)],
        "camera": [b"left" if number % 2 else b"right"],
        "size": [number % 3],
    }
    fields |= changes
    return tfexample.serialize({name: value for name, value in fields.items() if value is not None})


def write(folder: pathlib.Path, records: Sequence[bytes], shards: int) -> str:
    """Spread `records` over TFRecord shards; the pattern that matches them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(shards):
        name = f"data-{i:05d}-of-{shards:05d}.tfrecord"
        (folder / name).write_bytes(sample_shards.shard_bytes(records[i::shards]))
    return str(folder / "data-*.tfrecord")


def settings(pattern: str, directory: pathlib.Path, *overrides: str) -> config.RunConfig:
    """Explain with the golden model by CAM, Grad-CAM, Grad-CAM++ and Score-CAM."""
    text = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "model": {"path": keras_models.GAP, "preprocessing": "tf"},
        "explain": {
            "methods": ["cam", "grad_cam", "grad_cam_plus_plus", "score_cam"],
            "targets": ["label", "predicted"],
            "batch_size": 8,
        },
        "evaluate": {"slices": ["camera", "size"], "replicates": 20},
        "output": {"directory": str(directory), "report": False},  # its own tests write it
    }
    return config.parse(yaml.safe_dump(text), overrides)


def command_after(statements: str, *arguments: str) -> list[str]:
    """`heatbeam` with these arguments, in a process that first executes Python's statements.

    They stand in place of `preexec_fn`, with which Python forks: where this process has made a channel of gRPC, its
    threads' locks are in the child, which may abort.
    """
    start = "os.execv(sys.executable, [sys.executable, '-m', 'heatbeam', *sys.argv[1:]])"
    return [sys.executable, "-c", f"import os, resource, signal, sys\n{statements}\n{start}", *arguments]


def run_quietly(configured: config.RunConfig, *beam_options: str) -> run_directory.RunDirectory:
    """Run; the finished directory."""
    return run.run(configured, beam_options, io.StringIO()).directory


SORT = [("image_id", "ascending"), ("method", "ascending"), ("class_id", "ascending")]


def rows(directory: run_directory.RunDirectory) -> pa.Table:
    """The explanations in a fixed order, without what says where a record lay and in which run."""
    table = directory.open_table("explanations").to_table().sort_by(SORT)
    return table.drop_columns(["shard", "record_index", "run_id"])


def numbers(directory: run_directory.RunDirectory) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """The summary by method, slice and metric."""
    listed = directory.open_table("summary").to_table().to_pylist()
    return {(r["method"], r["slice_name"], r["slice_value"], r["metric"]): r for r in listed}


def assert_same_rows(one: pa.Table, other: pa.Table, tolerance: float = 2e-5) -> None:
    """Equal but for the run and the last bits of floats: keys, counts, classes exactly, numbers to float32 rounding."""
    assert one.schema.names == other.schema.names and len(one) == len(other)
    for name in one.schema.names:
        if name == "run_id":
            continue
        mine, yours = one[name], other[name]
        if pa.types.is_floating(mine.type):
            assert mine.is_null().equals(yours.is_null()), name
            a, b = (c.fill_null(0).to_numpy() for c in (mine, yours))
            least = tolerance * max(1, np.abs(a).max())
            if name == "mask_iou":  # where maps differ by a step, a pixel at the threshold may change sides
                differ = _maps_differ(one, other)
                np.testing.assert_allclose(a[differ], b[differ], atol=5e-4, err_msg=name)
                a, b = a[~differ], b[~differ]
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=least, err_msg=name)
        elif name == "heatmap":  # steps of 1/32767 of the map's largest value
            flat = [c.combine_chunks().flatten().to_numpy().astype(int) for c in (mine, yours)]
            assert np.abs(flat[0] - flat[1]).max() <= 2
        else:
            assert mine.equals(yours), name


def _maps_differ(one: pa.Table, other: pa.Table) -> np.ndarray:
    """Which rows have other maps, by the last bit; bool ``(N,)``."""
    stored = [zip(t["heatmap_scale"].to_pylist(), t["heatmap"].to_pylist(), strict=True) for t in (one, other)]
    return np.array([mine != yours for mine, yours in zip(*stored, strict=True)], bool)
