from __future__ import annotations

import pytest
from apache_beam.options import pipeline_options

from heatbeam import config
from heatbeam.job import plan
from heatbeam.runners import runner_options
from tests.support import paths, small_runs

CONFIGS = paths.ROOT / "configs"


def section(**values) -> config.RunnerConfig:
    return config.RunnerConfig.model_validate(values)


def test_direct_is_the_in_process_runner_with_threads():
    assert runner_options.beam_arguments(section(workers=3), []) == [
        "--runner=heatbeam.runners.direct_runner.DirectRunner",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=3",
    ]


def test_processes_share_the_workers():
    assert runner_options.beam_arguments(section(processes=4, workers=16), []) == [
        "--runner=heatbeam.runners.direct_runner.DirectRunner",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=16",
        "--experiments=direct_num_processes=4",
    ]


def test_there_is_a_worker_for_each_process_where_none_are_named(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert (section().worker_count, section(processes=2).worker_count, section(processes=5).worker_count) == (2, 2, 5)
    monkeypatch.delattr("os.sched_getaffinity")  # as on macOS, which knows how many cores there are and no more
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert (section().worker_count, section(processes=5).worker_count) == (3, 5)


@pytest.mark.parametrize(
    ("overrides", "threads"),
    [
        (("runner.workers=2",), 1),
        (("runner.workers=4", "runner.processes=2"), 1),
        (("runner.workers=1",), None),
        (("runner.workers=4", "runner.processes=2", "runner.intra_op_threads=3"), 3),
    ],
)
def test_worker_threads_and_tensorflows_do_not_fight_for_cores(overrides, threads, tmp_path):
    assert plan.engine_spec(small_runs.settings("", tmp_path, *overrides)).intra_op_threads == threads


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"processes": 4, "workers": 3}, "4 processes cannot share 3 workers; each needs one"),
        ({"processes": 2, "name": "flink"}, "processes is for the direct runner; how many flink has, its own options"),
        ({"processes": True}, "got true; give the number of processes, 1 for threads of one process"),
        ({"processes": 0}, "greater than or equal to 1"),
    ],
)
def test_processes_that_cannot_be(values, said):
    with pytest.raises(ValueError, match=said):
        section(**values)


def test_no_runner_is_beams_default():
    """Which may download another engine, without a time-out."""
    assert not {"DirectRunner", "SwitchingDirectRunner"} & set(runner_options.RUNNERS.values())
    assert runner_options.RUNNERS.keys() == set(config.RunnerConfig.model_fields["name"].annotation.__args__)


def test_dataflow_does_not_pickle_the_main_module():
    arguments = runner_options.beam_arguments(section(name="dataflow"), ["--project=some-project"])
    options = pipeline_options.PipelineOptions(arguments).view_as(pipeline_options.SetupOptions)
    assert options.save_main_session is False


def test_command_line_wins_over_the_file():
    arguments = runner_options.beam_arguments(section(name="flink", options=["--parallelism=2"]), ["--parallelism=8"])
    assert arguments.index("--parallelism=2") < arguments.index("--parallelism=8")


def test_environment_option_of_the_command_line_is_the_one_that_beam_takes():
    section_options = ["--environment_option=process_command=worker", "--environment_option=process_variables=A=1"]
    extra = ["--environment_option=process_command=/opt/worker"]
    arguments = runner_options.beam_arguments(section(name="flink", options=section_options), extra)
    portable = pipeline_options.PipelineOptions(arguments).view_as(pipeline_options.PortableOptions)
    assert portable.lookup_environment_option("process_command") == "/opt/worker"
    assert portable.lookup_environment_option("process_variables") == "A=1"


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("direct", "--number_of_worker_harness_thread=3", "did you mean --number_of_worker_harness_threads?"),
        ("flink", "--paralelism=3", "did you mean --parallelism?"),
        ("flink", "--flink_mastr=localhost:8081", "did you mean --flink_master?"),
        ("dataflow", "--faster_copy=true", "unknown Beam option --faster_copy"),
        ("flink", "--number_of_worker_harness_threads=two", "invalid int value"),
        ("dataflow", "--autoscaling_algorithm=SOME", "invalid choice: 'SOME'"),
        ("flink", "--experiments=data_buffer_time_limit_ms=1000", "half-written elements"),
    ],
    ids=["near", "job server's", "flink's", "other runner's", "value", "choice", "flush on a timer"],
)
def test_wrong_options_are_refused(name, option, said):
    with pytest.raises(config.ConfigError) as caught:
        runner_options.beam_arguments(section(name=name), [option])
    assert said in str(caught.value)


def test_all_wrong_options_are_reported_together():
    with pytest.raises(config.ConfigError) as caught:
        runner_options.check_arguments(["--one_thing=1", "--other_thing"], portable=False)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_options_of_the_example_configurations_are_known(path):
    if "\nrunner:" in path.read_text():
        runner_options.beam_arguments(config.load(path).runner, [])
