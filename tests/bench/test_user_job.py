"""``heatbeam bench CONFIG``: what is measured of a user's own job; never its times."""

from __future__ import annotations

import json
import pathlib

import pyarrow.parquet as pq

from heatbeam import cli
from heatbeam.bench import stages, user_job
from heatbeam.job import plan
from tests.benchmarks import samples
from tests.benchmarks.scaling import size
from tests.support import small_runs


def test_the_steps_without_beam_write_the_rows_of_the_job(tmp_path: pathlib.Path) -> None:
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    settings_of_run = small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]")
    steps = stages.Stages(plan.make(settings_of_run), str(tmp_path))
    steps.run()
    job = small_runs.rows(small_runs.run_quietly(settings_of_run))
    plain = pq.read_table(tmp_path / "straight.parquet").sort_by(small_runs.SORT)
    small_runs.assert_same_rows(plain.drop_columns(["shard", "record_index"]), job)
    assert steps.images == 6 and set(steps.seconds) == set(stages.STEPS)


def job(folder: pathlib.Path, images: int = 8) -> str:
    """The configuration file of a job over tiny images and a model that costs nothing."""
    pattern = samples.write_shards(folder / "tiny", samples.tiny(images), 2, classes=10)
    text = {
        **size.SETTINGS,
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "output": {"directory": str(folder / "run")},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(text))
    return str(path)


def test_a_users_job_is_measured_step_by_step(tmp_path: pathlib.Path, capsys) -> None:
    written = tmp_path / "deep" / "costs.json"
    assert cli.main(["bench", job(tmp_path), "--quick", "--json", str(written)]) == 0
    found = json.loads(written.read_text())
    assert [one["step"] for one in found] == [*stages.STEPS, "all"]
    assert all(one["ms_per_image"] > 0 and one["over_forward_least"] <= one["over_forward"] for one in found)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [*stages.STEPS, "all"]
    assert not (tmp_path / "run").exists()


def test_a_step_is_compared_with_the_forward_pass_and_with_the_whole() -> None:
    def measured(scale: float, forward: float) -> user_job.Round:
        seconds = dict.fromkeys(stages.STEPS, 0.0625 * scale) | {"explain": 1.75 * scale, "decode": 0.5 * scale}
        return user_job.Round(seconds, forward)

    found = user_job.costs([measured(1.0, 1.0), measured(2.0, 4.0), measured(1.5, 2.0)])
    explain, decode, whole = (next(one for one in found if one.step == step) for step in ("explain", "decode", "all"))
    assert explain == user_job.StepCost("explain", 2625.0, 70.0, 2.625 / 2, 3.5 / 4, 1.75)
    assert (decode.ms_per_image, decode.percent) == (750.0, 20.0)
    assert (whole.ms_per_image, whole.percent, whole.over_forward) == (3750.0, 100.0, 3.75 / 2)


def test_the_table_gives_the_rate_of_one_thread() -> None:
    costs = [user_job.StepCost("read", 1.0, 25.0, 0.5, 0.25, 1.0), user_job.StepCost("all", 4.0, 100.0, 2.0, 1.0, 3.0)]
    lines = user_job.table(costs).splitlines()
    assert lines[1].split() == ["read", "1.000", "25.0", "0.500", "(0.250", "to", "1.000)"]
    assert lines[-1].startswith("250.0 images/s in one thread")


def test_a_job_none_of_whose_records_can_be_decoded_says_so(tmp_path: pathlib.Path, capsys) -> None:
    assert cli.main(["bench", job(tmp_path, images=0), "--quick"]) == 2
    assert "none of the first 32 records can be decoded" in capsys.readouterr().err
