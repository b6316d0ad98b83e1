"""The families: the arithmetic of rounds and ratios, what the peers do and feed; never their times."""

from __future__ import annotations

import itertools
import math
import pathlib
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.runs import manifests
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources import images as decoding
from tests.benchmarks import child, figures, models, samples, settings, trace
from tests.benchmarks.families import fastest, half_precision, hand_written, photos, rounds, summary, whole_jobs


def test_steady_time_is_the_long_run_less_the_short_one() -> None:
    assert rounds.steady_seconds({"seconds": [9.0, 3.0, 10.0]}) == 7.0
    assert math.isnan(rounds.steady_seconds({"seconds": [9.0, 3.0, 2.5]}))
    assert rounds.steady_seconds({"cpu_seconds": [1.0, 3.0]}, "cpu_seconds") == 2.0


def _round(job: float, loop: float, xplique: float) -> dict[str, dict]:
    facts = {"utilisation": 0.5, "shares": {"explain": 0.75, "other": 0.25}, "bytes": 3000, "rows": 2, "workers": 2}
    facts |= {"trial": {"tensorflow": "5 images/s", "openvino": "10 images/s"}}

    def took(seconds: float, way: str) -> dict:
        return {"seconds": [1, 1 + seconds], "cpu_seconds": [3, 3.5 + seconds], "way": way}

    return {
        "job": {**took(job, "openvino"), **facts},
        "loop": took(loop, "2 threads, 8 to a pass"),
        "Xplique": took(xplique, "batches of 16"),
    }


def test_the_job_is_compared_with_the_peer_that_is_faster_in_the_median_round() -> None:
    # Of each round the luckier one would give 8, 5 and 12; the medians are 12 and 9, so it is the second.
    played = [_round(10, 8, 9), _round(10, 20, 5), _round(10, 12, 30)]
    assert rounds.fastest(played, ["loop", "Xplique"]) == "Xplique"
    found = whole_jobs._figure("VGG16", played, (40, 140), {})
    assert (found.name, found.ratio, found.spread, found.met) == (summary.name_of("VGG16"), 0.9, (0.5, 3.0), False)
    assert found.measured == {
        "peer": "Xplique",
        "job_images_per_s": 10.0,
        "job_cpu_ms_per_image": 105.0,
        "job_way": "openvino",
        "loop_images_per_s": 100 / 12,
        "loop_cpu_ms_per_image": 125.0,
        "loop_way": "2 threads, 8 to a pass",
        "Xplique_images_per_s": 100 / 9,
        "Xplique_cpu_ms_per_image": 95.0,
        "Xplique_way": "batches of 16",
        "trial_tensorflow": "5 images/s",
        "trial_openvino": "10 images/s",
        "explain_ms": 150.0,  # of 2 threads for 10 s, 100 images: 200 ms, three quarters of them
        "other_ms": 50.0,
        "model_busy": 0.5,
        "bytes_per_row": 1500.0,
    }


def test_bfloat16_is_over_float32_and_its_agreement_is_beside_it() -> None:
    def took(seconds: float, way: str, agreement: dict | None) -> dict:
        return {"seconds": [1, 1 + seconds], "cpu_seconds": [3, 3 + 2 * seconds], "way": way, "agreement": agreement}

    near = {"difference": 0.02, "same_class": 1.0, "map_correlation": None}
    played = [
        {"job": took(one, "openvino", near), "float32": took(20, "onnxruntime", None)} for one in (8.0, 10.0, 16.0)
    ]
    found = half_precision.figure("VGG16", played, (40, 140))
    assert (found.ratio, found.spread, found.goal) == (2.0, (1.25, 2.5), None)
    assert found.measured == {
        "mixed_bfloat16_images_per_s": 10.0,
        "mixed_bfloat16_cpu_ms_per_image": 200.0,
        "mixed_bfloat16_way": "openvino",
        "float32_images_per_s": 5.0,
        "float32_cpu_ms_per_image": 400.0,
        "float32_way": "onnxruntime",
        "difference": 0.02,
        "same_class": 1.0,
        "map_correlation": "none",
    }
    assert summary.together("half_precision", [found]) == []  # never mixed into the ratios over the peers


def test_a_job_in_float32_by_tensorflow_has_no_agreement(tmp_path: pathlib.Path) -> None:
    """And is measured nonetheless: where no other engine is faster, it is what half precision is compared with."""
    found = {}
    for backend, near in (("tensorflow", None), ("openvino", manifests.ComputeAgreement(images=16, of="the records"))):
        compute = manifests.Compute(backend=backend, reason="it was asked for", agreement=near)
        (tmp_path / backend).write_text(f'{{"compute": {compute.model_dump_json()}}}')
        found[backend] = half_precision.agreement(tmp_path / backend)
    assert found == {"tensorflow": None, "openvino": {"images": 16, "of": "the records"}}


def test_a_peer_of_which_every_round_was_disturbed_is_not_the_faster_one() -> None:
    assert rounds.fastest([_round(10, 8, -1), _round(10, 8, -1)], ["Xplique", "loop"]) == "loop"


def test_there_are_ten_families_of_ten_kinds() -> None:
    assert len(set(summary.FAMILIES)) == 10
    assert set(models.APPLICATIONS) <= set(summary.FAMILIES)


def test_no_family_counts_for_more_than_twice_and_goals_are_for_all_of_them() -> None:
    ratios = [8.0, 1.0, *[1.5] * 7, 0.5]
    found = [figures.single(summary.name_of(n), r, None, "") for n, r in zip(summary.FAMILIES, ratios, strict=True)]
    mean, median, least = summary.together("families", found)
    assert mean.ratio == pytest.approx((2.0 * 1.0 * 1.5**7 * 0.5) ** 0.1) and mean.goal == figures.Goal(low=1.3)
    assert (median.ratio, median.met, least.ratio, least.met) == (1.5, True, 0.5, False)
    few = summary.together("families", found[:2])
    assert [one.ratio for one in few] == [pytest.approx(2.0**0.5), 1.5, 1.0] and {one.goal for one in few} == {None}
    assert summary.together("families", []) == summary.together("one_pass", found) == []


@pytest.mark.parametrize(
    ("images_per_s", "size"), [(1000, (32, 16)), (100, (32, 8)), (40, (32, 4)), (25, (16, 4)), (4, (16, 2))]
)
def test_the_short_run_has_whole_batches_and_takes_at_least_two_and_a_half_seconds(
    images_per_s: float, size: tuple
) -> None:
    assert whole_jobs.size_for(1 / images_per_s) == size


def test_the_shortest_run_has_every_class_so_that_what_a_class_costs_cancels() -> None:
    few = whole_jobs.size_for(1.0).images
    assert len({samples.label(number) for number in range(few)}) == samples.CLASSES


def test_best_settings_come_from_a_process_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Process:
        def __init__(self, task: dict[str, Any]) -> None:
            told.append(task)

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *error: object) -> None:
            told.append("ended")

        def work(self, number: int) -> float:
            told.append(number)
            return 0.25

        def finish(self) -> dict[str, Any]:
            return {"way": "16 to a pass", "best": {"pass_size": 16}}

    monkeypatch.setattr(child, "Child", Process)
    found = whole_jobs.tried({"kind": "loop", "threads": 2})
    assert (found.task, found.seconds) == ({"kind": "loop", "threads": 2, "pass_size": 16}, 0.25)
    assert told == [{"kind": "loop", "threads": 2}, 0, "ended"]
    assert whole_jobs.tried({"kind": "job"}, "trial").task == {"kind": "job", "pass_size": 16}
    assert told[3] == {"kind": "trial"}


def test_the_fastest_way_is_found_and_the_rest_is_left_out_when_time_is_up() -> None:
    now = itertools.accumulate(itertools.repeat(1.0))  # each look at the clock a second later
    asked: list[str] = []

    def work(way: str) -> int:
        asked.append(way)
        return {"slow": 1, "fast": 3, "late": 9}[way]

    assert fastest.way(("slow", "fast", "late"), work, lambda: next(now), each_s=1.0, all_s=6.0) == ("fast", 2 / 3)
    assert "late" not in asked and asked[:2] == ["slow", "slow"]


def test_the_peers_feed_the_pixels_of_the_job(tmp_path: pathlib.Path) -> None:
    data = samples.photos(3)
    pattern = samples.write_shards(tmp_path / "photos", data, 1)
    how = decode_options.ImageOptions(224, 224, **settings.INPUT)
    pixels = {i * 7919 % samples.CLASSES: decoding.decode_image(one, None, how)[0] for i, one in enumerate(data)}
    ((images, labels),) = photos.dataset(pattern, (224, 224), 4)
    ids = labels[:, 0].numpy().tolist()
    assert sorted(ids) == sorted(pixels)
    np.testing.assert_allclose(images, np.stack([pixels[i] for i in ids]), atol=1e-4)
    ((halves, again),) = photos.dataset(pattern, (224, 224), 4, lambda images: images / 2)
    places = [ids.index(i) for i in again[:, 0].numpy().tolist()]  # images come in any order
    np.testing.assert_array_equal(halves, images.numpy()[places] / 2)


@pytest.mark.parametrize("constants", [False, True])
def test_the_hand_written_function_is_grad_cam(constants: bool) -> None:
    model = models.costless(32, 10)
    both = tf.keras.Model(model.inputs[0], [model.outputs[0], model.get_layer("features").output])
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    explain = hand_written.grad_cam(both, lambda levels: levels / 127.5 - 1, constants=constants)
    # A head of global average pooling: the gradient of a logit is the same weight over the area, at each position.
    weights = model.layers[-1].kernel.numpy()[:, [3, 5]].T / 16
    expected = np.einsum("bhwk,bk->bhw", both(images / 127.5 - 1)[1].numpy(), weights)
    np.testing.assert_allclose(explain(tf.constant(images), tf.constant([[3], [5]])), expected, atol=1e-6)


def test_the_loop_explains_every_image(tmp_path: pathlib.Path, monkeypatch) -> None:
    pattern = samples.write_shards(tmp_path / "tiny", samples.tiny(9), 2, classes=10)
    model = models.costless(samples.TINY_PX, 10)
    both = tf.keras.Model(model.inputs[0], [model.outputs[0], model.get_layer("features").output])
    monkeypatch.setattr(models, "logits_model", lambda _: (model, both))
    monkeypatch.setattr(fastest, "way", lambda sizes, work: (sizes[1], work(sizes[1]) / 100))
    for threads, size in ((1, 16), (2, 16)):
        loop = hand_written.Loop("MobileNetV2", threads)
        assert loop.tune() == threads * size / 100 and loop.pass_size == size
        assert loop.run(pattern) == 9


class _Turns:
    """Stands in for a `child.Child`: notes whose turn it was; piece of work n takes n seconds, 0 is the warm-up."""

    log: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, task: dict) -> None:
        self._name, self._done = task["name"], 0

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


def test_every_other_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "in_slices", _in_slices)
    _Turns.log.clear()
    order = ["loop", "job", "Xplique"]
    children: dict[str, Any] = {name: _Turns({"name": name}) for name in order}
    for process in children.values():
        process.work(0)
    played = rounds.play(children, 2)
    turns = [(name, number) for names in (order, order[::-1]) for number in (1, 2) for name in names]
    assert _Turns.log == [*((name, 0) for name in order), *turns]
    # Running time, whatever the process' own clock says; the job's spans are of the long runs, pieces of work 2 and 4.
    assert [r["Xplique"]["seconds"] for r in played] == [[12.0, 13.0], [14.0, 15.0]]
    assert [r["loop"]["cpu_seconds"] for r in played] == [[2.0, 4.0], [6.0, 8.0]]
    assert [[(s.begin, s.end) for s in r["job"]["spans"]] for r in played] == [[(1, 3), (4, 5)], [(1, 5), (6, 7)]]
    assert [r["job"]["utilisation"] for r in played] == [3 / 4, 5 / 6]
    assert played[0]["job"]["shares"] == {"explain": 3 / 8, trace.OTHER: 5 / 8}
