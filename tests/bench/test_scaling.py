"""The figures of size, from results that are made up: what is divided by what."""

from __future__ import annotations

import pytest

from tests.benchmarks import samples
from tests.benchmarks.scaling import reuse, shards, size


def result(seconds: list[float], cpu: list[float], mebibytes: float = 100.0) -> dict:
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": mebibytes * 2**20}


def test_time_and_memory_against_the_size_of_the_dataset():
    """From 10 to 20 images 10 s, to 110 images 110 s: 1.0 and 1.1 s an image; of CPU time 2 and 2."""
    results = [result([9, 1], [9, 2], 100), result([9, 11], [9, 22], 103), result([9, 111], [9, 202], 104)]
    memory, wall, cpu = size.growth(results, (10, 20, 110))
    assert (memory.ratio, wall.ratio, cpu.ratio) == pytest.approx((1.04, 1.1, 1.0))
    assert (memory.met, wall.met, cpu.met) == (True, False, True)
    assert wall.measured["us_per_image"] == pytest.approx(1.1e6) and memory.measured["mebibytes_at_110"] == 104


def test_reused_rows_by_cpu_time_and_memory():
    results = [result([1], [1.0], 100), result([1], [2.0], 100), result([1], [12.0], 130)]
    cpu, memory = reuse.growth(results, [500, 1000, 6000])
    assert (cpu.ratio, memory.ratio) == (1.0, 1.3) and cpu.measured["us_per_row"] == 2000 and not memory.met
    assert reuse.ROWS_PER_IMAGE == 50


def test_files_are_compared_with_a_few_of_middling_size():
    """Less what a run over a few records takes: 10 s, 20 of CPU time; many files 30 of that; one 20 s, or 10."""
    few, many = result([5, 1, 11], [9, 2, 22], 100), result([5, 1, 31], [9, 2, 32], 120)
    one, shared = result([5, 1, 21], [9, 2, 22]), result([5, 1, 11], [9, 2, 22])
    found = shards._figures([(few, many, one, shared)], 1000)
    assert [figure.ratio for figure in found] == pytest.approx([1.5, 1.2, 0.5, 1.0])
    assert found[1].met is False


def test_every_image_has_bytes_of_its_own(tmp_path):
    reuse.write(tmp_path / "data", 70)
    assert len(set(samples.tiny(70))) == 64
    stored = [path.read_bytes() for path in sorted((tmp_path / "data").iterdir())]
    assert len(stored) == 16 and all(number.to_bytes(8, "big") in b"".join(stored) for number in range(70))
