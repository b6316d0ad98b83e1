"""Run and measure exports of `stablehlo` on a machine that has JAX and no TensorFlow, on its GPU if there is one.

    python -m heatbeam.bench.run_stablehlo FOLDER --json FILE

Each module is compiled, compared with what TensorFlow computed, and measured: with its inputs on the device already;
from uint8 images in host memory to results in host memory; and in loops of several threads, or processes, that decode,
explain and localize as a job does. Lines are written as they are known, and the file after each of them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import gzip
import itertools
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from heatbeam.bench import host_work, seeded_weights

_BATCHES = 4  # different batches that go to the device in turn
_START_SECONDS = 300.0  # for a process of a loop to load and compile

LOOPS = ((1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (4, 4), (16, 1))
"""Processes, and threads of each."""


@dataclasses.dataclass(frozen=True)
class Export:
    """A description as `stablehlo` writes it, and where it lies."""

    path: pathlib.Path
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def batch_sizes(self) -> list[int]:
        return sorted(int(size) for size in self.about["modules"])

    def tensors(self, which: str, batch_size: int) -> list[jax.ShapeDtypeStruct]:
        """The ``arguments`` or ``results`` for a batch size."""
        return [
            jax.ShapeDtypeStruct(tuple(batch_size if n == "batch" else n for n in one["shape"]), np.dtype(one["dtype"]))
            for one in self.about[which]
        ]

    def constants(self) -> list[Any]:
        """Weights and constants on the device, in the arguments' order."""
        found = []
        for index, argument in enumerate(self.about["arguments"]):
            if argument["role"] == "weight":
                found.append(jax.device_put(seeded_weights.values(argument, index, self.about["seed"])))
            elif argument["role"] == "constant":
                found.append(jax.device_put(np.asarray(argument["value"], argument["dtype"])))
        return found

    @property
    def fed(self) -> int:
        """How many arguments, the first ones, every batch brings: images, perhaps class ids."""
        return sum(one["role"] in ("images", "class_ids") for one in self.about["arguments"])

    def batch(self, batch_size: int, seed: int) -> list[np.ndarray]:
        """Random images and, where the pass has them, class ids 0."""
        images, *class_ids = self.tensors("arguments", batch_size)[: self.fed]
        pixels = np.random.default_rng(seed).integers(0, 256, images.shape, images.dtype)
        return [pixels, *(np.zeros(one.shape, one.dtype) for one in class_ids)]


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled module with its weights.

    Attributes:
        export: what it is of.
        batch_size: images of a batch.
        compiled: function of all arguments.
        constants: the arguments that stay.
        compile_s: seconds it took to compile.
    """

    export: Export
    batch_size: int
    compiled: Any
    constants: list[Any]
    compile_s: float

    def __call__(self, *fed: Any) -> Any:
        """Results of a batch, on the device, perhaps before they are computed."""
        return self.compiled(*fed, *self.constants)

    def memory_bytes(self) -> int | None:
        """What a call needs on the device, weights included; None where the compiler does not say."""
        about = self.compiled.memory_analysis()
        if about is None:
            return None
        return about.argument_size_in_bytes + about.output_size_in_bytes + about.temp_size_in_bytes


def read(folder: pathlib.Path) -> list[Export]:
    """The exports of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(about, dict) and isinstance(about.get("modules"), dict):
            found.append(Export(path, about))
    return found


def compile_module(export: Export, batch_size: int, constants: list[Any]) -> Module:
    """Compile a module for JAX's default device."""
    started = time.perf_counter()
    arguments = export.tensors("arguments", batch_size)
    results = export.tensors("results", batch_size)
    artifact = gzip.decompress((export.path.parent / export.about["modules"][str(batch_size)]).read_bytes())
    # JAX exports a function of the same arguments and results; the module takes the place of its module.
    stand_in = jax.jit(lambda *_: tuple(jnp.zeros(r.shape, r.dtype) for r in results), keep_unused=True)
    exported = dataclasses.replace(jax_export.export(stand_in)(*arguments), mlir_module_serialized=artifact)
    compiled = jax.jit(exported.call).lower(*arguments).compile()
    return Module(export, batch_size, compiled, constants, time.perf_counter() - started)


def differences(module: Module) -> dict[str, float]:
    """The greatest difference from TensorFlow's reference over the reference's greatest value, by result.

    Empty where the export has no reference.
    """
    reference = module.export.about["reference"]
    path = module.export.path.parent / str(reference)
    if reference is None or not path.exists():
        return {}
    stored = np.load(path)
    fed = [stored["images"], stored["class_ids"]]
    count, size = len(fed[0]), module.batch_size
    parts = []
    for start in range(0, count, size):
        rows = np.arange(start, start + size) % count  # a larger batch has the images several times
        parts.append(jax.device_get(module(*(one[rows] for one in fed))))
    found = {}
    for index, result in enumerate(module.export.about["results"]):
        if result["name"] in stored.files and result["name"] != "class_ids":
            ours = np.concatenate([part[index] for part in parts])[:count].astype(np.float64)
            expected = stored[result["name"]]
            found[result["name"]] = float(np.abs(ours - expected).max() / np.abs(expected).max())
    return found


def device_rate(module: Module, repeats: int, seconds: float) -> host_work.Rate:
    """Images per second where the inputs are on the device and the results stay there."""
    batches = [jax.device_put(module.export.batch(module.batch_size, seed)) for seed in range(_BATCHES)]

    def run(count: int) -> None:
        for _, batch in zip(range(count), itertools.cycle(batches), strict=False):
            last = module(*batch)
        jax.block_until_ready(last)

    return _rate(run, module.batch_size, repeats, seconds)


def host_rate(module: Module, repeats: int, seconds: float) -> host_work.Rate:
    """Images per second from host memory to host memory; a batch is sent before the results of the last are fetched."""
    batches = [module.export.batch(module.batch_size, seed) for seed in range(_BATCHES)]

    def run(count: int) -> None:
        last = None
        for _, batch in zip(range(count), itertools.cycle(batches), strict=False):
            out = module(*jax.device_put(batch))
            if last is not None:
                jax.device_get(last)
            last = out
        jax.device_get(last)

    return _rate(run, module.batch_size, repeats, seconds)


def _rate(run: Callable[[int], None], batch_size: int, repeats: int, seconds: float) -> host_work.Rate:
    """Images per second of `run`, a function of a number of batches, measured for about `seconds` each time."""
    run(2)
    started = time.perf_counter()
    run(4)
    count = max(4, round(4 * seconds / (time.perf_counter() - started)))
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(count)
        rates.append(count * batch_size / (time.perf_counter() - started))
    return host_work.Rate.of(rates)


def loop_rate(module: Module, photos: Sequence[bytes], threads: int, localize: bool, seconds: float) -> float:
    """Images per second of threads that decode, explain and localize, each its own batches, for about `seconds`."""
    fed = module.export.tensors("arguments", module.batch_size)
    _, height, width, channels = fed[0].shape
    class_ids = module.export.batch(module.batch_size, 0)[1]
    where = next(i for i, one in enumerate(module.export.about["results"]) if one["name"].startswith("maps/"))

    def one_batch(number: int) -> None:
        numbers = range(number * module.batch_size, (number + 1) * module.batch_size)
        pixels = np.stack([host_work.decode(photos[n % len(photos)], height, width, channels) for n in numbers])
        maps = np.moveaxis(jax.device_get(module(*jax.device_put([pixels, class_ids])))[where], -1, 1)
        for n, raw in zip(numbers, maps, strict=True):
            explained = host_work.explanation(n, raw[:1])
            if localize:
                host_work.localize(explained)

    return module.batch_size * host_work.threads_rate(one_batch, threads, seconds)


def process_loop_rate(
    module: Module, photos: Sequence[bytes], processes: int, threads: int, localize: bool, seconds: float
) -> float:
    """The same by processes of several threads, each with the model on the same device."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    results: Any = context.Queue()
    cache = str(jax.config.jax_compilation_cache_dir)
    arguments = (module.export.path, module.batch_size, photos, threads, localize, seconds, start, results, cache)
    pool = [context.Process(target=_loop_in_process, args=arguments) for _ in range(processes)]
    for process in pool:
        process.start()
    try:
        return sum(results.get(timeout=_START_SECONDS + 10 * seconds) for _ in pool)
    finally:
        for process in pool:
            process.join(timeout=5)
            process.terminate()


def _loop_in_process(
    path: pathlib.Path,
    batch_size: int,
    photos: Sequence[bytes],
    threads: int,
    localize: bool,
    seconds: float,
    start: Any,
    results: Any,
    cache: str,
) -> None:
    _configure(cache)
    export = Export(path, json.loads(path.read_text(encoding="utf-8")))
    module = compile_module(export, batch_size, export.constants())
    loop_rate(module, photos, threads, localize, 0.0)
    start.wait(timeout=_START_SECONDS)
    results.put(loop_rate(module, photos, threads, localize, seconds))


def _configure(cache: str) -> None:
    """Settings of a process before its first computation.

    Args:
        cache: folder of compiled modules, so that several processes compile a module once.
    """
    # As in a job, where processes share a GPU.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    host_work.use_one_thread_each()


class Results:
    """What is known so far: lines on a stream, and a file that is written anew with each of them.

    Args:
        path: of the JSON file.
        stream: for the lines.
    """

    def __init__(self, path: pathlib.Path, stream: TextIO) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._stream = stream
        self._started = time.perf_counter()
        device = jax.devices()[0]
        self.content: dict[str, Any] = {
            "device": device.device_kind,
            "platform": device.platform,
            "jax": jax.__version__,
            "cores": os.cpu_count(),
            "modules": [],
            "loops": [],
        }
        self.say(f"{device.device_kind}, {device.platform}, JAX {jax.__version__}, {os.cpu_count()} cores")

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._started

    def say(self, line: str) -> None:
        self._stream.write(f"{self.seconds:6.1f} s  {line}\n")
        self._stream.flush()

    def add(self, kind: str, row: dict[str, Any], line: str) -> None:
        self.content[kind].append(row)
        self.content["memory"] = jax.devices()[0].memory_stats()
        self._path.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        self.say(line)


def measure_modules(exports: Sequence[Export], options: argparse.Namespace, results: Results) -> dict[str, Module]:
    """Every module: its differences, rates and memory; those of the loops' batch size by name of the export."""
    constants = {export.name: export.constants() for export in exports}
    kept: dict[str, Module] = {}
    for batch_size in options.batch_sizes:
        chosen = [export for export in exports if batch_size in export.batch_sizes]
        # Side by side, since a compiler uses few of the cores; one batch size at a time, so that there is something to
        # show soon.
        with concurrent.futures.ThreadPoolExecutor(options.compile_threads) as pool:
            modules = list(pool.map(lambda e, n=batch_size: compile_module(e, n, constants[e.name]), chosen))
        results.say(f"compiled {len(modules)} modules for batches of {batch_size}")
        for module in modules:
            if results.seconds > options.limit_s:
                results.say("out of time; the rest is left out")
                return kept
            _measure_module(module, options, results)
            if batch_size == options.loop_batch and module.export.about["pass"] == "maps":
                kept[module.export.name] = module
    return kept


def _measure_module(module: Module, options: argparse.Namespace, results: Results) -> None:
    differ = differences(module)
    device = device_rate(module, options.repeats, options.seconds)
    host = host_rate(module, options.repeats, options.seconds)
    about, memory_bytes = module.export.about, module.memory_bytes()
    row = {
        **{key: about[key] for key in ("model", "precision", "pass")},
        "batch_size": module.batch_size,
        "device_images_per_s": dataclasses.asdict(device),
        "host_images_per_s": dataclasses.asdict(host),
        "memory_bytes": memory_bytes,
        "compile_s": module.compile_s,
        "differences": differ,
    }
    worst = ", ".join(f"{name} {value:.1e}" for name, value in differ.items()) or "no reference"
    line = (
        f"{module.export.name} batch {module.batch_size}: on the device {device}, "
        f"from and to the host {host} images/s; "
        f"{(memory_bytes or 0) / 2**20:,.0f} MiB; compiled in {module.compile_s:.0f} s; differs by: {worst}"
    )
    results.add("modules", row, line)


def measure_loops(
    modules: dict[str, Module], photos: Sequence[bytes], options: argparse.Namespace, results: Results
) -> None:
    """Loops of threads and processes, with and without localization."""
    rates = {(row["model"], row["precision"], row["batch_size"]): row for row in results.content["modules"]
             if row["pass"] == "maps"}  # fmt: skip
    for module in modules.values():
        about = module.export.about
        if about["precision"] not in options.loop_precisions:
            continue
        alone = rates[about["model"], about["precision"], module.batch_size]["device_images_per_s"]["median"]
        for localize, (processes, threads) in itertools.product((True, False), options.loops):
            if results.seconds > options.limit_s:
                results.say("out of time; the rest is left out")
                return
            if processes == 1:
                loop_rate(module, photos, threads, localize, 0.0)
                rate = loop_rate(module, photos, threads, localize, options.loop_seconds)
            elif localize:
                rate = process_loop_rate(module, photos, processes, threads, localize, options.loop_seconds)
            else:
                continue  # starting processes takes longer than anything else here
            row = {
                "model": about["model"],
                "precision": about["precision"],
                "batch_size": module.batch_size,
                "processes": processes,
                "threads": threads,
                "localize": localize,
                "images_per_s": rate,
                "device_busy": rate / alone,
            }
            work = "decode, explain and localize" if localize else "decode and explain"
            results.add(
                "loops",
                row,
                f"{module.export.name} batch {module.batch_size}: {processes} x {threads} threads {work} "
                f"{rate:,.0f} images/s; the device is busy {rate / alone:.0%}",
            )


def table(content: dict[str, Any]) -> str:
    """The modules' rates, a line each."""
    lines = [
        f"{'model':14} {'precision':15} {'pass':8} {'batch':>5} {'device':>9} {'host':>9} {'MiB':>7} {'differs':>8}"
    ]
    order = sorted(content["modules"], key=lambda r: (r["model"], r["precision"], r["pass"], r["batch_size"]))
    for row in order:
        differ = max(row["differences"].values(), default=float("nan"))
        lines.append(
            f"{row['model']:14} {row['precision']:15} {row['pass']:8} {row['batch_size']:5} "
            f"{row['device_images_per_s']['median']:9,.0f} {row['host_images_per_s']['median']:9,.0f} "
            f"{(row['memory_bytes'] or 0) / 2**20:7,.0f} {differ:8.1e}"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the exports of a folder."""
    parser = argparse.ArgumentParser(prog="python -m heatbeam.bench.run_stablehlo", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="of exports")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", metavar="TEXT", help="exports with this in their names")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=(32, 128, 8, 256, 1), help="in this order")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of a repeat (default: 0.25)")
    parser.add_argument("--compile-threads", type=int, default=4)
    parser.add_argument("--loops", type=_loop, nargs="*", default=LOOPS, metavar="PxT", help="processes x threads")
    parser.add_argument("--loop-batch", type=int, default=32, help="batch size of the loops (default: 32)")
    parser.add_argument("--loop-precisions", nargs="+", default=("float32",))
    parser.add_argument("--loop-seconds", type=float, default=2.0, help="of a loop (default: 2)")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="start nothing new after so many seconds")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="heatbeam-modules-") as cache:
        _configure(os.environ.get("JAX_COMPILATION_CACHE_DIR", cache))
        results = Results(options.json, sys.stdout)
        exports = [export for export in read(options.folder) if options.only in export.name]
        kept = measure_modules(exports, options, results)
        sys.stdout.write(table(results.content))
        measure_loops(kept, host_work.read_photos(options.folder), options, results)


def _loop(text: str) -> tuple[int, int]:
    processes, threads = text.split("x")
    return int(processes), int(threads)


if __name__ == "__main__":
    main()
