"""What a machine of each runner has, and what of its GPU each process takes: by hand, for GPUs that are not here."""

from __future__ import annotations

import pytest

from heatbeam import config
from heatbeam.job import plan
from heatbeam.job.check import machine_plan
from heatbeam.runners import machines, runner_options
from heatbeam.transforms.engine import gpu_shares
from tests.support import paths, small_runs

L4 = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
FEEDING = "which decode and localize; heatbeam bench says how long an image takes"
ONE = "--experiments=no_use_multiple_sdk_containers"


def section(*options: str, **values) -> config.RunnerConfig:
    return config.RunnerConfig.model_validate({"options": options, **values})


def machine_of(*options: str, **values) -> tuple[int | None, int | None, int, str | None, bool]:
    found = machines.of(section(*options, **values))
    return found.processes, found.threads, found.sharing, found.accelerator, found.mps


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ((), {"workers": 3}, (1, 3, 1, None, False)),
        ((), {"workers": 8, "processes": 3}, (3, 3, 4, None, False)),  # the launcher has a model too
        (("--sdk_worker_parallelism=4",), {"name": "flink"}, (4, None, 4, None, False)),
        (("--sdk_worker_parallelism=0",), {"name": "flink"}, (None, None, 1, None, False)),
        ((), {"name": "spark"}, (1, None, 1, None, False)),
        ((), {"name": "prism"}, (None, None, 1, None, False)),
        ((L4, "--machine_type=g2-standard-8"), {"name": "dataflow"}, (8, 1, 8, "nvidia-l4", True)),
        ((L4, "--machine_type=a2-highgpu-1g"), {"name": "dataflow"}, (None, 1, 1, "nvidia-l4", True)),
        ((ONE, "--machine_type=n1-standard-4"), {"name": "dataflow"}, (1, None, 1, None, False)),
        (
            ("--machine_type=n1-highmem-2",),
            {"name": "dataflow", "resource_hints": {"accelerator": "type:nvidia-tesla-t4;count:1"}},
            (2, 1, 2, "nvidia-tesla-t4", False),
        ),
        (
            ("--machine_type=n1-standard-1",),
            {"name": "dataflow", "resource_hints": {"accelerator": "type:nvidia-l4;machine_type:g2-custom-6-32768"}},
            (6, 1, 6, "nvidia-l4", False),
        ),
    ],
)  # fmt: skip
def test_processes_and_threads(options, values, expected):
    assert machine_of(*options, **values) == expected


@pytest.mark.parametrize(
    ("given", "processes", "limit"),
    [("auto", 5, None), ("grow", 1, None), (0.25, 5, 0.25), (4096, 5, 4096)],
)
def test_the_setting_becomes_the_workers_limit(given, processes, limit):
    runner = section(processes=4, workers=16, gpu_memory=given)
    assert machines.gpu_memory_of(runner) == gpu_shares.GpuMemory(processes, limit)


@pytest.mark.parametrize(
    ("shards", "megabytes", "overrides", "said"),
    [
        (
            1,
            64,
            (),
            "the records lie in 1 file, and 4 workers read a file each, so that 3 are idle; set input.reshuffle",
        ),
        (3, 200, (), "the records lie in 3 files, and 4 workers read a file each, so that 1 are idle"),
        (4, 200, (), None),
        (1, 63, (), None),
        (1, 200, ("input.reshuffle_records=true",), None),
        (1, 200, ("runner.name=flink",), None),
    ],
)
def test_large_data_in_few_files_leaves_workers_idle(tmp_path, shards, megabytes, overrides, said):
    settings = small_runs.settings("", tmp_path, "runner.workers=4", *overrides)
    warned = machine_plan.idle_workers(settings, shards, megabytes * 2**20)
    assert [warning.startswith(said) for warning in warned] == ([] if said is None else [True])


@pytest.mark.parametrize(
    ("given", "images", "milliseconds", "says"),
    [
        ({}, 50_000, 1.24, True),
        ({}, 49_999, 1.24, False),
        ({}, 50_000, 2.1, False),
        ({"processes": 2}, 50_000, 1.24, False),
        ({"workers": 1}, 50_000, 1.24, False),
        ({"name": "flink"}, 50_000, 1.24, False),
    ],
)
def test_threads_that_wait_for_one_another_are_told_of(given, images, milliseconds, says):
    found = machine_plan.waiting_workers(section(**{"workers": 4, **given}), images, milliseconds / 1000)
    said = (
        "explaining an image takes 1.2 ms, less than the rest of its work, for which 4 threads wait for Python's lock; "
        "runner.processes: 2 or more, each with a model of its own, can be twice as fast"
    )
    assert found == ([said] if says else [])


def test_options_of_the_command_line_count_too(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    settings = small_runs.settings(pattern, tmp_path / "run", "runner.name=dataflow")
    made = plan.make(settings, ["--machine_type=g2-standard-12"])
    assert made.engine_spec.gpu_memory == gpu_shares.GpuMemory(12)
    assert plan.make(settings, ["--machine_type=g2-standard-12", ONE]).engine_spec.gpu_memory == gpu_shares.GpuMemory()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (2.0, "expected a share above 0 to 1.0, MiB from 256 as a whole number, auto or grow; it is 2.0"),
        (4, "MiB from 256 as a whole number, auto or grow; it is 4"),
        (0.0, "it is 0.0"),
        (True, "it is True"),
        ("half", "it is 'half'"),
    ],
)
def test_memory_that_cannot_be(given, said):
    with pytest.raises(ValueError, match=said):
        section(gpu_memory=given)


@pytest.mark.parametrize(
    ("options", "hints", "said"),
    [
        ([L4], {"min_ram": "12GB"}, "worker_accelerator and runner.resource_hints exclude each other"),
        ([L4, ONE], {}, "use_nvidia_mps is for several processes, and no_use_multiple_sdk_containers leaves one"),
        ([L4.replace("count:1", "count:2")], {}, r"use_nvidia_mps needs machines with one GPU \(count:1\), not 2"),
        ([L4, "--dataflow_service_options=enable_prime"], {}, r"Dataflow Prime \(enable_prime\) does not know"),
    ],
)
def test_what_dataflow_does_not_take_together(options, hints, said):
    runner = section(*options[:1], name="dataflow", resource_hints=hints)
    with pytest.raises(config.ConfigError, match=said):
        runner_options.beam_arguments(runner, options[1:])


def plan_of(runner: config.RunnerConfig, total: int | None = None) -> tuple[list[str], list[str]]:
    machine, memory = machines.of(runner), machines.gpu_memory_of(runner)
    given = machine, memory, total is not None or machine.accelerator is not None, total or machine.memory_mib
    return machines.in_words(*given), machines.warnings(*given)


def test_plans_of_the_example_configurations():
    """One process of a T4; of an L4 as many as vCPUs, each with an equal part: 23034 / 8 less a quarter."""
    t4 = config.load(paths.ROOT / "configs" / "dataflow.yaml").runner
    assert plan_of(t4) == (
        [
            "each n1-standard-4: 1 process, 3 threads each, one model in each",
            "nvidia-tesla-t4: each process takes the memory that it needs, without a limit",
            f"nvidia-tesla-t4: fed by 3 threads in 1 process, {FEEDING}",
        ],
        [],
    )
    l4 = config.load(paths.ROOT / "configs" / "dataflow_mps.yaml").runner
    assert plan_of(l4) == (
        [
            "each g2-standard-8: 8 processes, 1 thread each, one model in each",
            "nvidia-l4: shared by 8 processes, each takes what it needs up to 2,160 of 23,034 MiB",
            f"nvidia-l4: fed by 8 threads in 8 processes, {FEEDING}",
        ],
        [],
    )


def test_a_plan_without_a_gpu_is_processes_and_threads():
    assert plan_of(section(processes=2, workers=4)) == (
        ["this machine: 2 processes, 2 threads each, one model in each and in the launcher"],
        [],
    )


@pytest.mark.parametrize(
    ("runner", "total", "said"),
    [
        (section(processes=3, workers=3, gpu_memory=0.5), 16384,
         "lets 4 processes take 8192 MiB each, and the GPU has 16384"),
        (section(name="prism"), 16384, "how many processes share a GPU is not known here"),
        (section("--machine_type=g2-standard-4", L4.replace(";use_nvidia_mps", ""), name="dataflow"), None,
         "4 processes take turns on the GPU without NVIDIA's MPS"),
        (section("--machine_type=g2-standard-4", L4.replace(";use_nvidia_mps", ""), ONE, name="dataflow"), None,
         "one process feeds an nvidia-l4: it waits for Python's lock"),
        (section("--machine_type=n1-standard-8", ONE, name="dataflow",
                 resource_hints={"accelerator": "type:nvidia-tesla-t4;count:2"}), None, "1 of 2 of a machine are idle"),
    ],
)  # fmt: skip
def test_what_wastes_a_gpu_is_said(runner, total, said):
    _, [warning] = plan_of(runner, total)
    assert said in warning
