"""From the ``runner`` section to Beam's own options, checked: Beam only warns about a misspelt option and drops it."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Sequence

from apache_beam.io import filesystems
from apache_beam.options import pipeline_options

from heatbeam import config
from heatbeam.runners import machines

RUNNERS = {
    # Never the bare DirectRunner: it may try to download another engine without a time-out.
    "direct": "heatbeam.runners.direct_runner.DirectRunner",
    "flink": "FlinkRunner",
    "dataflow": "DataflowRunner",
    "spark": "SparkRunner",
    "prism": "PrismRunner",
    "portable": "PortableRunner",
}

PROCESSES = "direct_num_processes"
"""Experiment (a Beam option) of the direct runner: how many processes share its workers, with ``multi_processing``."""

# Options of the Java job servers, which Python's option classes do not know but pass on.
JOB_SERVER_OPTIONS = (
    "attached_mode",
    "checkpoint_timeout_millis",
    "checkpointing_interval",
    "execution_mode_for_batch",
    "execution_retry_delay",
    "fail_on_checkpointing_errors",
    "faster_copy",
    "finish_bundle_before_checkpointing",
    "flink_conf_dir",
    "max_bundle_size",
    "max_bundle_time_mills",
    "max_parallelism",
    "number_of_execution_retries",
    "object_reuse",
    "parallelism",
    "savepoint_path",
    "state_backend",
    "state_backend_storage_path",
)

# Beam's options for S3, and where pyarrow takes the same from, by which this process reaches run directories.
_S3_VARIABLES = {
    "s3_endpoint_url": "AWS_ENDPOINT_URL",
    "s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "s3_session_token": "AWS_SESSION_TOKEN",
    "s3_region_name": "AWS_DEFAULT_REGION",
}

_ENVIRONMENT_OPTION = re.compile(r"--environment_options?=(\w+)=")


def beam_arguments(runner: config.RunnerConfig, extra: Sequence[str]) -> list[str]:
    """The Beam command line of a run.

    Args:
        runner: the ``runner`` section.
        extra: what stood after ``--`` on the command line; wins over the section's own options.

    Raises:
        config.ConfigError: an option that Beam does not know, or a value it does not take.
    """
    arguments = [f"--runner={RUNNERS[runner.name]}"]
    if runner.name == "direct":
        mode = "multi_processing" if runner.processes > 1 else "multi_threading"
        arguments += [f"--direct_running_mode={mode}", f"--direct_num_workers={runner.worker_count}"]
        if runner.processes > 1:
            arguments += [f"--experiments={PROCESSES}={runner.processes}"]
    else:
        # Nothing of ours is defined in __main__, and pickling it drags the command line along.
        arguments += ["--no_save_main_session"] if runner.name == "dataflow" else []
    given = [*_not_overridden(runner.options, extra), *extra]
    check_arguments(given, portable=runner.name not in ("direct", "dataflow"))
    if problems := machines.problems(runner, extra):
        raise config.ConfigError(problems, "the Beam options")
    return arguments + given


def _not_overridden(options: Sequence[str], extra: Sequence[str]) -> list[str]:
    """`options` without the environment options that `extra` gives too: of two with one key Beam takes the first."""
    given = {match[1] for option in extra if (match := _ENVIRONMENT_OPTION.match(option))}
    return [o for o in options if not ((match := _ENVIRONMENT_OPTION.match(o)) and match[1] in given)]


def check_arguments(arguments: Sequence[str], portable: bool) -> None:
    """Refuse options that Beam would drop.

    Args:
        arguments: options in the form ``--name=value``, ``--name value`` or ``--flag``.
        portable: whether the runner passes job server options on.

    Raises:
        config.ConfigError: all problems at once.
    """
    parsers: list[argparse.ArgumentParser] = []
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    parser = parsers[0]
    known = {name for action in parser._actions for name in action.option_strings}
    if portable:
        known |= {f"--{name}" for name in JOB_SERVER_OPTIONS}
        for name in JOB_SERVER_OPTIONS:
            if f"--{name}" not in parser._option_string_actions:
                parser.add_argument(f"--{name}")

    def fail(message: str) -> None:
        raise config.ConfigError([f"Beam option: {message}"], "the Beam options")

    parser.error = fail  # type: ignore[method-assign, assignment]
    parsed, unknown = parser.parse_known_args(list(arguments))
    problems = []
    if any(experiment.startswith("data_buffer_time_limit_ms=") for experiment in parsed.experiments or []):
        problems.append(
            "experiment data_buffer_time_limit_ms: Beam's Python workers send half-written elements then; leave it out"
        )
    for before, argument in zip([*unknown[:1], *unknown], unknown, strict=False):
        name = argument.split("=", 1)[0]  # its value may be a secret whose name is misspelt
        if not name.startswith("-") and before.startswith("-") and "=" not in before:
            continue  # the value of the one before
        near = difflib.get_close_matches(name, sorted(known), 1)
        problems.append(f"unknown Beam option {name}" + (f"; did you mean {near[0]}?" if near else ""))
    if problems:
        raise config.ConfigError(problems, "the Beam options")


@contextlib.contextmanager
def connected(arguments: Sequence[str]) -> Iterator[None]:
    """Let this process reach remote files as the job's workers will: by the options of its Beam command line.

    Outside of a pipeline Beam's file systems have no options, and its S3 file system refuses to work without.
    """
    options = pipeline_options.PipelineOptions(list(arguments))
    filesystems.FileSystems.set_options(options)
    given = options.view_as(pipeline_options.S3Options).get_all_options(drop_default=True)
    changed = {variable: given[name] for name, variable in _S3_VARIABLES.items() if given.get(name)}
    before = {variable: os.environ.get(variable) for variable in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
