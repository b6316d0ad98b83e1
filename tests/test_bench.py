"""The arithmetic and the files of the bench; never its times."""

from __future__ import annotations

import json
import math
import pathlib
import time
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline import cli, config, plan
from pipeline.bench import (
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
from tests import small_runs
from transforms import images as decoding
from transforms.methods import engine, exposure, perturbation

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
    with child.Child(task) as process:
        told = [process.work(1), process.work(0), process.work(1)]
        result = process.finish()
    assert result["seconds"] == told and min(told) > 0 and min(result["cpu_seconds"]) > 0
    assert result["rows"] == 5 and len(result["recorded"]) == 3


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(child.ChildFailed, match=r"(?s)nonsense failed with status 1:.*KeyError: 'nonsense'"):
        child.spawn({"kind": "nonsense", "patterns": ["one"]})


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
        taken = {"seconds": [float(n) for n in done], "cpu_seconds": [2.0 * n for n in done]}
        return taken | ({"recorded": [{"utilisation": n / 10} for n in done]} if self._name == "job" else {})


def test_in_a_sitting_every_other_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "Child", _Turns)
    _Turns.log.clear()
    rounds = whole_job.sitting({name: {"name": name} for name in ("job", "loop", "threads", "defaults")}, turns=2)
    order = ["loop", "job", "threads", "defaults"]
    turns = [(name, number) for name in (*order, *reversed(order)) for number in (1, 2)]
    assert _Turns.log == [*((name, 0) for name in order), *turns]
    assert [r["threads"]["seconds"] for r in rounds] == [[1.0, 2.0], [3.0, 4.0]]
    assert [r["defaults"]["cpu_seconds"] for r in rounds] == [[2.0, 4.0], [6.0, 8.0]]
    assert [r["job"]["utilisation"] for r in rounds] == [0.2, 0.4]  # of the long runs


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
    source = models.loading.ModelSource(
        None, None, "pipeline.bench.models:costless", None, (("classes", 10), ("side", samples.TINY_PX)), True
    )
    spec = models.engine_spec(
        source,
        (models.method("grad_cam"),),
        settings.TARGETS,
        preprocessing=models.loading.Preprocessing("tf", None, None),
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
    assert cli.main(["bench", "--only", "one_pass", "--json", path]) == cli.OK
    assert [f["name"] for f in json.loads(pathlib.Path(path).read_text())] == ["good"]
    assert cli.main(["bench", "--only", "one_pass", "--only", "peers", "--json", path]) == cli.FAILED
    assert "1 miss their goal: bad" in capsys.readouterr().out
    assert cli.main(["bench", "--only", "peers", "--quick", "--json", path]) == cli.OK
    assert cli.main(["bench", "--only", "scaling", "--quick", "--json", path]) == cli.FAILED  # could not be measured


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "speed"], "expected one_pass, many_pass"),
        (["config.yaml", "--only", "peers"], "leave out CONFIG.yaml"),
        (["--set", "explain.batch_size=4"], "give CONFIG.yaml"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], said: str, capsys) -> None:
    assert cli.main(["bench", *arguments]) == cli.USAGE
    assert said in capsys.readouterr().err
