"""Loops that are compiled beside the training are those of a run."""

from __future__ import annotations

import sys

import pytest

from heatbeam.demo import loops
from heatbeam.transforms.metrics import map_statistics, summary
from heatbeam.transforms.metrics.localization import (
    box_accuracy,
    boxes,
    energy,
    frames,
    pixel_precision_recall,
    pointing_game,
)


def test_whatever_a_run_calls_is_compiled():
    loops.compile_all()
    for loop in (
        map_statistics._statistics, map_statistics._sick, frames._scaled, boxes._of_class, box_accuracy._boxed_basins,
        box_accuracy._boxed_at, box_accuracy._protocol_scores, pointing_game._strongest, energy._sums,
        pixel_precision_recall._histogram, summary._add_weighted, summary._add_replicates, summary._count,
    ):  # fmt: skip
        assert loop.signatures, loop.__name__


def test_the_process_beside_is_ended_where_the_training_fails(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # an error of its own, and no hindrance
    with pytest.raises(ZeroDivisionError), loops.compiled_meanwhile():
        raise ZeroDivisionError
