"""What the host does for each image around the model, without Beam and TensorFlow: decode, and localize a map.

    python -m heatbeam.bench.host_work FOLDER --json FILE

measures how many images a second threads, or processes, of this machine decode and localize. FOLDER has a folder
``photos`` of JPEGs, as `stablehlo.write_photos` leaves.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import cv2
import numpy as np

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import image_evidence, localization, protocols
from heatbeam.transforms.sources import images

COUNTS = (1, 2, 4, 8, 16)
"""How many threads or processes."""

_GROUPS = tuple(localization.GROUPS)
_LABEL = 3


def read_photos(folder: pathlib.Path) -> list[bytes]:
    """The JPEGs of an export."""
    return [path.read_bytes() for path in sorted((folder / "photos").glob("*.jpg"))]


def decode(photo: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """One photo as the decode step makes it, its digest included: uint8 ``(height, width, channels)``."""
    options = images.ImageOptions(height, width, channels, "squash", "bilinear", 1.0, 0, False, False, 10**8)
    hashlib.sha256(photo).hexdigest()
    return images.decode_image(photo, None, options)[0]


def explanation(number: int, raw: np.ndarray) -> records.Explanation:
    """One image of 500x375 with two boxes of its class, explained by a map.

    Args:
        number: of the image.
        raw: float32 ``(1, h, w)``, the map.
    """
    source = records.Source(f"image{number}", "shard", number, "", 500, 375, (0.0, 0.0, 500.0, 375.0), (_LABEL,))
    truth = records.GroundTruth(
        boxes=np.array([[60.0, 50, 300, 260], [350, 200, 480, 370]]),
        box_class_ids=np.full(2, records.NO_CLASS, np.int64),
        box_difficult=np.zeros(2, bool),
    )
    steps, scale = heatmaps.quantize(raw)
    return records.Explanation(
        source=source,
        ground_truth=truth,
        class_ids=np.array([_LABEL], np.int64),
        targets=(("label",),),
        logits=np.zeros(1, np.float32),
        probabilities=np.full(1, 0.5, np.float32),
        ranks=np.ones(1, np.int64),
        predicted_class_id=_LABEL,
        methods=(records.MethodMaps("grad_cam", "layer", heatmaps.dequantize(steps, scale)),),
    )


def localize(explained: records.Explanation) -> image_evidence.ImageEvidence:
    """What the localize step measures, every metric and baseline."""
    return image_evidence.localize(explained, protocols.DEFAULT, _GROUPS, with_baselines=True)[1]


def works(photos: Sequence[bytes], side: int) -> dict[str, Callable[[int], object]]:
    """What can be measured, by name: functions of an image's number.

    Args:
        photos: to decode.
        side: of the model's input, in pixels.
    """
    maps = [np.random.default_rng(n).normal(size=(1, 7, 7)).astype(np.float32) for n in range(len(photos))]

    def decode_one(number: int) -> None:
        decode(photos[number % len(photos)], side, side, 3)

    def localize_one(number: int) -> None:
        localize(explanation(number, maps[number % len(maps)]))

    def both(number: int) -> None:
        decode_one(number)
        localize_one(number)

    return {"decode": decode_one, "localize": localize_one, "decode and localize": both}


def use_one_thread_each() -> None:
    """Threads inside an operation of OpenCV would only take the cores from one another, as in a job."""
    cv2.setNumThreads(1)


def threads_rate(work: Callable[[int], object], count: int, seconds: float) -> float:
    """How often per second `count` threads side by side do `work`, a function of a number, for about `seconds`."""
    start = threading.Barrier(count)

    def run(first: int) -> float:
        start.wait()
        return _alone(work, first, seconds)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return sum(pool.map(run, range(count)))


def processes_rate(work: Callable[[int], object], count: int, seconds: float) -> float:
    """The same of `count` processes; forked, so that they have everything loaded and compiled."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(count)
    rates: Any = context.Queue()

    def run(first: int) -> None:
        start.wait()
        rates.put(_alone(work, first, seconds))

    processes = [context.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    total = sum(rates.get(timeout=60 + seconds) for _ in processes)
    for process in processes:
        process.join()
    return total


def _alone(work: Callable[[int], object], first: int, seconds: float) -> float:
    started = time.perf_counter()
    for done in itertools.count(1):
        work(1000 * first + done)
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return done / elapsed
    raise AssertionError


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images per second: the median of several measurements, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, rates: Sequence[float]) -> Rate:
        return cls(statistics.median(rates), min(rates), max(rates))

    def __str__(self) -> str:
        return f"{self.median:,.0f} ({self.least:,.0f} to {self.greatest:,.0f})"


def measure(
    photos: Sequence[bytes], side: int, counts: Sequence[int], repeats: int, seconds: float, stream: TextIO
) -> list[dict[str, Any]]:
    """Every kind of work by every number of threads and processes; a line for each is written as it is known."""
    use_one_thread_each()
    found = []
    for name, work in works(photos, side).items():
        work(0)  # compiles
        for kind, rate in (("threads", threads_rate), ("processes", processes_rate)):
            for count in counts:
                measured = Rate.of([rate(work, count, seconds) for _ in range(repeats)])
                stream.write(f"{name}: {count} {kind}: {measured} images/s\n")
                stream.flush()
                found.append({"work": name, "kind": kind, "count": count} | dataclasses.asdict(measured))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the rates as JSON."""
    parser = argparse.ArgumentParser(prog="python -m heatbeam.bench.host_work", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="threads, and processes")
    parser.add_argument("--side", type=int, default=224, help="of the model's input, in pixels (default: 224)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a repeat (default: 1)")
    options = parser.parse_args(arguments)
    photos = read_photos(options.folder)
    found = measure(photos, options.side, options.counts, options.repeats, options.seconds, sys.stdout)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"cores": os.cpu_count(), "rates": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
