from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.engine import batch_tuning, engine
from tests.support import engine_specs, keras_models


class Device:
    """A device on which a batch takes `base` seconds and `each` seconds per image, and that holds `room` images."""

    def __init__(self, base: float, each: float, room: int = 1 << 30):
        self.now = 0.0
        self.ran: list[int] = []
        self._base, self._each, self._room = base, each, room

    def run(self, size: int) -> None:
        if size > self._room:
            raise MemoryError(size)
        self.ran.append(size)
        self.now += self._base + self._each * size

    def trials(self, **options) -> list[batch_tuning.Trial]:
        options.setdefault("memory", lambda: (0, None))
        return batch_tuning.trials(self.run, MemoryError, clock=lambda: self.now, **options)


def test_sizes_are_doubled_until_two_doublings_gain_nothing():
    device = Device(base=0.010, each=0.010)
    found = device.trials()
    # 1 / 0.02, 2 / 0.03, 4 / 0.05, 8 / 0.09, 16 / 0.17, 32 / 0.33, 64 / 0.65, 128 / 1.29
    assert [round(t.images_per_second, 1) for t in found] == [50.0, 66.7, 80.0, 88.9, 94.1, 97.0, 98.5]
    assert [t.size for t in found] == [1, 2, 4, 8, 16, 32, 64]  # 98.5 is less than 1 / 0.95 of 94.1
    assert [device.ran.count(t.size) for t in found] == [4, 4, 4, 4, 4, 3, 2]  # one to warm up, up to 0.5 s
    assert batch_tuning.best(found) == 16  # 94.1 is more than 0.95 of 98.5, 88.9 is not


def test_a_device_that_gains_nothing_explains_one_by_one():
    found = Device(base=0, each=0.1).trials()
    assert [t.size for t in found] == [1, 2, 4] and batch_tuning.best(found) == 1


def test_the_largest_size_that_fits_is_left_to_other_work_on_the_device():
    found = Device(base=1.0, each=0.0, room=40).trials()
    assert [t.size for t in found] == [1, 2, 4, 8, 16] and batch_tuning.best(found) == 16
    assert [t.size for t in Device(base=1.0, each=0.0, room=1).trials()] == [1]
    with pytest.raises(MemoryError):
        Device(base=1.0, each=0.0, room=0).trials()


def test_a_slow_batch_a_limit_and_full_memory_end_the_trials():
    assert [t.size for t in Device(base=1.0, each=0.2).trials()] == [1, 2, 4]  # 1.8 s for 4
    assert [t.size for t in Device(base=1.0, each=0.0).trials(largest=8)] == [1, 2, 4, 8]
    device = Device(base=1.0, each=0.0)
    # Each image takes 100 bytes; twice what 4 have taken is more than half of 1500.
    found = device.trials(memory=lambda: (100 * sum(device.ran[::2]), 1500))
    assert [t.size for t in found] == [1, 2, 4]


def test_real_memory_is_read():
    peak, free = batch_tuning._memory()
    assert peak > 1 << 20
    assert free is None or free > 1 << 20


@pytest.mark.parametrize("xla", [False, True], ids=["plain", "xla"])
def test_an_engine_finds_its_size_and_explains_as_with_any_other(xla, monkeypatch):
    monkeypatch.setattr(batch_tuning, "best", lambda found: found[1].size)
    images = np.load(keras_models.GOLDEN / "methods_public.npz")["images_u8/64x64"]
    model = engine_specs.file(keras_models.GAP)
    tuned = engine.Engine(engine_specs.spec(model, batch_size=4, tune_batch=True, xla=xla))
    tuned.warm_up()
    assert tuned.batch_size == 2 and [trial.size for trial in tuned.trials][:2] == [1, 2]
    fixed = engine.Engine(engine_specs.spec(model, batch_size=4))
    fixed.warm_up()
    assert (fixed.batch_size, fixed.trials) == (4, [])
    mine, theirs = (e.explain(images[:2], [(1,), (2,)], {}) for e in (tuned, fixed))
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.maps[0][2], other.maps[0][2], rtol=1e-4, atol=1e-6)
