"""The arithmetic and the files of the bench; never its times."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import signal
import sys
import time
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from heatbeam import cli, config
from heatbeam.bench import (
    child,
    command,
    figures,
    hand_written,
    localization_cost,
    many_pass,
    models,
    one_pass,
    samples,
    scaling,
    settings,
    stages,
    trace,
    user_job,
    whole_job,
)
from heatbeam.job import plan
from heatbeam.transforms.engine import engine
from heatbeam.transforms.methods import perturbation
from heatbeam.transforms.models import exposure, model_source
from heatbeam.transforms.sources import images as decoding
from tests.support import small_runs

PAIRS = [(1.0, 2.0), (3.0, 3.0), (2.0, 8.0)]


def test_a_cost_is_the_median_of_the_ratios_of_neighbours_not_the_ratio_of_medians() -> None:
    found = figures.cost("a", PAIRS, figures.Goal(high=0.5), "how", work=6.0)
    assert (found.ratio, found.spread, found.met) == (0.5, (0.25, 1.0), True)
    assert found.measured == {"ours_images_per_s": 3.0, "reference_images_per_s": 2.0, "rounds": 3}


def test_a_speedup_is_the_other_way_round() -> None:
    found = figures.speedup("a", PAIRS, figures.Goal(low=2.1), "how")
    assert (found.ratio, found.spread, found.met) == (2.0, (1.0, 4.0), False)


def test_a_disturbed_round_is_left_out_and_nothing_left_meets_no_goal() -> None:
    found = figures.cost("a", [*PAIRS, (math.nan, 1.0), (1.0, math.nan)], None, "how")
    assert (found.ratio, found.measured["rounds"], found.met) == (0.5, 3, None)
    empty = figures.cost("a", [(math.nan, 1.0)], figures.Goal(high=9.0), "how")
    assert math.isnan(empty.ratio) and empty.met is False


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (figures.Goal(high=1.15), 1.15, True),
        (figures.Goal(high=1.15), 1.1501, False),
        (figures.Goal(low=0.95), 0.95, True),
        (figures.Goal(low=0.95), 0.9499, False),
        (figures.Goal(low=0.95), math.nan, False),
    ],
)
def test_a_goal_holds_its_bound(goal: figures.Goal, ratio: float, met: bool) -> None:
    assert goal.is_met(ratio) is met


def test_both_are_run_in_turn_after_one_run_that_is_not_measured() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("A")
        time.sleep(0.02)

    pairs = figures.alternate(slow, lambda: calls.append("B"), rounds=3)
    assert "".join(calls) == "ABABABAB" and len(pairs) == 3
    assert all(ours >= 0.02 > 0 <= reference for ours, reference in pairs)


def test_json_has_the_stated_keys_and_reads_back(tmp_path: pathlib.Path) -> None:
    made = [
        figures.cost("timed", PAIRS, figures.Goal(high=1.15), "how it was"),
        figures.single("counted", 0.25, None, "bytes", mebibytes=2.0, device="CPU"),
        figures.cost("lost", [(math.nan, 1.0)], figures.Goal(low=0.9), "how"),
    ]
    path = tmp_path / "bench.json"
    figures.write_json(made, str(path))
    listed = json.loads(path.read_text())
    assert list(listed[0]) == ["name", "ratio", "spread", "goal", "met", "how", "measured"]
    assert listed[0] | {"measured": {}} == {
        "name": "timed",
        "ratio": 0.5,
        "spread": [0.25, 1.0],
        "goal": "<= 1.15",
        "met": True,
        "how": "how it was",
        "measured": {},
    }
    assert (listed[1]["goal"], listed[1]["met"]) == (None, None)
    assert (listed[2]["ratio"], listed[2]["spread"], listed[2]["met"]) == (None, [None, None], False)
    back = figures.read_json(str(path))
    assert back[:2] == made[:2] and back[2].as_dict() == made[2].as_dict()


def test_the_table_says_what_is_not_met() -> None:
    text = figures.table(
        [
            figures.cost("slow", PAIRS, figures.Goal(high=0.4), "x"),
            figures.cost("fast", PAIRS, figures.Goal(high=0.6), "y"),
        ]
    )
    lines = [line.split() for line in text.splitlines() if not line.startswith("    ")]
    assert lines[1:] == [
        ["slow", "0.500", "0.250", "1.000", "<=", "0.4", "NO"],
        ["fast", "0.500", "0.250", "1.000", "<=", "0.6", "yes"],
    ]


def test_steady_time_is_the_long_run_less_the_short_one() -> None:
    assert whole_job.steady_seconds({"seconds": [9.0, 3.0, 10.0]}) == 7.0
    assert math.isnan(whole_job.steady_seconds({"seconds": [9.0, 3.0, 2.5]}))
    assert whole_job.steady_seconds({"cpu_seconds": [1.0, 3.0]}, "cpu_seconds") == 2.0


def _round(job: float, loop: float, threads: float) -> dict[str, dict]:
    facts = {"first_image_s": 4.0, "utilisation": 0.5, "shares": {"explain": 0.75}, "bytes": 4 * 224 * 224, "rows": 2}

    def took(seconds: float) -> dict:
        return {"seconds": [1, 1 + seconds], "cpu_seconds": [3, 3.5 + seconds]}

    return {
        "job": {**took(job), **facts},
        "loop": {**took(loop), "first_image_s": 2.0},
        "threads": {**took(threads), "first_image_s": 8.0},
        "defaults": {**took(threads / 2), "first_image_s": 8.0},
    }


def test_the_job_is_compared_with_the_loop_that_is_faster_in_the_median_round() -> None:
    # Of each round the luckier one would give 8, 5 and 12; the medians are 12 and 9, so it is the second.
    rounds = [_round(10, 8, 9), _round(10, 20, 5), _round(10, 12, 30)]
    assert whole_job.faster_loop(rounds) == "threads"
    throughput, defaults, cpu, start, busy, size = whole_job._figures(
        "ResNet50V2", [rounds[:1], rounds[1:]], (0, 40, 140)
    )
    assert (throughput.ratio, throughput.spread, throughput.met) == (0.9, (0.5, 3.0), False)
    assert throughput.measured["ours_images_per_s"] == 10
    assert (defaults.ratio, defaults.spread, defaults.goal) == (0.45, (0.25, 1.5), None)
    assert (cpu.ratio, cpu.spread, cpu.goal) == (10.5 / 9.5, (10.5 / 30.5, 10.5 / 5.5), None)
    assert cpu.measured == {"ours_ms_per_image": 105.0, "reference_ms_per_image": 95.0}
    assert (start.ratio, start.measured["ours_s"], start.measured["reference_s"]) == (2.0, 4.0, 2.0)
    assert (busy.ratio, busy.met, busy.measured["explain"]) == (0.5, False, 0.75)
    assert (size.ratio, size.measured["bytes_per_row"]) == (0.5, 2 * 224 * 224)


def test_a_loop_of_which_every_round_was_disturbed_is_not_the_faster_one() -> None:
    assert whole_job.faster_loop([_round(10, 8, -1), _round(10, 8, -1)]) == "loop"


def test_sizes_fill_whole_batches_in_every_shard() -> None:
    for name in whole_job.GOALS:
        for quick in (True, False):
            _, short, long = whole_job._sizes(name, quick)
            assert long > short and short % whole_job.BATCH == long % whole_job.BATCH == 0
    assert whole_job._sizes("ResNet50V2", False)[1] % (whole_job.BATCH * whole_job._SHARDS) == 0


def test_a_child_works_when_it_is_told_to_and_says_what_it_measured(tmp_path: pathlib.Path) -> None:
    patterns = [samples.write_shards(tmp_path / str(n), samples.tiny(n), 1, classes=10) for n in (2, 5)]
    chosen = {**_costless(), "explain": {"methods": ["grad_cam"], "targets": ["label"]}}
    task = {"kind": "job", "patterns": patterns, "directory": str(tmp_path / "runs"), "settings": chosen}
    task["record"] = True
    with child.Child(task) as process:
        told = [process.work(1), process.work(0), process.work(1)]
        result = process.finish()
    assert result["seconds"] == told and min(told) > 0 and min(result["cpu_seconds"]) > 0
    assert result["rows"] == 5 and [len(spans) > 0 for spans in result["spans"]] == [True] * 3


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(child.ChildFailed, match=r"(?s)nonsense failed with status 1:.*KeyError: 'nonsense'"):
        child.spawn({"kind": "nonsense", "patterns": ["one"]})


class _Slices:
    """Stands in for a `child.Child` that answers in its n-th slice; notes who is told what."""

    def __init__(self, name: str, slices: int, log: list[str]) -> None:
        self._name, self._left, self._log = name, slices, log

    def begin(self, number: int) -> None:
        self._log.append(f"{self._name}{number}")

    def pause(self) -> None:
        self._log.append(f"{self._name}-")

    def go_on(self) -> None:
        self._log.append(f"{self._name}+")

    def answers_within(self, seconds: float) -> bool:
        assert seconds == 0.5
        self._left -= 1
        return self._left == 0


@pytest.mark.parametrize(("order", "turns"), [("abc", "abcbcb"), ("cba", "cbacbb")])
def test_slices_go_round_until_all_have_answered(order: str, turns: str) -> None:
    log: list[str] = []
    slices = {"a": 1, "b": 3, "c": 2}
    ran = child.in_slices({name: _Slices(name, slices[name], log) for name in order}, 7, slice_s=0.5)
    told = [told for name in order for told in (f"{name}-", f"{name}7")]
    took = [took for name in turns for took in (f"{name}+", f"{name}-")]
    assert log == [*told, *took, *(f"{name}+" for name in order)]
    assert {name: len(stretches) for name, stretches in ran.items()} == slices


_SPINNING = """
import sys, time
from heatbeam.bench import child

class Spinning:
    def __init__(self, task):
        self.times = []

    def work(self, number):  # tenths of a second of CPU time; 99 fails
        if number == 99:
            sys.exit(7)
        begun, until = time.perf_counter(), time.process_time() + number / 10
        while time.process_time() < until:
            sum(range(10_000))
            self.times.append(time.perf_counter())
        return time.perf_counter() - begun

    def result(self):
        return {"times": self.times}

child.KINDS["spinning"] = Spinning
child.main(*sys.argv[1:])
"""


@pytest.fixture
def spinning(monkeypatch: pytest.MonkeyPatch) -> dict:
    """A task whose children spin; see `_SPINNING`."""
    monkeypatch.setattr(child, "_COMMAND", (sys.executable, "-c", _SPINNING))
    return {"kind": "spinning"}


def test_what_runs_in_slices_runs_alone_and_its_time_stopped_does_not_count(spinning: dict) -> None:
    with child.Child(spinning) as one, child.Child(spinning) as other:
        one.work(0), other.work(0)  # both are loaded
        ran = child.in_slices({"one": one, "other": other}, 5, slice_s=0.02)
        results = {"one": one.finish(), "other": other.finish()}
    stretches = sorted(ran["one"] + ran["other"])
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(stretches))
    for name, result in results.items():
        assert len(ran[name]) > 2  # half a second in slices of 20 ms, however late their ends
        assert sum(end - begin for begin, end in ran[name]) < result["seconds"][-1]
        inside = [any(begin <= at <= end for begin, end in ran[name]) for at in result["times"]]
        assert np.mean(inside) > 0.9  # a stop takes a moment to arrive


def test_a_process_that_ends_in_its_slice_says_why_and_the_others_are_ended(spinning: dict) -> None:
    with pytest.raises(child.ChildFailed, match="spinning failed with status 7"):
        with child.Child(spinning) as one, child.Child(spinning) as other:
            one.work(0)
            other.begin(50)
            other.pause()
            child.in_slices({"one": one}, 99, slice_s=0.02)
    assert other._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("paused", [False, True])
def test_a_process_that_was_killed_is_no_endless_wait(spinning: dict, paused: bool) -> None:
    with child.Child(spinning) as one:
        one.work(0)
        if paused:
            one.pause()
        one._process.kill()
        with pytest.raises(child.ChildFailed, match="spinning failed with status -9"):
            child.in_slices({"one": one}, 1)


class _Turns:
    """Stands in for a `child.Child`: notes whose turn it was; piece of work n takes n seconds, 0 is the warm-up."""

    log: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, task: dict) -> None:
        self._name, self._done = task["name"], 0

    def __enter__(self) -> _Turns:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def work(self, number: int) -> None:
        self.log.append((self._name, number))
        self._done += 1

    def finish(self) -> dict:
        done = range(self._done)
        taken = {"seconds": [99.0 for _ in done], "cpu_seconds": [2.0 * n for n in done]}
        return taken | ({"spans": [self._spans(float(n)) for n in done]} if self._name == "job" else {})

    @staticmethod
    def _spans(n: float) -> list[list]:
        """In running time from 1 to 1 + n and from 2 + n to 3 + n, as `_in_slices` stops it."""
        return [["explain", 1, 1.0, 1.0 + n], ["explain", 2, 6.0 + n, 7.0 + n]]


def _in_slices(children: dict[str, _Turns], number: int) -> dict[str, list[child.Stretch]]:
    """In piece of work n all run from 0 to ``n + 1`` and from ``n + 5`` to ``n + 15``."""
    for process in children.values():
        process.work(number)
    return {name: [(0.0, p._done), (p._done + 4.0, p._done + 14.0)] for name, p in children.items()}


def test_in_a_sitting_every_other_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "Child", _Turns)
    monkeypatch.setattr(child, "in_slices", _in_slices)
    _Turns.log.clear()
    rounds = whole_job.sitting({name: {"name": name} for name in ("job", "loop", "threads", "defaults")}, rounds=2)
    order = ["loop", "job", "threads", "defaults"]
    turns = [(name, number) for names in (order, order[::-1]) for number in (1, 2) for name in names]
    assert _Turns.log == [*((name, 0) for name in order), *turns]
    # Running time, whatever the process' own clock says; the job's spans are of the long runs, pieces of work 2 and 4.
    assert [r["threads"]["seconds"] for r in rounds] == [[12.0, 13.0], [14.0, 15.0]]
    assert [r["defaults"]["cpu_seconds"] for r in rounds] == [[2.0, 4.0], [6.0, 8.0]]
    assert [[(s.begin, s.end) for s in r["job"]["spans"]] for r in rounds] == [[(1, 3), (4, 5)], [(1, 5), (6, 7)]]
    assert [r["job"]["utilisation"] for r in rounds] == [3 / 4, 5 / 6]
    assert rounds[0]["job"]["shares"] == {"explain": 3 / 8, trace.OTHER: 5 / 8}


SPANS = [
    trace.Span("decode", 1, 0.0, 1.0),
    trace.Span("explain", 1, 1.0, 4.0),
    trace.Span("explain", 2, 3.0, 6.0),
    trace.Span("explain", 1, 8.0, 9.0),
    trace.Span("write", 1, 9.0, 10.0),
]


def test_utilisation_is_the_union_of_the_threads_spans() -> None:
    assert trace.utilisation(SPANS) == 6 / 8  # 1 to 6 and 8 to 9, of 1 to 9
    assert trace.utilisation(SPANS, "localize") == 0


def test_shares_are_of_the_time_from_the_first_batch_to_the_last() -> None:
    # From 1 to 9 in two threads: 16 s. Decoding from 0 to 1 and writing from 9 on lie outside.
    more = [trace.Span("decode", 2, 0.5, 3.0), trace.Span("write", 3, 2.0, 3.0)]
    assert trace.shares([*SPANS, *more]) == pytest.approx({"explain": 7 / 16, "decode": 2 / 16, trace.OTHER: 7 / 16})
    assert trace.shares([]) == {}


def test_running_time_stands_still_while_the_process_is_stopped() -> None:
    stretches = [(10.0, 12.0), (15.0, 16.0), (20.0, 30.0)]  # begin at 0, 2 and 3 of the running time
    clock = [(9.5, 10.5), (11.0, 15.5), (12.5, 14.0), (16.0, 20.0), (15.25, 24.0), (29.0, 31.0)]
    running = [(0.0, 0.5), (1.0, 2.5), (2.0, 2.0), (3.0, 3.0), (2.25, 7.0), (12.0, 13.0)]
    found = trace.in_running_time([trace.Span("write", 3, *times) for times in clock], stretches)
    assert found == [trace.Span("write", 3, *times) for times in running]
    assert trace.in_running_time([], stretches) == []


def test_timeline_is_in_microseconds_from_the_first_span(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "trace.json"
    trace.write_timeline([span._replace(begin=span.begin + 5, end=span.end + 5) for span in SPANS], str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert events[2] == {"name": "explain", "ph": "X", "pid": 0, "tid": 1, "ts": 3e6, "dur": 3e6}


def test_recording_notes_the_steps_of_a_run_and_leaves_no_trace(tmp_path: pathlib.Path) -> None:
    before = engine.Engine.explain
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    with trace.recording() as recorder:
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]"))
    steps = [span.step for span in recorder.spans]
    assert engine.Engine.explain is before
    assert steps.count("decode") == steps.count("localize") == steps.count("parse") == 6
    assert {"explain", "aggregate", "rows", "write"} <= set(steps)


def test_the_steps_without_beam_write_the_rows_of_the_job(tmp_path: pathlib.Path) -> None:
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    settings_of_run = small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]")
    steps = stages.Stages(plan.make(settings_of_run), str(tmp_path))
    steps.run()
    job = small_runs.rows(small_runs.run_quietly(settings_of_run))
    plain = pq.read_table(tmp_path / "straight.parquet").sort_by(small_runs.SORT)
    small_runs.assert_same_rows(plain.drop_columns(["shard", "record_index"]), job)
    assert steps.images == 6 and set(steps.seconds) == set(stages.STEPS)


def test_samples_are_photos_of_the_stated_size_spread_evenly(tmp_path: pathlib.Path) -> None:
    pattern = samples.write_shards(tmp_path / "photos", samples.photos(5), 2, classes=10)
    text = {"input": {"tfrecord": pattern}, "output": {"directory": str(tmp_path)}, **_costless()}
    steps = stages.Stages(plan.make(config.RunConfig.model_validate(text)), str(tmp_path))
    steps.run(limit=4)
    assert steps.images == 4
    assert {(e.source.width, e.source.height) for e in steps.examples} == {samples.PHOTO_SIZE}
    assert all(len(e.ground_truth.boxes) == 1 for e in steps.examples)
    sizes = [len(list(tf.data.TFRecordDataset(str(path)))) for path in sorted((tmp_path / "photos").iterdir())]
    assert sizes == [3, 2]


def _costless() -> dict:
    return {**scaling.SETTINGS, "runner": {"workers": 1}}


def test_a_users_job_is_measured_step_by_step(tmp_path: pathlib.Path) -> None:
    pattern = samples.write_shards(tmp_path / "tiny", samples.tiny(8), 2, classes=10)
    text = {"input": {"tfrecord": pattern}, "output": {"directory": str(tmp_path / "run")}, **_costless()}
    found = user_job.measure(config.RunConfig.model_validate(text), settings.Options(quick=True))
    assert [f.name.split()[0] for f in found] == [*stages.STEPS, "all"]
    assert not (tmp_path / "run").exists()


def test_a_step_is_compared_with_the_forward_pass_and_with_the_whole() -> None:
    class Measured:
        def __init__(self, scale: float) -> None:
            self.images = 4
            self.seconds = dict.fromkeys(stages.STEPS, 0.25 * scale) | {"explain": 7 * scale, "decode": 2 * scale}

    found = user_job._figures([(Measured(1.0), 1.0), (Measured(2.0), 4.0), (Measured(1.5), 2.0)])
    by_step = {figure.name.split()[0]: figure for figure in found}
    explain, decode, whole = by_step["explain"], by_step["decode"], by_step["all"]
    assert (explain.ratio, explain.spread) == (2.625 / 2, (3.5 / 4, 1.75))
    assert explain.measured == {"ms_per_image": 2625.0, "percent_of_job": 70.0}
    assert decode.measured == {"ms_per_image": 750.0, "percent_of_job": 20.0}
    assert whole.ratio == 3.75 / 2 and whole.measured["images_per_s"] == 1 / 3.75


def test_the_hand_written_loop_feeds_the_jobs_pixels(tmp_path: pathlib.Path) -> None:
    photos = samples.photos(3)
    pattern = samples.write_shards(tmp_path / "photos", photos, 1)
    how = decoding.ImageOptions(224, 224, 3, "squash", "bilinear", 1.0, 0, False, False, 10**8)
    pixels = {i * 7919 % samples.CLASSES: decoding.decode_image(one, None, how)[0] for i, one in enumerate(photos)}

    def differences(antialias: bool) -> np.ndarray:
        ((images, labels),) = hand_written.dataset(pattern, (224, 224, 3), 4, antialias)
        ids = labels[:, 0].numpy().tolist()
        assert sorted(ids) == sorted(pixels)
        return np.abs(images.numpy() - np.stack([pixels[i] for i in ids]).astype(int))

    assert differences(antialias=True).max() == 1  # rounding
    assert np.mean(differences(antialias=False) > 1) > 0.2


def test_the_hand_written_loop_explains_every_image(tmp_path: pathlib.Path, monkeypatch) -> None:
    pattern = samples.write_shards(tmp_path / "tiny", samples.tiny(9), 2, classes=10)
    source = model_source.ModelSource(
        factory="heatbeam.bench.models:costless", arguments=(("classes", 10), ("side", samples.TINY_PX))
    )
    spec = models.engine_spec(
        source,
        (models.method("grad_cam"),),
        settings.TARGETS,
        preprocessing=model_source.Preprocessing("tf"),
    )
    monkeypatch.setattr(models, "engine_spec", lambda *_, **__: spec)
    for threads in (1, 2):
        loop = hand_written.Loop("MobileNetV2", 4, threads)
        assert loop.run(pattern) == 9 and loop.first_batch_at > 0


def _costless_pair() -> tuple[tf.keras.Model, tf.keras.Model]:
    model = models.costless(32, 10)
    return model, tf.keras.Model(model.inputs, [model.outputs[0], model.get_layer("features").output])


def test_grad_cam_by_tape_and_the_channel_loop_are_the_engines_methods() -> None:
    model, both = _costless_pair()
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    inputs, ids = tf.constant(images / 127.5 - 1, tf.float32), tf.constant([[3], [5]])
    _, activations = both(inputs)
    # A head of global average pooling: the gradient of a logit is the same weight over the area, at each position.
    weights = model.layers[-1].kernel.numpy()[:, [3, 5]].T / 16
    expected = np.einsum("bhwk,bk->bhw", activations.numpy(), weights)
    np.testing.assert_allclose(hand_written.grad_cam_by_tape(both)(inputs, ids)[..., 0], expected, atol=1e-6)

    logits, maps = many_pass.channel_loop(both, inputs, ids, activations.shape[-1])
    np.testing.assert_allclose(logits, tf.gather(model(inputs), ids, batch_dims=1), atol=1e-6)
    exposed = exposure.ExposedModel(model, layer="features", scores="auto", output=None, size=None)
    score_cam = tf.function(
        lambda: perturbation.score_cam(
            exposed, inputs, ids, activations, None, batch_size=4, variant="keras_explainable"
        ),
        autograph=False,
    )
    # The sum of enlarged maps is the enlarged sum of maps.
    np.testing.assert_allclose(maps, tf.image.resize(score_cam(), (32, 32)), atol=1e-5)


@pytest.mark.parametrize("cells", [7, 14])
def test_the_plain_procedure_counts_what_ours_counts(cells: int) -> None:
    heatmap, truth = localization_cost.smooth_map(cells, 3), np.array([[40.0, 50, 150, 180]])
    plain = localization_cost.plain_hits(heatmap, truth)
    assert plain.shape == (2, 3, 1000) and 0 < plain.sum() < plain.size
    np.testing.assert_array_equal(plain, localization_cost.fast_hits(heatmap, truth))


def test_accumulators_count_every_image_of_every_class() -> None:
    states = localization_cost.accumulators(3, doublings=4)
    assert [(s.images, s.boxes, s.masks) for s in states.values()] == [(16, 16, 16)] * 3


def test_all_one_pass_methods_are_measured() -> None:
    names = {method.method for method in one_pass.one_pass_methods()}
    assert {"cam", "grad_cam", "grad_cam_plus_plus", "eigen_cam", "x_grad_cam", "layer_cam"} <= names
    assert "score_cam" not in names


def test_command_writes_what_the_groups_measured_and_judges_unless_quick(tmp_path, monkeypatch, capsys) -> None:
    made = {
        "one_pass": [figures.cost("good", PAIRS, figures.Goal(high=1.0), "x")],
        "peers": [figures.cost("bad", PAIRS, figures.Goal(low=1.0), "y")],
    }
    monkeypatch.setattr(command, "_in_a_process", lambda name, _: made.get(name))
    path = str(tmp_path / "deep" / "bench.json")
    assert cli.main(["bench", "--only", "one_pass", "--json", path]) == 0
    assert [f["name"] for f in json.loads(pathlib.Path(path).read_text())] == ["good"]
    assert cli.main(["bench", "--only", "one_pass", "--only", "peers", "--json", path]) == 1
    assert "1 miss their goal: bad" in capsys.readouterr().out
    assert cli.main(["bench", "--only", "peers", "--quick", "--json", path]) == 0
    assert cli.main(["bench", "--only", "scaling", "--quick", "--json", path]) == 1  # could not be measured


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "speed"], "expected one_pass, many_pass"),
        (["config.yaml", "--only", "peers"], "leave out CONFIG.yaml"),
        (["--set", "explain.batch_size=4"], "give CONFIG.yaml"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], said: str, capsys) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
