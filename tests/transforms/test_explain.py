from __future__ import annotations

import dataclasses
import itertools
import threading

import numpy as np
import pytest

from heatbeam.transforms import explain, records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.models.files import loading
from tests.support import beam_runs, engine_specs, keras_models

SPEC = engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("label",), batch_size=8)


def example(number: int, labels: tuple[int, ...] = (1,)) -> records.Example:
    image = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source = records.Source(f"i{number}", "s", number, "", (64, 64), (0, 0, 64, 64), labels)
    return records.Example(source, image, records.GroundTruth())


class _Choosy(engines.Engine):
    """An engine with room for two images at a time, that fails on image 3 and remembers the batches it was given."""

    batches: list[int]

    def explain(self, images, label_ids, selected, inputs):
        self.batches.append(len(images))
        if len(images) > 2:
            raise engines.OutOfMemory("no room")
        if any((image == example(3).image).all() for image in images):
            raise engines.BatchError("it broke")
        return super().explain(images, label_ids, selected)


def run_with(engine: engines.Engine, monkeypatch, examples: list[records.Example]):
    monkeypatch.setattr(explain, "acquire_engine", lambda spec: (engine, True))
    monkeypatch.setattr(explain, "_THREADS", itertools.count())  # the first thread of a process has whole batches
    return beam_runs.collect(explain.Explain(engine.spec, 0, False, None), examples)


def test_memory_halves_the_batches_and_only_the_bad_image_is_lost(monkeypatch):
    engine = _Choosy(SPEC)
    engine.batches = []
    main, lost, counters = run_with(engine, monkeypatch, [example(i) for i in range(8)])
    assert sorted(one.source.image_id for one in main) == ["i0", "i1", "i2", "i4", "i5", "i6", "i7"]
    assert [(d.image_id, d.stage, d.error_type) for d in lost] == [("i3", "explain", "model_failed")]
    assert engine.batches[:2] == [8, 4] and max(engine.batches[2:]) <= 2  # 8 and 4 do not fit, 2 does
    assert counters["images_explained"] == 7


def test_a_worker_whose_model_has_other_weights_than_the_runs_refuses_to_explain(monkeypatch):
    own = engines.Engine(SPEC)
    monkeypatch.setattr(explain, "acquire_engine", lambda spec: (own, True))
    explain._ExplainFn(explain.Explain(SPEC, 0, False, None, own.description.digest)).setup()
    other = explain._ExplainFn(explain.Explain(SPEC, 0, False, None, "0123456789ab" * 5))
    with pytest.raises(loading.ModelError, match=f"digest {own.description.digest[:12]}, the run's has 0123456789ab"):
        other.setup()


def test_threads_that_start_together_do_not_stay_together(monkeypatch):
    """Their first batches are unlike: of 32, shares of 1 - 0.618 n modulo 1."""
    assert [explain.first_batch(32, number) for number in range(5)] == [32, 12, 24, 5, 17]
    assert [explain.first_batch(1, number) for number in range(5)] == [1] * 5
    monkeypatch.setattr(explain, "_THREADS", itertools.count(1))
    batching = explain._BatchFn(8)
    batching.setup()
    sizes = []
    for bundle in (10, 8):
        batching.start_bundle()
        sizes += [len(batch) for i in range(bundle) for batch in batching.process(example(i))]
        sizes += [len(rest.value) for rest in batching.finish_bundle()]
    assert sizes == [3, 7, 8]


def test_one_image_that_does_not_fit_stops_the_run(monkeypatch):
    class Full(engines.Engine):
        def explain(self, images, label_ids, selected, inputs):
            raise engines.OutOfMemory("no room")

    with pytest.raises(Exception, match="no room"):
        run_with(Full(SPEC), monkeypatch, [example(0)])


def test_images_without_a_label_are_skipped_and_foreign_labels_are_dead_letters(monkeypatch):
    engine = engines.Engine(SPEC)
    main, lost, counters = run_with(engine, monkeypatch, [example(0), example(1, ()), example(2, (10,))])
    assert [one.source.image_id for one in main] == ["i0"]
    assert [(d.image_id, d.error_type) for d in lost] == [("i2", "label_out_of_range")]
    assert (counters["images_explained"], counters["images_skipped"]) == (1, 1)


def test_threads_and_steps_share_one_load():
    spec = dataclasses.replace(SPEC, seed=123)
    found: list[tuple[engines.Engine, bool]] = []
    threads = [threading.Thread(target=lambda: found.append(explain.acquire_engine(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(engine) for engine, _ in found}) == 1
    assert sum(loaded for _, loaded in found) == 1


def test_maps_are_those_that_the_table_gives_back():
    one = example(0)
    engine = engines.Engine(SPEC)
    raw = engine.explain(one.image[None], [(1,)], {})[0].maps[0][2]
    stored = explain._stored(raw, 255)  # of a picture: 32767 steps, whatever volumes have
    scale = np.abs(raw).max() / 32767
    assert np.array_equal(explain._stored(raw, None), raw)
    np.testing.assert_allclose(stored, np.rint(raw / scale) * scale, rtol=1e-6)
    assert 0 < np.abs(stored - raw).max() <= scale / 2 * 1.001


def lent(class_ids: tuple[int, ...], complete: bool) -> records.Earlier:
    """What an earlier run is to lend of an image: a map of sevens by the spec's method for each class."""
    count = len(class_ids)
    maps = records.MethodMaps(SPEC.methods[0].label, "lent", np.full((count, 2, 2), 7, np.float32))
    return records.Earlier(
        size=(64, 64),
        class_ids=np.array(class_ids),
        targets=(("label",),) * count,
        logits=np.full(count, 5, np.float32),
        probabilities=np.full(count, 0.5, np.float32),
        ranks=np.full(count, 4),
        predicted_class_id=9,
        methods=(maps,),
        complete=complete,
    )


class _Counting(engines.Engine):
    """An engine that remembers how many images it was given, and for how many of them the first method."""

    batches: list[tuple[int, int]]

    def explain(self, images, label_ids, selected, inputs):
        chosen = selected.get(self.spec.methods[0].label, np.ones(len(images), bool))
        self.batches.append((len(images), int(chosen.sum())))
        return super().explain(images, label_ids, selected)


def test_an_image_of_which_all_is_known_takes_no_place_in_a_batch(monkeypatch):
    engine = _Counting(dataclasses.replace(SPEC, batch_size=2))
    engine.batches = []
    known = dataclasses.replace(example(9), image=np.zeros((0, 0, 3), np.uint8), earlier=lent((1,), True))
    main, lost, counters = run_with(engine, monkeypatch, [example(0), known, example(1), known, example(2)])
    assert engine.batches == [(2, 2), (1, 1)] and lost == []
    taken = [one for one in main if one.source.image_id == "i9"]
    assert len(main) == 5 and len(taken) == 2
    for one in taken:
        assert (one.methods[0].layer, one.methods[0].maps.tolist()) == ("lent", [[[7, 7], [7, 7]]])
        assert (one.logits.tolist(), one.ranks.tolist(), one.predicted_class_id) == ([5], [4], 9)
    assert (counters["images_reused"], counters["images_explained"], counters["batches"]) == (2, 3, 2)


def test_known_maps_are_kept_and_only_the_others_computed(monkeypatch):
    methods = (*SPEC.methods[:1], engine_specs.method("hires_cam", "other"))
    engine = _Counting(dataclasses.replace(SPEC, methods=methods))
    engine.batches = []
    examples = [example(0), dataclasses.replace(example(1), earlier=lent((1,), False))]
    main, _, _ = run_with(engine, monkeypatch, examples)
    assert engine.batches == [(2, 1)]
    by_id = {one.source.image_id: one for one in main}
    assert [m.layer for m in by_id["i1"].methods] == ["lent", by_id["i0"].methods[1].layer]
    assert by_id["i1"].logits.tolist() == [5] and by_id["i0"].logits.tolist() != [5]


def test_maps_of_other_classes_than_the_model_now_names_are_not_mixed_in(monkeypatch):
    """A near tie that went the other way: everything of that image is made anew, and of no other."""
    engine = _Counting(SPEC)
    engine.batches = []
    examples = [example(0), dataclasses.replace(example(1), earlier=lent((2,), False))]
    main, lost, _ = run_with(engine, monkeypatch, examples)
    assert engine.batches == [(2, 1), (1, 1)] and lost == []
    by_id = {one.source.image_id: one for one in main}
    assert by_id["i1"].class_ids.tolist() == [1]
    assert by_id["i1"].methods[0].layer == by_id["i0"].methods[0].layer != "lent"
