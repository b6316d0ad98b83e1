"""How soon the explorer answers over a million rows: ``python -m tests.benchmarks.scaling.explorer RUN``.

The rows of RUN (such as ``runs/demo``, of ``make demo``) are written again and again under new ids, with slightly other
numbers, until there are a million, in files as a job writes them; their images are those of RUN. A server of its own
answers over HTTP, six requests at a time as a browser asks. Goals are seconds of this project's machine of two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import html
import http.cookiejar
import itertools
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent import futures

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.runs import run_directory

ROWS = 1_000_000
FILES, GROUP_ROWS = 8, 8192
CONNECTIONS = 6
NUMBERS = ("probability", "energy_share", "entropy", "box_iou")

FIRST = "/a/grid"
FILTERS = (
    "method=grad_cam&target=label&decision=wrong&sort=energy_share",
    "method=cam&class=3&min.probability=.5&sort=entropy&order=desc",
    "method=cam&text=-00017&sort=box_iou",
    "max.energy_share=.05&min.probability=.9&sort=probability&order=desc",
)
GOALS = {"first page": 1.0, "a filter": 0.5, "60 pictures": 2.0}


def enlarged(path: str, folder: pathlib.Path, rows: int) -> str:
    """A finished run in `folder` of so many rows; its path."""
    source = run_directory.RunDirectory(path)
    small = source.open_table("explanations").to_table()
    manifest = source.read_manifest()
    target = run_directory.RunDirectory(str(folder))
    target.create(manifest.having(tables=None), overwrite=False)
    ids = small["image_id"].to_pylist()
    random = np.random.default_rng(0)
    copy = itertools.count()
    for number in range(FILES):
        count = rows * (number + 1) // FILES - rows * number // FILES
        parts = [_copy(small, ids, next(copy), random) for _ in range(-(-count // len(small)))]
        name = f"explanations/part-{number:05d}-of-{FILES:05d}.parquet"
        table = pa.concat_tables(parts).slice(0, count)
        pq.write_table(table, target.path_of(name), compression="zstd", row_group_size=GROUP_ROWS)
    for name in ("summary", "curves", "dead_letters"):
        table = source.open_table(name).to_table()
        pq.write_table(table, target.path_of(f"{name}/part-00000-of-00001.parquet"))
    target.finish(manifest.having(tables=None))
    return target.path


def _copy(small: pa.Table, ids: list[str], copy: int, random: np.random.Generator) -> pa.Table:
    table = small.set_column(0, small.schema.field(0), pa.array([f"{name}-{copy:03d}" for name in ids]))
    for name in set(NUMBERS) & set(small.schema.names):
        values = small[name].to_numpy(zero_copy_only=False) * random.uniform(0.9, 1, len(small))
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, pa.float32(), from_pandas=True))
    return table


Get = Callable[[str], bytes]


@contextlib.contextmanager
def served(path: str) -> Iterator[tuple[Get, float]]:
    """An explorer of a run: how to ask it, and the seconds from its start to its address."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "heatbeam", "explore", path, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        seconds = time.perf_counter() - started
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        root = address.partition("/?")[0]

        def get(where: str) -> bytes:
            with opener.open(root + where, timeout=60) as answer:
                content: bytes = answer.read()
                return content

        try:
            opener.open(address, timeout=60).close()
            yield get, seconds
        finally:
            process.terminate()


def measure(path: str) -> dict[str, list[float]]:
    """Seconds of each thing, of several tries."""
    found: dict[str, list[float]] = {"first page": [], "a filter": [], "60 pictures": []}
    for _ in range(3):  # each of a process that knows nothing yet
        with served(path) as (get, started):
            found.setdefault("start to address", []).append(started)
            found["first page"].append(_timed(functools.partial(get, FIRST))[0])
    with served(path) as (get, _):
        get(FIRST)
        time.sleep(5)  # whoever looks at a page has had its pictures before
        for query in FILTERS:
            seconds, page = _timed(functools.partial(get, f"{FIRST}?{query}"))
            found["a filter"].append(seconds)
            pictures = [html.unescape(one) for one in re.findall(r'src="(/a/[^"]+)"', page.decode())]
            with futures.ThreadPoolExecutor(CONNECTIONS) as pool:
                began = time.perf_counter()
                list(pool.map(get, pictures))
            found["60 pictures"].append(time.perf_counter() - began)
            found.setdefault("pictures of a page", []).append(len(pictures) / 2)
    return found


def _timed(call: Callable[[], bytes]) -> tuple[float, bytes]:
    started = time.perf_counter()
    answer = call()
    return time.perf_counter() - started, answer


def main() -> int:
    """Measure and print; exit status 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description="How soon the explorer answers.")
    parser.add_argument("run")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", default="build/explorer_bench", help="for the enlarged run; removed first")
    given = parser.parse_args()
    folder = pathlib.Path(given.folder)
    shutil.rmtree(folder, ignore_errors=True)
    path = enlarged(given.run, folder, given.rows)
    found = measure(path)
    load = os.getloadavg()[0]
    machine = {"cores": os.cpu_count(), "load": round(load, 1), "python": platform.python_version(), "rows": given.rows}
    missed = [name for name, goal in GOALS.items() if statistics.median(found[name]) > goal]
    seconds = {name: [round(one, 2) for one in values] for name, values in found.items()}
    sys.stdout.write(
        json.dumps({"machine": machine, "seconds": seconds, "goals": GOALS, "missed": missed}, indent=1) + "\n"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
