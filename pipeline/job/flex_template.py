"""What a Dataflow Flex Template starts: builds the job of a configuration file and leaves it to Dataflow.

``configs/flex_template.json`` describes its parameters; whatever else the template's launcher passes are Beam options.
The run's directory says ``running`` until ``heatbeam finish DIRECTORY``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from apache_beam.io import filesystems

from heatbeam import config
from heatbeam.job import run
from heatbeam.transforms import errors
from heatbeam.transforms.errors import redaction


def main(arguments: Sequence[str] | None = None) -> int:
    """Launch the job; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    options, beam_options = parser().parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
    try:
        directory = run.launch(settings(options.config, options.overrides), beam_options)
    except errors.UserError as error:
        sys.stderr.write(f"{redaction.text(str(error))}\n")
        return error.status
    sys.stdout.write(f"launched; when the job is done: heatbeam finish {directory.path}\n")
    return 0


def settings(path: str, overrides: str) -> config.RunConfig:
    """The configuration at `path`, on any Beam file system, for Dataflow.

    Args:
        path: of the YAML file.
        overrides: ``section.key=value`` settings, separated by semicolons; may be empty.

    Raises:
        config.ConfigError: the file cannot be read, or anything in it is wrong.
    """
    try:
        with filesystems.FileSystems.open(path) as file:
            text = file.read().decode("utf-8")
    except (OSError, ValueError) as error:
        raise config.ConfigError([f"cannot read {path}: {error}"]) from error
    wanted = [part.strip() for part in overrides.split(";") if part.strip()]
    return config.parse(text, [*wanted, "runner.name=dataflow"], path)


def parser() -> argparse.ArgumentParser:
    """The template's own parameters."""
    parser = argparse.ArgumentParser(prog="flex_template", allow_abbrev=False)
    parser.add_argument("--config", required=True, help="configuration file, gs://BUCKET/PATH.yaml")
    parser.add_argument("--overrides", default="", help="section.key=value settings, separated by semicolons")
    return parser


if __name__ == "__main__":
    sys.exit(main())
