"""What computes the model in a run: when a trial is made, what is kept of it, and what goes before it."""

from __future__ import annotations

import io
import json
import math
import pathlib
import types
from collections.abc import Sequence
from typing import Any

import pytest

from heatbeam import config
from heatbeam.job import incremental, plan, run
from heatbeam.job.fitting import decision, earlier_runs, kept_choices, work
from heatbeam.runs import manifests, settings_diff
from heatbeam.transforms.engine import computing
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine.compute import choice
from heatbeam.transforms.models.backends import packages
from tests.support import manifests as manifests_support
from tests.support import small_runs

ESTIMATE = work.estimate
ALL = {"tensorflow": "tensorflow 2", "xla": "tensorflow 2", "openvino": "openvino 1, onnx 1, tf2onnx 1"}
ENGINE: Any = types.SimpleNamespace(
    description=types.SimpleNamespace(
        digest="d1", input_size=(8, 8, 3), layer=types.SimpleNamespace(name="last"), scores="logits"
    ),
    batch_size=32,
    pass_size=8,
    spec=None,
)


class Machine:
    """A machine on which `backends` are installed and whose trials find OpenVINO the fastest; a run takes `seconds`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.backends = dict(ALL)
        self.seconds = 600.0
        self.left_out = ""
        self.tried: list[float] = []
        monkeypatch.setattr(choice, "installed", lambda: self.backends)
        monkeypatch.setattr(packages, "missing", lambda _backend: None)
        monkeypatch.setattr(choice, "choose", self._choose)
        monkeypatch.setattr(work, "estimate", lambda *_: work.Work(1000, 2, self.seconds / 1000, 2))

    def _choose(self, _spec: Any, *, seconds: float, **_how: Any) -> choice.Choice:
        self.tried.append(seconds)
        xla = choice.Trial("xla", None if self.left_out else 50.0, 1e-7, self.left_out)
        return choice.Choice(
            "openvino", (choice.Trial("tensorflow", 60.0, 0.0), choice.Trial("openvino", 108.0, 2e-6), xla), 7.5
        )

    def decided(
        self, *overrides: str, earlier: Sequence[earlier_runs.Source] = (), engine: Any = ENGINE
    ) -> manifests.Compute:
        settings = small_runs.settings("", pathlib.Path("run"), *overrides)
        spec = plan.engine_spec(settings)
        nothing: Any = None
        planned, found = decision.decided(plan.Plan(settings, spec, nothing, nothing, nothing), engine, earlier)
        assert planned.engine_spec.compute == found.backend
        return found


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Machine:
    monkeypatch.setenv(kept_choices.FOLDER, str(tmp_path / "cache"))
    return Machine(monkeypatch)


def test_a_trial_takes_a_twentieth_of_the_work_and_is_kept_for_the_next_run(machine):
    found = machine.decided()
    assert (found.backend, found.reason, found.version) == ("openvino", "by trial", ALL["openvino"])
    assert machine.tried == [pytest.approx(30)]
    assert [(one.backend, one.images_per_second, one.agreement) for one in found.trials[:2]] == [
        ("tensorflow", 60.0, 0.0),
        ("openvino", 108.0, 2e-6),
    ]
    assert decision.in_words(found) == (
        "openvino, by trial: 1.80 times as fast as TensorFlow (108 and 60 images/s), maps within 2e-06 of the largest "
        "value; xla 50 images/s"
    )
    again = machine.decided()
    assert len(machine.tried) == 1  # not tried again
    assert again.trials == found.trials
    assert again.reason == f"by the trial of {found.decided}, kept for this model and machine"


@pytest.mark.parametrize("minutes", [0.5, 4.9])
def test_too_little_work_is_left_to_tensorflow(machine, minutes):
    machine.seconds = 60 * minutes
    found = machine.decided()
    assert (found.backend, machine.tried) == ("tensorflow", [])
    assert found.reason == f"the work of about {minutes} minutes is too little for a trial"


def test_a_short_run_is_not_measured(machine, monkeypatch):
    monkeypatch.setattr(work, "estimate", ESTIMATE)
    monkeypatch.setattr(work, "record_count", lambda _: 64)
    monkeypatch.setattr(work, "passes", lambda *_: 1)
    monkeypatch.setattr(work, "_seconds_per_pass", lambda _: 0.02)
    workers = "runner.workers=2"
    for first_pass_s, reason in (
        (0.75, "at most about 0.4 minutes"),
        (2.0, "some seconds"),
        (math.inf, "some seconds"),
    ):
        engine = types.SimpleNamespace(**vars(ENGINE), first_pass_s=first_pass_s)
        assert machine.decided(workers, engine=engine).reason == f"the work of {reason} is too little for a trial"


def test_what_was_kept_is_taken_from_a_minute_of_work_on(machine):
    machine.decided()
    for seconds, backend in ((299, "openvino"), (61, "openvino"), (59, "tensorflow")):
        machine.seconds = seconds
        assert machine.decided().backend == backend
    assert len(machine.tried) == 1


@pytest.mark.parametrize(
    "override",
    [
        "explain.methods=[grad_cam, rise]",
        "explain.targets=[top_3]",
        "explain.batch_size=4",
        "runner.workers=1",
        "explain.evidence=false",
    ],
)
def test_a_kept_choice_is_for_the_same_work(machine, override):
    machine.decided()
    machine.decided(override)
    assert len(machine.tried) == 2


def test_a_kept_choice_is_for_the_same_model_and_versions(machine):
    machine.decided()
    changed = types.SimpleNamespace(**{**vars(ENGINE.description), "digest": "d2"})
    machine.decided(engine=types.SimpleNamespace(**{**vars(ENGINE), "description": changed}))
    machine.backends["openvino"] = "openvino 2"
    machine.decided()
    assert len(machine.tried) == 3


def test_a_trial_that_had_no_time_for_all_is_made_again_with_four_times_as_much(machine):
    machine.left_out = "no time was left"
    for seconds, trials in ((600, 1), (2300, 1), (2500, 2), (600, 2)):
        machine.seconds = seconds
        machine.decided()
        assert len(machine.tried) == trials


def test_a_trial_that_had_time_for_nothing_is_not_kept(machine, monkeypatch):
    trials = (choice.Trial("tensorflow", None, 0.0), choice.Trial("openvino", None, None, "no time was left"))
    monkeypatch.setattr(choice, "choose", lambda _spec, **_how: choice.Choice("tensorflow", trials, 30.0))
    for _ in range(2):
        assert machine.decided().reason == "by trial"


@pytest.mark.parametrize("step", ["estimate", "choose"])
def test_a_model_that_fails_on_the_images_of_a_trial_is_left_to_tensorflow(machine, monkeypatch, step):
    def fail(*_given, **_how):
        raise engines.OutOfMemory("no memory")

    monkeypatch.setattr({"estimate": work, "choose": choice}[step], step, fail)
    assert machine.decided().reason == "the model failed on the images of a trial: no memory"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"facts": 1}', b"\xff\x00", b'{"facts": {}, "choice": 3}'])
def test_a_damaged_file_is_as_none(machine, damage, tmp_path):
    machine.decided()
    (kept,) = (tmp_path / "cache" / "compute").iterdir()
    kept.write_bytes(damage)
    machine.decided()
    assert len(machine.tried) == 2
    assert json.loads(kept.read_bytes())["choice"]["backend"] == "openvino"  # mended


def test_a_kept_choice_of_something_else_is_not_taken(machine, tmp_path):
    machine.decided()
    (kept,) = (tmp_path / "cache" / "compute").iterdir()
    document = json.loads(kept.read_bytes())
    for part in ("facts", "choice"):
        changed = document | {part: document[part] | {"model": "another", "backend": "abacus"}}
        kept.write_text(json.dumps(changed))
        assert machine.decided().reason == "by trial"


def test_a_folder_that_cannot_be_written_keeps_nothing(machine, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for place in (str(tmp_path / "file"), "", "~no_such_user_of_this_machine/cache"):
        monkeypatch.setenv(kept_choices.FOLDER, place)
        machine.decided()
        assert machine.decided().reason == "by trial"


def test_the_cache_is_below_the_users(monkeypatch):
    monkeypatch.delenv(kept_choices.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert kept_choices.folder() == pathlib.Path("/somewhere/heatbeam/compute")


@pytest.mark.parametrize(
    ("override", "backend", "reason"),
    [
        ("explain.compute=tensorflow", "tensorflow", "as set"),
        ("explain.compute=openvino", "openvino", "as set"),
        ("explain.xla=true", "xla", "as set"),
        ("runner.name=flink", "tensorflow", "the workers of flink are other machines than this one"),
    ],
)
def test_what_needs_no_trial(machine, override, backend, reason):
    found = machine.decided(override)
    assert (found.backend, machine.tried) == (backend, [])
    assert found.reason.startswith(reason)


def test_nothing_is_measured_where_there_is_nothing_to_choose(machine, monkeypatch):
    del machine.backends["openvino"]
    monkeypatch.setattr(work, "estimate", lambda *_: pytest.fail("measured"))
    assert machine.decided().reason == "no other backend is installed"


def test_a_precision_is_tried_where_something_else_than_tensorflow_has_it(machine):
    half = "explain.precision=mixed_bfloat16"
    assert (machine.decided(half).reason, machine.decided().reason) == ("by trial", "by trial")  # a choice for each
    assert len(machine.tried) == 2
    del machine.backends["openvino"]
    machine.backends["onnxruntime"] = "onnxruntime 1"
    found = machine.decided(half)
    assert (found.backend, found.reason) == (
        "tensorflow",
        "of what is installed it alone computes in mixed_bfloat16",
    )


def earlier(
    backend: str, digest: str = "d1", *, resumed: bool = False, unlike: str = "", precision: str = "float32"
) -> earlier_runs.Source:
    facts = {"model": {"digest": digest}, "xla": backend == "xla", "precision": precision}
    if backend not in earlier_runs.OWN:
        facts["compute"] = backend
    keyed_by = manifests.KeyedBy(all=facts, scores=None, methods={})
    return earlier_runs.Source("old", (), keyed_by, unlike, resumed)


@pytest.mark.parametrize("backend", ["tensorflow", "xla", "openvino"])
def test_the_backend_of_rows_that_may_be_taken_over_stays(machine, backend):
    assert machine.decided(earlier=[earlier(backend, resumed=True)]).backend == backend
    found = machine.decided(earlier=[earlier("xla", "other"), earlier("xla", unlike="format"), earlier(backend)])
    assert (found.backend, found.reason) == (backend, "as in old, which is reused")
    assert machine.tried == []


def test_a_run_whose_backend_is_missing_is_not_gone_on_with_unless_that_is_set(machine, monkeypatch):
    monkeypatch.setattr(
        packages, "missing", lambda _backend: "openvino not installed; pip install 'heatbeam[openvino]'"
    )
    del machine.backends["openvino"]
    begun = [earlier("openvino", resumed=True)]
    with pytest.raises(
        config.ConfigError, match=r"output.resume: old was begun with openvino, and openvino not inst.*"
    ):
        machine.decided(earlier=begun)
    assert machine.decided("explain.compute=tensorflow", earlier=begun).backend == "tensorflow"
    assert machine.decided(earlier=[earlier("openvino")]).backend == "tensorflow"  # of another run nothing is taken


def test_a_backend_of_before_that_does_not_fit_this_run_is_not_taken(machine, monkeypatch):
    half = "explain.precision=mixed_bfloat16"  # whose rows are others in any case
    for resumed in (False, True):
        assert machine.decided(half, earlier=[earlier("xla", resumed=resumed)]).backend == "openvino"  # tried anew
        rounded = earlier("xla", resumed=resumed, precision="mixed_bfloat16")
        assert machine.decided(half, earlier=[rounded]).backend == "xla"
        assert machine.decided(earlier=[rounded]).backend == "openvino"
    monkeypatch.setattr(computing, "unfit", lambda spec: "there is a GPU" if spec.compute == "openvino" else "")
    assert machine.decided(earlier=[earlier("openvino"), earlier("xla")]).reason == "as in old, which is reused"
    with pytest.raises(config.ConfigError, match=r"old was begun with openvino, and there is a GPU; or set explain"):
        machine.decided(earlier=[earlier("openvino", resumed=True)])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"xla": True, "compute": "openvino"}, "xla: true and compute: openvino name two backends"),
        ({"xla": True, "compute": "tensorflow"}, "xla: true and compute: tensorflow name two backends"),
        (
            {"precision": "mixed_float16", "compute": "onnxruntime"},
            "precision: mixed_float16 is computed by tensorflow",
        ),
        ({"compute": "abacus"}, "abacus"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        config.ExplainConfig.model_validate(settings)


def test_settings_that_say_the_same_are_taken():
    for settings in ({"xla": True, "compute": "xla"}, {"xla": True, "compute": "auto"}, {"compute": "xla"}):
        assert config.ExplainConfig.model_validate(settings).backend == "xla"
    assert config.ExplainConfig().backend is None


def test_a_backend_that_is_set_and_missing_is_a_problem_of_the_configuration(monkeypatch):
    monkeypatch.setattr(
        packages, "missing", lambda _backend: "openvino not installed; pip install 'heatbeam[openvino]'"
    )
    with pytest.raises(config.ConfigError, match=r"explain.compute: openvino not installed.*or set tensorflow"):
        plan.make(small_runs.settings("nowhere", pathlib.Path("run"), "explain.compute=openvino"))


def test_rows_of_another_backend_are_not_the_same_and_keys_of_before_stay(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda: ALL)
    assert incremental._backend_facts("tensorflow") == {"xla": False}  # as every version before wrote it
    assert incremental._backend_facts("xla") == {"xla": True}
    assert incremental._backend_facts("openvino") == {
        "xla": False, "compute": "openvino", "compute_version": ALL["openvino"],
    }  # fmt: skip


def test_a_run_is_computed_by_the_winner_and_its_manifest_has_the_trials(machine, monkeypatch, tmp_path):
    trials = (choice.Trial("tensorflow", 60.0, 0.0), choice.Trial("xla", 90.0, 1e-7))
    monkeypatch.setattr(choice, "choose", lambda _spec, **_how: choice.Choice("xla", trials, 1.0))
    assert machine.tried == []
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    settings = small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]", "runner.workers=1")
    told = io.StringIO()
    manifest = run.run(settings, (), told).manifest
    assert manifest.compute is not None and manifest.compute.backend == "xla"
    assert [one.images_per_second for one in manifest.compute.trials] == [60.0, 90.0]
    assert manifest.keyed_by is not None and manifest.keyed_by.all["xla"] is True
    assert "compute: xla, by trial: 1.50 times as fast as TensorFlow" in told.getvalue()


def test_runs_of_two_backends_are_told_in_one_line():
    trial = {"backend": "openvino", "images_per_second": 108.0, "agreement": 2e-6}
    computed = {"backend": "openvino", "reason": "by trial", "version": "openvino 1", "trials": [trial], "seconds": 7.5}
    before, now = manifests_support.manifest(), manifests_support.manifest(compute=computed)
    assert (before.backend, now.backend) == ("tensorflow", "openvino")
    told = settings_diff.differences(before, now)
    assert [(one.path, one.baseline, one.candidate) for one in told] == [
        ("compute.backend", "tensorflow", "openvino"),
        ("compute.version", None, "openvino 1"),
    ]
    assert (
        told[0].effect == "what computes the model: maps may differ by some 1e-6 of their largest value for that alone"
    )
    assert not settings_diff.incomparable(told)


def test_a_run_of_before_says_by_its_settings_what_computed_it():
    old = manifests_support.manifest(config={"explain": {"xla": True}})
    assert old.backend == "xla"
    new = manifests_support.manifest(
        compute={"backend": "xla", "reason": "as set"}, config={"explain": {"compute": "xla"}}
    )
    assert not settings_diff.differences(old, new)
