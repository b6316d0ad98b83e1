"""The arithmetic of the measured choices; never their times."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import child, choices, models

ONE, OTHER = choices.WAYS[:2]


def test_a_way_is_held_against_the_default_of_its_round():
    default = choices.DEFAULT.what
    seconds = [
        {default: 1.0, ONE.what: 2.0, OTHER.what: 0.5},
        {default: 2.0, ONE.what: 3.0, OTHER.what: 1.0},
        {default: 1.0, ONE.what: 9.0, OTHER.what: 0.9},
    ]
    first, second = choices._figures("MobileNetV2", (choices.DEFAULT, ONE, OTHER), seconds, 96)
    assert (first.ratio, first.spread) == (2.0, (1.5, 9.0))
    assert (second.ratio, second.spread) == (0.5, (0.5, 0.9))
    assert first.goal is None and first.measured["reference_images_per_s"] == 96
    assert first.name == f"{ONE.what} over the default, MobileNetV2"


def test_every_other_round_goes_backwards_and_only_running_time_counts(monkeypatch):
    asked, orders = [], []

    class Waiting:
        def __init__(self, task):
            asked.append(task)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def work(self, number):
            assert number == 0  # the warm-up

        def finish(self):
            pass

    def in_slices(children, number):
        assert number == 1
        orders.append(list(children))
        return {what: [(0.0, 1.0), (5.0, 5.5 + place)] for place, what in enumerate(children)}

    monkeypatch.setattr(child, "Child", Waiting)
    monkeypatch.setattr(child, "in_slices", in_slices)
    found = choices.rounds("MobileNetV2", (ONE, OTHER), 6, 2)
    assert orders == [[ONE.what, OTHER.what], [OTHER.what, ONE.what]]
    assert found == [{ONE.what: 1.5, OTHER.what: 2.5}, {OTHER.what: 1.5, ONE.what: 2.5}]
    assert [task["threads"] for task in asked] == [ONE.threads, OTHER.threads]
    assert asked[0]["patterns"] == [1, 6] and asked[0]["kind"] == "tests.benchmarks.choices:Explaining"


class _Engine:
    """Stands in for `engine.Engine`; fails on the images of `fails`."""

    def __init__(self, fails: bool) -> None:
        self.calls: list[int] = []
        self.fails = fails

    def explain(self, images: np.ndarray, label_ids: list[tuple[int, ...]], selected: dict) -> None:
        assert images.shape == (choices.BATCH, 8, 8, 3) and len(label_ids) == choices.BATCH
        if self.fails:
            raise RuntimeError("no memory")
        self.calls.append(1)


def _explaining(counts: list[int], threads: int, fails: bool = False) -> choices.Explaining:
    made = choices.Explaining.__new__(choices.Explaining)
    made._engine, made._threads, made._counts = _Engine(fails), threads, counts
    made._images = np.zeros((choices.BATCH, 8, 8, 3), np.uint8)
    return made


@pytest.mark.parametrize(("batches", "threads", "explained"), [(5, 2, 5), (1, 3, 3)])
def test_all_threads_together_explain_the_batches(batches, threads, explained):
    made = _explaining([batches], threads)
    assert made.work(0) > 0
    assert len(made._engine.calls) == explained


def test_a_thread_that_fails_fails_the_measurement():
    with pytest.raises(RuntimeError, match="no memory"):
        _explaining([4], 2, fails=True).work(0)


def test_the_default_is_a_job_on_cores(monkeypatch):
    specs = []

    class Made:
        def __init__(self, spec):
            specs.append(spec)
            self.description = type("About", (), {"input_size": (8, 8, 3)})
            self.pass_size = 8

    monkeypatch.setattr("heatbeam.transforms.engine.engine.Engine", Made)
    base = {"patterns": [1, 2], "application": "MobileNetV2", "engine": {}, "pass_size": None, "threads": 3}
    assert choices.Explaining(base)._engine.pass_size == 8
    assert choices.Explaining({**base, "engine": {"xla": True}, "pass_size": 4})._engine.pass_size == 4
    assert [(s.intra_op_threads, s.xla, s.batch_size, s.model) for s in specs] == [
        (1, False, 32, models.application("MobileNetV2")), (1, True, 32, models.application("MobileNetV2"))
    ]  # fmt: skip
