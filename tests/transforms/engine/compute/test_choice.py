from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms.engine import computing, engine, specs
from heatbeam.transforms.engine.compute import choice
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.backends import packages
from heatbeam.transforms.models.files import loading

SPEC = specs.EngineSpec(model=model_source.ModelSource(factory="nowhere:made"))
ANSWER = np.array([[4.0, -8.0]], np.float32)


class Clock:
    """Seconds that pass only where a fake engine says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def made(clock, *, ready=1.0, batch=1.0, error=0.0, refused="", error_of=loading.ModelError):
    """A fake engine by its costs in seconds, and how far its numbers are off."""

    def make():
        clock.now += ready
        if refused:
            raise error_of(refused)

        def run():
            clock.now += batch

        return choice.Tried(run, 10, [ANSWER + np.float32(error)])

    return make


def chosen(clock, engines, seconds=100.0, spec=SPEC):
    return choice.choose(spec, seconds=seconds, make=lambda spec: engines[spec.compute](), clock=clock)


@pytest.fixture
def all_there(monkeypatch):
    versions = dict.fromkeys(("tensorflow", "xla", "openvino", "onnxruntime"), "1.0")
    monkeypatch.setattr(choice, "installed", lambda: versions)
    monkeypatch.setattr(computing, "unfit", lambda spec: "")
    return versions


def test_the_fastest_that_agrees_is_taken(all_there):
    clock = Clock()
    engines = {
        "tensorflow": made(clock, batch=2.0),
        "xla": made(clock, batch=0.1, error=1e-3),
        "openvino": made(clock, batch=0.5, error=1e-6),
        "onnxruntime": made(clock, batch=1.0),
    }

    found = chosen(clock, engines)

    assert found.backend == "openvino"
    assert [trial.backend for trial in found.trials] == ["tensorflow", "onnxruntime", "openvino", "xla"]
    own, runtime, openvino, xla = found.trials
    assert (own.images_per_second, own.agreement, own.why_not) == (pytest.approx(5), 0, "")
    assert (runtime.images_per_second, runtime.agreement) == (pytest.approx(10), 0)
    assert openvino.images_per_second == pytest.approx(20)
    assert openvino.agreement == pytest.approx(1e-6 / 8, rel=0.5)  # of the largest value; float32 of 4 + 1e-6
    assert xla.images_per_second is None
    assert xla.agreement == pytest.approx(1e-3 / 8, rel=1e-3)
    assert "differ by 1.2e-04 of the largest" in xla.why_not
    # 4 to make, and 7 rounds of 3.5
    assert found.seconds == pytest.approx(4 + 7 * 3.5)


def test_another_precision_is_compared_with_float32(all_there):
    clock = Clock()
    engines = {
        "tensorflow": made(clock, batch=2.0, error=0.2),
        "openvino": made(clock, batch=0.5, error=0.3),
        "xla": made(clock, batch=0.1, error=0.6),  # 0.075 of the largest, and 0.0625 are allowed
        "onnxruntime": made(clock, refused="no"),
    }

    def make(spec):
        return engines[spec.compute]() if spec.precision == "mixed_bfloat16" else made(clock)()

    spec = dataclasses.replace(SPEC, precision="mixed_bfloat16")
    found = choice.choose(spec, seconds=100.0, make=make, clock=clock)

    assert found.backend == "openvino"
    assert [one.agreement for one in found.trials] == pytest.approx([0.025, None, 0.0375, 0.075])
    assert found.trials[-1].why_not == "its numbers differ by 7.5e-02 of the largest, more than 0.0625"


def test_what_is_no_faster_than_chance_is_not_taken(all_there):
    clock = Clock()
    engines = {name: made(clock, batch=1.0 if name == "tensorflow" else 0.98) for name in all_there}

    assert chosen(clock, engines).backend == "tensorflow"


@pytest.mark.parametrize("error_of", [loading.ModelError, engine.BatchError, engine.OutOfMemory])
def test_an_engine_that_refuses_the_model_says_why(error_of, all_there):
    clock = Clock()
    refused = {name: "" if name == "tensorflow" else "no\n operation Foo" for name in all_there}
    engines = {name: made(clock, refused=words, error_of=error_of) for name, words in refused.items()}

    found = chosen(clock, engines)

    assert found.backend == "tensorflow"
    assert {trial.why_not for trial in found.trials[1:]} == {"no operation Foo"}
    assert found.trials[0].images_per_second is None  # nothing to compare with


def test_an_engine_that_fails_when_it_is_measured_is_left_out(all_there):
    clock = Clock()
    engines = {name: made(clock, batch=1.0 if name == "tensorflow" else 0.5) for name in all_there}

    def failing():
        rounds = iter(range(2))

        def run():
            clock.now += 0.1
            if next(rounds, None) is None:
                raise engine.OutOfMemory("no\n memory")

        return choice.Tried(run, 10, [ANSWER])

    found = chosen(clock, engines | {"xla": failing})

    assert (found.backend, found.trials[-1]) == ("onnxruntime", choice.Trial("xla", None, 0.0, "no memory"))
    with pytest.raises(engine.OutOfMemory):
        chosen(clock, engines | {"tensorflow": failing})


def test_trials_end_when_their_time_is_over(all_there):
    clock = Clock()
    engines = {name: made(clock, ready=4.0, batch=1.0 if name == "tensorflow" else 0.5) for name in all_there}

    found = chosen(clock, engines, seconds=10.0)

    # TensorFlow is ready after 4 s, the next after 8; half of the time is gone then.
    assert [trial.why_not for trial in found.trials] == ["", "", *["no time was left of 10 s to try it"] * 2]
    assert found.backend == "onnxruntime"
    assert found.seconds == pytest.approx(8 + 2 * 1.5)  # a round that warms up, and one that counts


def test_what_compiles_for_long_is_tried_where_there_is_time_for_it(all_there):
    clock = Clock()
    engines = {name: made(clock, ready=0.1) for name in all_there}

    assert chosen(clock, engines, seconds=59).trials[-1] == choice.Trial(
        "xla", None, None, "no time was left of 59 s to try it"
    )
    assert chosen(clock, engines, seconds=61).trials[-1].agreement == 0


def test_nothing_is_loaded_where_nothing_can_be_tried(monkeypatch):
    monkeypatch.setattr(choice, "installed", lambda: {"tensorflow": "1", "xla": "1"})
    monkeypatch.setattr(computing, "unfit", lambda spec: "no")

    found = choice.choose(SPEC, seconds=10, make=lambda spec: pytest.fail("made"))

    assert found.backend == "tensorflow"


def test_agreement_is_of_each_array_and_infinite_without_numbers():
    ones = np.ones(3, np.float32)
    assert choice.agreement([ones, 100 * ones], [ones, 100 * ones + 1]) == pytest.approx(0.01)
    assert choice.agreement([ones], [ones * np.nan]) == np.inf
    assert choice.agreement([0 * ones], [0 * ones]) == 0


def test_installed_names_every_package_that_has_a_say(monkeypatch):
    versions = {"tensorflow": "2.9", "openvino": "5", "onnx": "1", "tf2onnx": "3"}
    monkeypatch.setattr(packages, "_version", versions.get)

    assert packages.installed() == {
        "tensorflow": "tensorflow 2.9",
        "xla": "tensorflow 2.9",
        "openvino": "openvino 5, onnx 1, tf2onnx 3",
    }
    assert packages.missing("openvino") is None
    assert packages.missing("onnxruntime") == "onnxruntime not installed; pip install 'heatbeam[onnxruntime]'"


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(packages, "_version", {"tensorflow": "2.9"}.get)
    spec = dataclasses.replace(SPEC, compute="openvino")

    with pytest.raises(loading.ModelError, match=r"explain\.compute: openvino .* pip install 'heatbeam\[openvino\]'"):
        computing.check(spec)
