from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from tests import beam_runs, engine_specs, keras_models
from transforms import explain, records
from transforms.methods import engine as engines

SPEC = engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("label",), batch_size=8)


def example(number: int, labels: tuple[int, ...] = (1,)) -> records.Example:
    image = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source = records.Source(f"i{number}", "s", number, "", 64, 64, (0, 0, 64, 64), labels)
    return records.Example(source, image, records.GroundTruth())


class _Choosy(engines.Engine):
    """An engine with room for two images at a time, that fails on image 3 and remembers the batches it was given."""

    batches: list[int]

    def explain(self, images, label_ids, selected):
        self.batches.append(len(images))
        if len(images) > 2:
            raise engines.OutOfMemory("no room")
        if any((image == example(3).image).all() for image in images):
            raise engines.BatchError("it broke")
        return super().explain(images, label_ids, selected)


def run_with(engine: engines.Engine, monkeypatch, examples: list[records.Example]):
    monkeypatch.setattr(explain, "acquire_engine", lambda spec: (engine, True))
    return beam_runs.collect(explain.Explain(engine.spec, 0, False, None), examples)


def test_memory_halves_the_batches_and_only_the_bad_image_is_lost(monkeypatch):
    engine = _Choosy(SPEC)
    engine.batches = []
    main, lost, counters = run_with(engine, monkeypatch, [example(i) for i in range(8)])
    assert sorted(one.source.image_id for one in main) == ["i0", "i1", "i2", "i4", "i5", "i6", "i7"]
    assert [(d.image_id, d.stage, d.error_type) for d in lost] == [("i3", "explain", "model_failed")]
    assert engine.batches[:2] == [8, 4] and max(engine.batches[2:]) <= 2  # 8 and 4 do not fit, 2 does
    assert counters["images_explained"] == 7


def test_one_image_that_does_not_fit_stops_the_run(monkeypatch):
    class Full(engines.Engine):
        def explain(self, images, label_ids, selected):
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
    stored = explain._stored(raw, exact=False)
    scale = np.abs(raw).max() / 32767
    assert np.array_equal(explain._stored(raw, exact=True), raw)
    np.testing.assert_allclose(stored, np.rint(raw / scale) * scale, rtol=1e-6)
    assert 0 < np.abs(stored - raw).max() <= scale / 2 * 1.001
