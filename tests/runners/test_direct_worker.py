from __future__ import annotations

import gc

from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms import core

from heatbeam.runners import direct_worker, worker_processes


def test_a_worker_looks_for_garbage_seldom_and_never_in_what_it_imported(monkeypatch):
    before, seen = gc.get_threshold(), []
    plain = getattr(core.get_function_args_defaults, "__wrapped__", core.get_function_args_defaults)
    monkeypatch.setattr(core, "get_function_args_defaults", plain)
    monkeypatch.setattr(sdk_worker_main, "main", lambda _: seen.append((gc.isenabled(), gc.get_threshold())))
    try:
        assert direct_worker.run() == 0
        assert seen == [(True, (50_000, *before[1:]))]
        assert gc.get_freeze_count() > 10_000
        assert core.get_function_args_defaults.__wrapped__ is plain  # `signatures.remember`
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def test_the_direct_runner_starts_such_workers():
    assert worker_processes._COMMAND[1:] == ("-m", direct_worker.__name__)
