"""An image folder of Hugging Face's library ``datasets``: one row per explanation, with three images.

``load_dataset("imagefolder", data_dir=DIR, split="train")`` gives the columns ``image``, ``heatmap`` (grey,
0 to 255) and ``overlay``, and every column of ``explanations`` but the map's own. The library finds the images by the
columns ``file_name``, ``heatmap_file_name`` and ``overlay_file_name`` of ``metadata.parquet``. Tried with 5.2.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.export import export_samples
from heatbeam.pages import map_images

METADATA = "metadata.parquet"

_FOLDERS = ("heatmaps", "overlays")
ENTRIES = (METADATA, *_FOLDERS)


def write(target: pathlib.Path, table: pa.Table, samples: Iterable[export_samples.Sample], longest_px: int) -> int:
    """Write the images of every row and the metadata; how many images could be read from their shards.

    Args:
        target: the dataset's folder.
        table: rows of ``explanations``.
        samples: their images.
        longest_px: longer side of heatmaps and overlays.
    """
    for folder in _FOLDERS:
        (target / folder).mkdir()
    files: list[tuple[str, str, str]] = [("", "", "")] * table.num_rows
    with_image = [False] * table.num_rows
    found = 0
    for sample in samples:
        found += sample.pixels is not None
        for number, row in sample.rows:
            heat = sample.heat(row, longest_px)
            name = export_samples.file_name(number, row, ".png")
            pictures = (np.rint(heat * 255).astype(np.uint8), sample.overlay(heat))
            for folder, pixels in zip(_FOLDERS, pictures, strict=True):
                (target / folder / name).write_bytes(map_images.png(pixels))
            files[number] = (sample.file, f"{_FOLDERS[0]}/{name}", f"{_FOLDERS[1]}/{name}")
            with_image[number] = sample.pixels is not None
    paths = zip(*files, strict=True)
    named = {
        name: pa.array(list(column), pa.string())
        for name, column in zip(("file_name", "heatmap_file_name", "overlay_file_name"), paths, strict=True)
    }
    kept = [name for name in table.column_names if not name.startswith("heatmap")]
    columns = {**named, "with_image": pa.array(with_image), **{name: table[name] for name in kept}}
    pq.write_table(pa.table(columns), target / METADATA, compression="zstd")
    return found
