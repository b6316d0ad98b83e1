"""The command ``explore``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from heatbeam import command
from heatbeam.transforms import errors

PORT = 8750
_NEEDED = ("starlette", "uvicorn", "jinja2", "duckdb", "fsspec")


class MissingExplorer(errors.UserError):
    """What the explorer is made of is not installed."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run")
    parser.add_argument("candidate", metavar="RUN", nargs="?", help="a second run, to see side by side with the first")
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"of the address; {PORT} by default, or a free one where that is taken"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    command.add_images(parser)


def _explore(options: argparse.Namespace, _: Sequence[str]) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExplorer(f"explore needs {', '.join(missing)}; pip install 'heatbeam[explore]'")
    if options.port is not None and not 0 <= options.port < 1 << 16:
        raise errors.UsageError(f"--port is {options.port}; expected 0 to 65535, 0 for any that is free")
    from heatbeam.explore import server

    paths = [options.run, *([options.candidate] if options.candidate else [])]
    listening = server.listening(options.port, PORT)
    with listening:
        explorer = server.made(paths, options.images, listening)
        sys.stdout.write(f"{explorer.address}\n")
        sys.stdout.flush()
        command.waiting("open that address; Ctrl-C ends the explorer")
        explorer.serve(browser=not options.no_browser)
    return command.OK


EXPLORE = command.Command(
    "explore",
    "browse the images and numbers of one run or two in a local web app",
    "heatbeam explore runs/flowers\nheatbeam explore runs/monday runs/tuesday --port 8080 --no-browser",
    _add_options,
    _explore,
)
