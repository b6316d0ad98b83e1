"""How near a run's numbers are to float32: measured on its own first images, kept in its manifest, and told."""

from __future__ import annotations

import dataclasses
import pathlib
import types
from typing import Any

import numpy as np
import pytest

from heatbeam.job import plan
from heatbeam.job.fitting import agreement, decision
from heatbeam.runs import manifests, settings_diff
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.engine.compute import agreements
from heatbeam.transforms.models import processors
from tests.support import manifests as manifests_support
from tests.support import small_runs

FOUND = manifests.ComputeAgreement(
    images=16, of="the first records", difference=0.0123, limit=0.0625, same_class=15 / 16, map_correlation=0.99912
)
SET = manifests.Compute(backend="openvino", reason="as set", agreement=FOUND)


def spec(precision: specs.Precision) -> specs.EngineSpec:
    return dataclasses.replace(plan.engine_spec(small_runs.settings("", pathlib.Path("run"))), precision=precision)


def warned(precision: specs.Precision, **changes: Any) -> list[str]:
    found = FOUND.model_copy(update=changes)
    return agreement.warnings(spec(precision), SET.model_copy(update={"agreement": found}))


def test_it_is_told_in_one_line():
    assert decision.in_words(SET, "mixed_bfloat16") == (
        "openvino, as set; mixed_bfloat16: within 0.012 of the largest value of float32, the same first class for 15 "
        "of 16 images (the first records), maps correlate by 0.9991"
    )
    unknown = manifests.ComputeAgreement(images=0, of="no memory")
    assert unknown.in_words("float32") == ("float32: agreement with TensorFlow's numbers not measured: no memory")


def test_what_is_beyond_the_precision_is_a_warning(monkeypatch):
    monkeypatch.setattr(processors, "multiplies_bfloat16", lambda: True)
    assert warned("mixed_bfloat16") == []
    (line,) = warned("mixed_bfloat16", difference=0.07)
    assert line == (
        "explain.precision: mixed_bfloat16: class scores and activations differ by 7.0e-02 of the largest value from "
        "TensorFlow's in float32; expected at most 0.0625. Set explain.precision: float32"
    )
    assert "are not finite where TensorFlow's in float32 are" in warned("mixed_float16", difference=None)[0]
    (line,) = warned("float32", difference=2e-5, limit=1e-5)
    assert line == (
        "explain.compute: openvino: class scores and activations differ by 2.0e-05 of the largest value from "
        "TensorFlow's in float32; expected at most 1e-05. Set explain.compute: tensorflow"
    )
    assert agreement.warnings(spec("mixed_float16"), SET.model_copy(update={"agreement": None})) == []
    unknown = manifests.ComputeAgreement(images=0, of="no memory")
    assert agreement.warnings(spec("mixed_float16"), SET.model_copy(update={"agreement": unknown})) == []


def test_a_processor_without_bfloat16_is_told(monkeypatch):
    for has, lines in ((False, 1), (None, 0), (True, 0)):
        monkeypatch.setattr(processors, "multiplies_bfloat16", lambda has=has: has)
        assert len(warned("mixed_bfloat16")) == lines
        assert warned("mixed_float16") == warned("float32") == []


def test_it_is_measured_where_nobody_knows_it(monkeypatch):
    asked = []
    monkeypatch.setattr(agreement, "_measured", lambda planned, _engine: asked.append(planned.engine_spec) or FOUND)
    nothing: Any = None

    def measured(precision: specs.Precision, backend: specs.Compute, *trials: manifests.ComputeTrial) -> bool:
        given = dataclasses.replace(spec(precision), compute=backend)
        planned = plan.Plan(nothing, given, nothing, nothing, nothing)
        before = manifests.Compute(backend=backend, reason="as set", trials=trials)
        return agreement.measured(planned, nothing, before).agreement is FOUND

    tried = manifests.ComputeTrial(backend="openvino", images_per_second=9.0, agreement=1e-6)
    assert not measured("float32", "tensorflow")
    assert not measured("float32", "xla")
    assert measured("float32", "openvino")
    assert not measured("float32", "openvino", tried)
    assert measured("mixed_bfloat16", "openvino", tried)  # of noise; and maps are not compared in a trial
    assert measured("mixed_bfloat16", "tensorflow")
    assert len(asked) == 3


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> plan.Plan:
    folder = tmp_path_factory.mktemp("agreement")
    pattern = small_runs.write(folder / "data", [small_runs.record(i) for i in range(3)], 1)
    return plan.make(small_runs.settings(pattern, folder / "run", "explain.precision=mixed_bfloat16"))


def test_a_run_in_half_precision_measures_it_on_its_first_records(planned, monkeypatch):
    chosen, engine, compute = decision.engine_of(planned, ())
    found = compute.agreement
    assert (chosen, compute.backend, engine.spec.precision) == (planned, "tensorflow", "mixed_bfloat16")
    assert found is not None and not found.is_bad
    assert (found.images, found.of, found.limit) == (3, "the first records", 0.0625)
    assert found.difference is not None and 0 < found.difference < 0.05
    assert found.map_correlation is not None and found.map_correlation > 0.9

    def fail(*_given: Any, **_how: Any) -> None:
        raise engines.OutOfMemory("no\n memory")

    monkeypatch.setattr(agreements, "measured", fail)
    failed = agreement._measured(planned, engine)
    assert (failed.images, failed.of) == (0, "TensorFlow in float32 failed on the first records: no memory")
    compiled = dataclasses.replace(planned.engine_spec, xla=True)
    assert agreement._measured(dataclasses.replace(planned, engine_spec=compiled), engine).images == 0


def test_noise_is_looked_at_where_no_record_can_be_read(planned, monkeypatch):
    def gone(*_given: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(agreement.first_records, "decoded", gone)
    monkeypatch.setattr(agreement.classes, "resolved", lambda planned, _about: (planned, ()))
    monkeypatch.setattr(agreement.choice, "trial_images", lambda _engine: np.zeros((8, 2, 2, 3)))
    engine: Any = types.SimpleNamespace(description=None)
    images, inputs, of = agreement._images(planned, engine)
    assert (images.shape, inputs, of) == ((8, 2, 2, 3), None, "images of noise")


def test_runs_of_two_precisions_are_told_apart_and_their_agreement_is_no_setting():
    computed = {"backend": "tensorflow", "reason": "as set"}
    before = manifests_support.manifest(compute=computed)
    now = manifests_support.manifest(
        compute={**computed, "agreement": FOUND.model_dump()}, config={"explain": {"precision": "mixed_bfloat16"}}
    )
    told = settings_diff.differences(before, now)
    assert [(one.path, one.baseline, one.candidate) for one in told] == [
        ("config.explain.precision", "float32", "mixed_bfloat16")
    ]
    assert told[0].effect.startswith("what the model computes in")
