"""What a short run waits for: ``heatbeam run`` over 64 photos, against the loop that one would write by hand.

The loop imports TensorFlow, makes the model, compiles Grad-CAM and explains the photos; it checks nothing and keeps
nothing: ``python -m tests.benchmarks.scaling.start PATTERN``. Both are whole processes, in turn.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from tests.benchmarks import figures, samples, settings
from tests.support import paths

GOAL = figures.Goal(high=1.5)

APPLICATION = "MobileNetV2"
_IMAGES, _SHARDS, _BATCH = 64, 2, 8


def measure(options: settings.Options) -> list[figures.Figure]:
    """The job over the loop: in seconds, and in seconds of a processor, which other work on the machine moves less."""
    images = 8 if options.quick else _IMAGES
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        pattern = samples.write_shards(pathlib.Path(folder, "photos"), samples.photos(images), _SHARDS)
        job = ["heatbeam", "run", _configuration(folder, pattern)]
        loop = [__spec__.name, pattern]
        used: dict[str, list[float]] = {"job": [], "loop": []}
        pairs = figures.alternate(
            lambda: used["job"].append(_run(job)),
            lambda: used["loop"].append(_run(loop)),
            rounds=1 if options.quick else 5,
        )
    how = f"heatbeam run over a loop by hand, from start to end; {APPLICATION} over {images} photos"
    of_processor = list(zip(used["job"], used["loop"], strict=True))[1:]  # the first is not measured
    return [
        figures.cost("start", pairs, GOAL, how, unit="runs"),
        figures.cost("start_processor", of_processor, None, f"{how}, seconds of a processor", unit="runs"),
    ]


def _configuration(folder: str, pattern: str) -> str:
    """Path of the job's settings; JSON is YAML."""
    path = pathlib.Path(folder, "audit.yaml")
    text = {
        "input": {"tfrecord": pattern, **settings.INPUT},
        "model": {"application": APPLICATION, "arguments": {"weights": None}},
        "explain": {"methods": ["grad_cam"], "targets": list(settings.TARGETS), "batch_size": _BATCH},
        "output": {"directory": f"{folder}/run", "overwrite": True, "report": False},
    }
    path.write_text(json.dumps(text), encoding="utf-8")
    return str(path)


def _run(module: Sequence[str]) -> float:
    """Run ``python -m`` with a module and its arguments; the seconds of a processor that it took.

    Raises:
        subprocess.CalledProcessError: it failed; what it said is on standard error.
    """
    before = _processor_s()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return _processor_s() - before


def _processor_s() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def explain_by_hand(pattern: str) -> int:
    """Explain every photo by the compiled loop; how many there were."""
    from tests.benchmarks import models
    from tests.benchmarks.families import hand_written, photos

    model, both = models.logits_model(APPLICATION)
    explain = hand_written.grad_cam(both, hand_written.preprocessing(APPLICATION), constants=True)
    batches = photos.dataset(pattern, model.input_shape[1:3], _BATCH)
    return sum(len(explain(images, labels).numpy()) for images, labels in batches)


if __name__ == "__main__":
    sys.stdout.write(f"{explain_by_hand(sys.argv[1])} photos explained\n")
