"""Memory of GPUs that are not here: by arithmetic, and by what TensorFlow is asked for."""

from __future__ import annotations

import types

import pytest
import tensorflow as tf

from heatbeam.transforms.engine import devices, gpu_shares

GPUS = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]


@pytest.mark.parametrize(
    ("memory", "total", "limit"),
    [
        (gpu_shares.GpuMemory(), 16384, None),
        (gpu_shares.GpuMemory(2), 16384, 8192 - 1536),
        (gpu_shares.GpuMemory(4), 16384, 4096 - 1024),
        (gpu_shares.GpuMemory(3), 1000, 333 - 83),
        (gpu_shares.GpuMemory(4, 0.2), 10000, 2000),
        (gpu_shares.GpuMemory(1, 1.0), 10000, 10000),
        (gpu_shares.GpuMemory(4, 2048), 16384, 2048),
        (gpu_shares.GpuMemory(4), None, None),
        (gpu_shares.GpuMemory(4, 0.2), None, None),
        (gpu_shares.GpuMemory(4, 2048), None, 2048),
    ],
)
def test_limits_by_hand(memory, total, limit):
    assert memory.limit_mib(total) == limit


@pytest.mark.parametrize("total", [4096, 16384, 23034, 144000])
@pytest.mark.parametrize("processes", range(2, 17))
def test_equal_shares_fit_the_gpu_with_a_reserve_for_each(total, processes):
    limit = gpu_shares.equal_share_mib(total, processes)
    left = total - processes * limit
    assert limit >= 0.75 * total / processes - 1
    assert processes * min(total // processes // 4, 1536) <= left < total


@pytest.fixture
def asked(monkeypatch) -> list[tuple]:
    """What TensorFlow is asked for, with two GPUs of 16 and 24 GiB."""
    said: list[tuple] = []
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setattr(gpu_shares, "total_mib", (16384, 24576).__getitem__)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: GPUS if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *given: said.append(("grow", *given)))
    monkeypatch.setattr(
        tf.config,
        "set_logical_device_configuration",
        lambda gpu, parts: said.append((gpu, *(part.memory_limit for part in parts))),
    )
    return said


def test_a_process_that_is_alone_takes_memory_as_needed(asked):
    devices.configure(None, gpu_shares.GpuMemory())
    assert asked == [("grow", GPUS[0], True), ("grow", GPUS[1], True)]


def test_several_have_a_limit_each_below_which_memory_is_taken_as_needed(asked):
    devices.configure(None, gpu_shares.GpuMemory(4))
    assert asked == [(GPUS[0], 3072), (GPUS[1], 4608)]
    assert devices.os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_without_the_drivers_answer_memory_grows_and_that_is_said(asked, monkeypatch, caplog):
    monkeypatch.setattr(gpu_shares, "total_mib", lambda ordinal: None)
    devices.configure(None, gpu_shares.GpuMemory(3))
    assert asked == [("grow", GPUS[0], True), ("grow", GPUS[1], True)]
    assert "its 3 processes share it without a limit; give runner.gpu_memory in MiB" in caplog.text
    devices.configure(None, gpu_shares.GpuMemory(3, 4096))
    assert asked[2:] == [(GPUS[0], 4096), (GPUS[1], 4096)]


def test_what_has_started_stays_as_it_is(asked, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Virtual devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_logical_device_configuration", refuse)
    devices.configure(None, gpu_shares.GpuMemory(2))


def test_a_limit_that_an_engine_of_before_has_set_stays(asked, monkeypatch):
    def refuse(*_):
        raise ValueError("Cannot set memory growth on device when virtual devices configured")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    devices.configure(None, gpu_shares.GpuMemory())


class Driver:
    """CUDA's driver with one GPU of 23034 MiB."""

    def cuInit(self, flags):  # noqa: N802 - the driver's names
        return 0

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        return 0 if ordinal == 0 else 101  # CUDA_ERROR_INVALID_DEVICE

    def cuDeviceTotalMem_v2(self, size, device):  # noqa: N802
        size._obj.value = 23034 * 2**20 + 5
        return 0


def test_the_driver_says_how_much_memory_a_gpu_has(monkeypatch):
    monkeypatch.setattr(gpu_shares, "ctypes", types.SimpleNamespace(**vars(gpu_shares.ctypes)))
    monkeypatch.setattr(gpu_shares.ctypes, "CDLL", lambda name: Driver())
    assert (gpu_shares.total_mib(0), gpu_shares.total_mib(1)) == (23034, None)


def test_no_driver_no_answer(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(gpu_shares, "ctypes", types.SimpleNamespace(**vars(gpu_shares.ctypes)))
    monkeypatch.setattr(gpu_shares.ctypes, "CDLL", missing)
    assert gpu_shares.total_mib(0) is None
