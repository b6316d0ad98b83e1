"""The demo of each kind in small: what it explains, measures and suspects."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from heatbeam import config
from heatbeam.demo import demo
from heatbeam.demo.kinds import catalogue, kind, planted, suspects
from heatbeam.runs import run_directory
from heatbeam.transforms.tables import stored_maps
from tests.support import small_runs

COUNTS = {"series": (300, 90), "volume": (240, 78), "bands": (240, 90), "multi_input": (300, 120)}
EPOCHS = {"series": 8, "volume": 8, "bands": 8, "multi_input": 10}
METHODS = ("grad_cam",)


@dataclasses.dataclass(frozen=True)
class Ran:
    of: kind.Kind
    training: planted.Training
    directory: run_directory.RunDirectory
    rows: list[dict]
    drawn: dict[str, kind.Drawn]


KINDS = [
    "series",
    *(
        pytest.param(name, marks=[pytest.mark.long, pytest.mark.xdist_group(f"the demo of {name}")])
        for name in catalogue.KINDS
        if name != "series"
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    of, counts = catalogue.KINDS[request.param], COUNTS[request.param]
    folder: pathlib.Path = tmp_path_factory.mktemp(of.name)
    planted.write_dataset(of, folder, counts)
    training = planted.train_model(of, folder / "model.keras", counts, epochs=EPOCHS[of.name])
    text = demo.config_text(str(folder), str(folder / "run"), of.name)
    settings = config.parse(text, (f"explain.methods=[{', '.join(METHODS)}]", "evaluate.replicates=20"))
    directory = small_runs.run_quietly(settings)
    rows = directory.open_table("explanations").to_table().to_pylist()
    return Ran(of, training, directory, rows, dict(of.examples("validation", counts[1], 0)))


def test_the_network_is_above_chance_and_owes_it_to_the_marker(ran):
    assert ran.training.accuracy > 2 / len(ran.of.class_names)
    assert ran.training.marked_recall > 0.9
    assert ran.training.unmarked_recall < ran.training.marked_recall - 0.3


def test_the_audit_names_the_planted_class(ran):
    # Thirteen scans or fifteen scenes of a class are too few to be sure in every training, which differ by rounding;
    # the demo has more.
    if ran.of.name in ("volume", "bands"):
        found = suspects.judged(ran.directory, "grad_cam")
        assert found[0].class_id == ran.of.shortcut_class_id
    else:
        found = suspects.found(ran.directory, "grad_cam")
        assert [finding.class_id for finding in found] == [ran.of.shortcut_class_id]
    # The place that comes back is the marker's: its middle lies in the strongest cell of the class's own energy.
    excess, marker = found[0].excess, ran.of.marker_box
    rank = excess.ndim
    peak = (np.array(np.unravel_index(int(excess.argmax()), excess.shape)) + 0.5) / excess.shape
    shape = next(iter(ran.drawn.values())).signal.shape[:-1]
    middle = np.array([(marker[axis] + marker[rank + axis]) / 2 for axis in reversed(range(rank))]) / shape
    assert np.abs(peak - middle).max() < 0.2


def test_nothing_is_lost(ran):
    counts = ran.directory.read_manifest().counts
    assert (counts.records_read, counts.images_explained) == (len(ran.drawn), len(ran.drawn))
    assert counts.dead_letters == counts.lost == counts.images_skipped == counts.dropped_boxes == 0
    assert {row["image_id"] for row in ran.rows} == set(ran.drawn)


def test_true_boxes_are_those_that_were_drawn(ran):
    for row in ran.rows:
        drawn = ran.drawn[row["image_id"]]
        if row["class_id"] == drawn.class_id:
            assert np.allclose(row["true_boxes"], drawn.box, atol=1e-4), row["image_id"]


def test_the_energy_on_the_object_is_numpys(ran):
    """Maps upsampled linearly to a fine grid, and summed inside the drawn box, or on the mask."""
    for row in ran.rows[:: max(1, len(ran.rows) // 12)]:
        drawn = ran.drawn[row["image_id"]]
        if row["class_id"] != drawn.class_id or row["energy_share"] is None:
            continue
        shape = drawn.signal.shape[:-1]
        object_ = np.zeros(shape)
        rank = len(shape)
        object_[tuple(slice(drawn.box[axis], drawn.box[rank + axis]) for axis in reversed(range(rank)))] = 1
        if drawn.mask is not None:
            object_ = drawn.mask.astype(float)
        fine = np.maximum(stored_maps.raw_map(row), 0).astype(float)
        for axis, side in enumerate(shape):
            fine = stretched(fine, axis, side)
        assert row["energy_share"] == pytest.approx((fine * object_).sum() / fine.sum(), abs=0.04)


def stretched(array: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Linear interpolation along an axis between the middles of cells."""
    cells = array.shape[axis]
    at = (np.arange(side) + 0.5) * cells / side - 0.5
    return np.apply_along_axis(lambda line: np.interp(at, np.arange(cells), line), axis, array)
