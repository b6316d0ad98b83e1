"""Suspects tried on a network whose weights are written out: red speaks for class 0, green for 1, blue for 2."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from heatbeam.audit.evidence import proofs, shown, suspects
from heatbeam.audit.proving import regions, trial
from heatbeam.transforms.engine import channel_maps, specs
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.metrics import effects
from heatbeam.transforms.models import model_source

SIDE = 24
GAIN = 60.0
OBJECT = np.array([[12.0, 12.0, 18.0, 18.0]])
LEVEL = 1e-3


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> engines.Engine:
    inputs = keras.Input((SIDE, SIDE, 3))
    colours = keras.layers.Conv2D(3, 1, activation="relu", name="colours")
    scores = keras.layers.Dense(3, name="scores")
    x = colours(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, scores(keras.layers.GlobalAveragePooling2D()(x)))
    colours.set_weights([2 * np.eye(3).reshape(1, 1, 3, 3) - np.ones((1, 1, 3, 3)), np.zeros(3)])
    scores.set_weights([GAIN * np.eye(3), np.zeros(3)])
    path = str(tmp_path_factory.mktemp("model") / "colours.keras")
    model.save(path)
    plain = model_source.Preprocessing("none")
    return engines.Engine(
        specs.EngineSpec(model=model_source.ModelSource(path), preprocessing=plain, float_pixels=False)
    )


def image(number: int, *, colour: int | None, tag: bool, boxes: np.ndarray | None = OBJECT) -> trial.Prepared:
    """Grey noise with a square of a colour as the object, and a red tag in a corner."""
    pixels = np.random.default_rng(number).integers(90, 110, (SIDE, SIDE, 1)).repeat(3, 2).astype(np.uint8)
    if colour is not None:
        pixels[12:18, 12:18] = 255 * np.eye(3, dtype=np.uint8)[colour]
    if tag:
        pixels[:5, :5] = (255, 0, 0)
    return trial.Prepared(f"i{number}", pixels, boxes)


def suspect_of(class_id: int, *channels: int) -> suspects.Suspect:
    return suspects.Suspect(class_id, "off_object", -1, channels, (1.0,) * len(channels), (), 0.5, "of the test")


def others() -> list[trial.Prepared]:
    return [image(100 + n, colour=1 + n % 2, tag=False) for n in range(24)]


def tried(outcome: trial.Outcome) -> proofs.Tried:
    facts = {
        "class_id": 0, "class_name": "red", "source": "off_object", "component": -1, "suspicion": 0.5, "reason": "why",
        "against_controls": outcome.fresh, "on_object_known": True, "area": outcome.area,
        "tried": list(outcome.tried), "carriers": list(outcome.carriers), "passes": outcome.passes, "unread": 0,
        "pictures": [],
    }  # fmt: skip
    return proofs.Tried(facts, outcome.transplant, outcome.decision, outcome.removal)


def softmax(*logits: float) -> np.ndarray:
    powers = np.exp(np.array(logits) - max(logits))
    return powers / powers.sum()


def test_a_tag_that_speaks_for_the_class_is_proved(engine):
    images = [image(n, colour=None, tag=n % 2 == 0) for n in range(8)]
    outcome = trial.Trial(engine).run(suspect_of(0), images, others(), LEVEL)
    assert set(outcome.carriers) == {"i0", "i2", "i4", "i6"}
    assert outcome.fresh
    assert outcome.transplant.n == 12
    # The tag has 25 cells and the object 36, whose colours are whole: both speak with their share of the mean.
    tag, thing = GAIN * 25 / SIDE**2, GAIN * 36 / SIDE**2
    assert outcome.transplant.value == pytest.approx(softmax(tag, thing, 0)[0] - softmax(0, thing, 0)[0], abs=0.02)
    assert outcome.removal.value == pytest.approx(softmax(tag, 0, 0)[0] - 1 / 3, abs=0.05)
    (row,) = proofs.table([tried(outcome)]).to_pylist()
    assert row["verdict"] == proofs.PROVED
    assert len(outcome.pictures) == 4
    assert (outcome.pictures[3][1:4, 1:4] == (255, 0, 0)).all()


def test_an_object_is_no_region_and_is_refuted(engine):
    images = [image(n, colour=1, tag=False) for n in range(4)]
    outcome = trial.Trial(engine).run(suspect_of(1), images, others(), LEVEL)
    assert not outcome.fresh
    (row,) = proofs.table([tried(outcome)]).to_pylist()
    assert row["verdict"] == proofs.REFUTED


def test_a_map_of_channels_is_gradient_times_activation_at_each_place(engine):
    """A red pixel activates its channel by 1, and the logit of class 0 is `GAIN` times the channel's mean."""
    pixels = image(0, colour=1, tag=True).pixels
    inputs = engine.preprocess(pixels[None])
    maps = channel_maps.ChannelMaps(engine)
    expected = np.zeros((SIDE, SIDE))
    expected[:5, :5] = GAIN / SIDE**2
    found, gradients = maps.maps(inputs, 0, (), ())
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_allclose(maps.maps(inputs, 0, (0, 1), (0.5, 9.0))[0][0], expected / 2, atol=1e-6)
    np.testing.assert_allclose(maps.maps(inputs, 0, (1,), (1.0,))[0][0], 0, atol=1e-6)  # green says nothing of class 0
    # A red pixel is above the threshold of its channel, r - g - b of levels over 255; a grey or a green one is below.
    slope = np.where(expected > 0, GAIN / SIDE**2 / 255, 0)
    np.testing.assert_allclose(gradients[0], slope[..., None] * (1, -1, -1), atol=1e-9)


def test_channels_say_where_the_region_is(engine):
    """Without boxes the object's channel is the class's region, and the tag's channel the tag's."""
    images = [image(n, colour=1, tag=True, boxes=None) for n in range(4)]
    sources = trial.Trial(engine)._sources(suspect_of(0, 0), images)
    assert all(one.region[:4, :4].all() and not one.region[12:18, 12:18].any() for one in sources)


def test_a_cue_that_is_everywhere_is_held_against_what_the_other_image_has_there(engine):
    """All but the object is red: whatever lies elsewhere in the carrier is the cue again, and no control."""
    images = [image(n, colour=1, tag=False) for n in range(4)]
    for one in images:
        one.pixels[regions.outside(OBJECT, (SIDE, SIDE))] = (255, 0, 0)
    outcome = trial.Trial(engine).run(suspect_of(0), images, others(), LEVEL)
    assert outcome.transplant.value > 0.9
    assert outcome.transplant.n == 12  # and no more are asked about


def test_without_boxes_a_region_must_do_more_than_that_of_the_class_s_usual_images(engine):
    """A tag of 25 cells against objects of 36: the usual images' regions, of the object, do as much and more."""
    energy = np.zeros((SIDE, SIDE))
    energy[:5, :5] = 1.0

    def seen(number: int, *, colour: int | None, tag: bool) -> trial.Prepared:
        return dataclasses.replace(image(number, colour=colour, tag=tag, boxes=None), energy=energy)

    tagged = [seen(n, colour=None, tag=True) for n in range(8)]
    plain = [seen(50 + n, colour=None, tag=False) for n in range(4)]
    suspect = dataclasses.replace(suspect_of(0), source="other_kind", usual=(object(),), one_place=True)
    proved = trial.Trial(engine).run(suspect, tagged, others(), LEVEL, plain)
    tag, thing = GAIN * 25 / SIDE**2, GAIN * 36 / SIDE**2
    assert proved.transplant.value == pytest.approx(softmax(tag, thing, 0)[0] - softmax(0, thing, 0)[0], abs=0.02)
    red = [seen(50 + n, colour=0, tag=False) for n in range(4)]
    assert trial.Trial(engine).run(suspect, tagged, others(), LEVEL, red).carriers == ()


def test_without_boxes_images_without_a_look_or_a_place_are_not_asked_about(engine):
    energy = np.ones((3, 3))
    some = [dataclasses.replace(image(n, colour=n % 3, tag=False, boxes=None), energy=energy) for n in range(8)]
    suspect = dataclasses.replace(suspect_of(0), source="other_kind", usual=(object(),))
    outcome = trial.Trial(engine).run(suspect, some, others(), LEVEL, some)
    assert (outcome.passes, outcome.tried) == (0, ())
    row = proofs.table([tried(outcome)]).to_pylist()[0]
    assert row["verdict"] == proofs.REFUTED
    (said,) = shown.effects_of(row)
    assert said == "its images have neither a place nor a look in common, so it is taken for the object"


def test_of_two_controls_both_must_be_exceeded():
    """Differences of 0.2 and 0.3 to one and of 0.1 and 0.5 to the other: the mean of 0.25 counts, with the larger p."""
    sure, unsure = np.array([0.2, 0.3, 0.2, 0.3]), np.array([0.1, 0.5, 0.1, 0.5])
    found = trial._weaker(np.stack([sure, unsure], axis=1))
    first, second = effects.paired(sure, proofs.LOOKS), effects.paired(unsure, proofs.LOOKS)
    assert found.value == first.value == pytest.approx(0.25)
    assert found.p_value == second.p_value > first.p_value
    assert found.lower == second.lower < first.lower
    assert trial._weaker(sure[:, None]) == first


def test_looking_ends_where_no_image_of_the_first_few_is_a_carrier(engine):
    images = [image(n, colour=1, tag=n > 3) for n in range(8)]
    for one in images[:4]:
        one.pixels[20, 20] = (120, 20, 10)  # a trace of red, which moves nothing
    outcome = trial.Trial(engine).run(suspect_of(0), images, others(), LEVEL)
    assert outcome.tried == ("i0", "i1", "i2", "i3")
    # Maps with a gradient, pictures with the region, and the images that take it.
    assert outcome.passes == 2 * 4 + trial.LOOKED_AT * 4 + trial.SEEN


@pytest.mark.parametrize(
    ("differences", "corrected", "expected"),
    [
        ([0.3, 0.2, 0.4], 0.01, proofs.PROVED),
        ([0.3, 0.2, 0.4], 0.2, proofs.UNDECIDED),
        ([0.3, 0.2, 0.4], 0.04, proofs.UNDECIDED),
        ([0.01, 0.02, 0.0], 0.01, proofs.REFUTED),
        ([0.04, 0.041, 0.04], 1e-6, proofs.REFUTED),
        ([0.4, -0.3, 0.1], np.nan, proofs.UNDECIDED),
    ],
    ids=["proved", "too_many_suspects", "beyond_one_end_of_an_interval", "small", "sure_but_small", "no_controls"],
)
def test_verdicts(differences, corrected, expected):
    assert proofs.verdict_of(effects.paired(differences), corrected) == expected


@pytest.mark.parametrize("shift", [0.05, 0.12, 0.125, 0.126, 0.3])
def test_what_is_proved_has_an_interval_above_nothing(shift):
    """By hand: seven differences of deviation 0.1354 leave 0 out from 2.447 * 0.1354 / sqrt(7) = 0.1252 on."""
    spread = np.array([-0.15, -0.1, -0.05, -0.05, 0.0, 0.1, 0.25])
    one = effects.paired(spread + shift)
    assert one.deviation == pytest.approx(0.1354, abs=1e-4)
    assert (proofs.verdict_of(one, one.p_value) == proofs.PROVED) == (one.lower > 0) == (shift > 0.1252)


def test_p_values_are_corrected_over_all_suspects_that_had_controls(engine):
    images = [image(0, colour=None, tag=True)] * 4
    facts = tried(trial.Trial(engine).run(suspect_of(0), images, others(), LEVEL)).facts
    some = effects.paired([0.3, 0.1, 0.5, 0.2, 0.4])
    nothing = effects.paired([])
    without = {**facts, "against_controls": False}
    table = proofs.table([proofs.Tried(f, some, nothing, nothing) for f in (facts, facts, without)])
    assert sorted(p for p in table["p_corrected"].to_pylist() if p is not None) == pytest.approx([2 * some.p_value] * 2)
    stopped = proofs.table([proofs.Tried(facts, some, nothing, nothing)], skipped=3)
    assert stopped["p_corrected"].to_pylist() == pytest.approx([4 * some.p_value])


def test_what_was_shown_is_told_in_words(engine):
    images = [image(n, colour=None, tag=True) for n in range(5)]
    row = proofs.table([tried(trial.Trial(engine).run(suspect_of(0), images, others(), LEVEL))]).to_pylist()[0]
    assert shown.verdict(row) == "proved"
    first, second, third = shown.effects_of(row)
    assert first.startswith("in images of other classes its region moves the class probability by +0.")
    assert "(12 images)" in second or "12 images" in second
    assert "4 images" in third
    assert shown.effects_of({**row, "unread": 3})[3:] == ["3 images could not be read and are left out"]
    assert shown.effects_of({**row, "unread": 1})[3:] == ["1 image could not be read and is left out"]
