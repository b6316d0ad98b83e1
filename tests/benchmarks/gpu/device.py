"""The device, its driver and the versions that figures are of."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

from heatbeam.transforms.engine import gpu_shares
from tests.benchmarks import results

_PACKAGES = ("tensorflow", "keras", "apache-beam", "numpy", "opencv-python-headless", "pillow")


class Device:
    """What TensorFlow computes on; a `child.Worker` that does nothing."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        del task

    def work(self, number: int) -> float:
        """Nothing."""
        del number
        return 0.0

    def result(self) -> dict[str, Any]:
        return {"device": found()}


def found() -> dict[str, Any]:
    """What TensorFlow computes on, as JSON values: ``gpus``, ``name``, ``compute_capability``, ``cuda``, ``cudnn``.

    It starts TensorFlow; call it in a process of its own.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    build = tf.sysconfig.get_build_info()
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    return {
        "gpus": len(gpus),
        "name": details.get("device_name", "GPU" if gpus else f"CPU ({platform.processor() or platform.machine()})"),
        "compute_capability": ".".join(map(str, details.get("compute_capability", ()))),
        "cuda": build.get("cuda_version", ""),
        "cudnn": build.get("cudnn_version", ""),
    }


def lines(device: Mapping[str, Any]) -> list[str]:
    """`found` in words, with driver, memory and versions; what is not known is left out."""
    said = [f"device   {device['name']}"]
    if device["gpus"]:
        said[0] += f", compute capability {device['compute_capability']}, the first of {device['gpus']}"
    built = f"; TensorFlow built for CUDA {device['cuda']}, cuDNN {device['cudnn']}" if device["cuda"] else ""
    asked = asked_of_driver("driver_version", "memory.total")
    if asked is not None:
        said.append(f"driver   {asked[0]}, memory {asked[1]} MiB{built}")
    elif (total := gpu_shares.total_mib(0)) is not None:
        said.append(f"driver   unknown, memory {total} MiB{built}")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in _PACKAGES)
    said.append(f"versions Python {platform.python_version()}, {versions}; heatbeam at commit {results.commit()}")
    return said


def used_mib() -> int | None:
    """Memory of the first GPU that is taken by all processes together, in MiB; None where nobody says."""
    asked = asked_of_driver("memory.used")
    return None if asked is None or not asked[0].isdecimal() else int(asked[0])


def asked_of_driver(*fields: str) -> list[str] | None:
    """What ``nvidia-smi`` says of the first GPU, a text for each field; None without it."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = [value.strip() for value in done.stdout.split("\n")[0].split(",")]
    return values if done.returncode == 0 and len(values) == len(fields) else None
