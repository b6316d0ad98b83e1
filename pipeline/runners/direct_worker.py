"""Beam's Python worker, made ready for a run: what worker processes of the direct runner and `heatbeam-worker` run."""

from __future__ import annotations

import gc
import sys

from apache_beam.runners.worker import sdk_worker_main

from heatbeam.runners import signatures

_YOUNG = 50_000
"""New objects between two looks for garbage. With Python's 700, a worker that imports TensorFlow looks through what is
there of half a million objects again and again; and what it makes of images is freed without the collector."""


def run() -> int:
    """Work until the runner closes the connection; the exit status. The environment says where the runner is."""
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    signatures.remember()
    sdk_worker_main.main([])
    gc.freeze()  # the interpreter need not look through it all once more when it ends
    return 0


if __name__ == "__main__":
    sys.exit(run())
