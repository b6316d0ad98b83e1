"""The benchmark of planted shortcuts: what it draws, what it calls learnt, and how it counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.shortcuts import __main__ as bench
from tests.benchmarks.shortcuts import cues, judged, worlds

KINDS = {**cues.DEVELOPMENT, **cues.HELD_OUT}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cue_changes_a_part_of_the_image_and_styles_differ(kind):
    drawn = []
    for style in (0, 1):
        image = np.full((cues.SIDE, cues.SIDE, 3), 100, np.float32)
        KINDS[kind](image, style, np.random.default_rng(3))
        changed = (np.abs(image - 100) > 20).any(axis=2).mean()
        assert 0.01 < changed < 0.45
        drawn.append(image)
    assert np.abs(drawn[0] - drawn[1]).max() > 20


def test_half_of_the_kinds_were_set_aside():
    assert len(cues.DEVELOPMENT) == len(cues.HELD_OUT) == 5
    planted = [world.planted for world in worlds.all_worlds()]
    assert sum(map(len, planted)) >= 20
    assert sum(world.classes - len(world.planted) for world in worlds.all_worlds()) >= 50
    assert {cue.share for one in planted for cue in one.values()} == {0.05, 0.1, 0.2, 0.3, 0.5}


def test_a_world_is_drawn_the_same_again_with_its_share_of_cues_and_boxes_around_the_letters():
    world = worlds.World("w", "plain", {1: worlds.Cue("border_frame", 2, 0.3)}, 5, classes=2)
    one, again = world.images(10, 1), world.images(10, 1)
    assert (one.pixels == again.pixels).all()
    assert one.has_cue.sum() == 3
    assert (one.labels[one.has_cue] == 1).all()
    assert (one.pixels[one.has_cue][:, 0, 0] == (50, 80, 240)).all()
    assert ((one.boxes[:, 2:] - one.boxes[:, :2]) >= 8).all()


def test_recall_is_of_what_was_learnt_and_false_of_all_other_classes():
    world = worlds.World("w", "plain", {}, 0, classes=6)
    effects = {0: 0.5, 1: 0.2, 2: 0.05}
    one = judged.Judged(
        effects=effects, proved=frozenset({0, 2}), without_boxes=frozenset({1, 3}),
        tried=frozenset({0, 2, 3}), fixed_place=frozenset({0, 1}),
        clusters=frozenset({5}), run_s=10.0, prove_s=2.0, run_images=100, passes=30,
        prove_blind_s=1.0, passes_blind=20,
    )  # fmt: skip
    found = bench.figures_of([(world, one)])
    assert (found["learnt"], found["clean"]) == (2, 4)
    assert found["audits"]["proved"] == {"recall": 0.5, "false": 0.25}
    assert found["audits"]["without_boxes"] == {"recall": 0.5, "false": 0.25}
    assert found["audits"]["fixed_place"] == {"recall": 1.0, "false": 0.0}
    assert found["audits"]["clusters"] == {"recall": 0.0, "false": 0.25}
    assert found["cost"] == pytest.approx(0.2)
    assert found["passes"] == pytest.approx(0.3)
    assert found["cost_without_boxes"] == pytest.approx(0.1)
    assert found["passes_without_boxes"] == pytest.approx(0.2)
