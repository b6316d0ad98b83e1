"""One input told in two ways, with the same weights, from examples to tables: the same maps and the same numbers.

A picture is a volume of depth 1; a series is a picture of width 1.
"""

from __future__ import annotations

import dataclasses
import pathlib

import apache_beam as beam
import keras
import numpy as np
import pyarrow as pa
import pytest

from heatbeam.transforms import aggregate, explain, localize, records
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.tables import rows, schemas
from tests.support import beam_runs, engine_specs

CLASSES, CHANNELS = 3, 2
NAMES = ("a", "b", "c")
METHODS = ("cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "score_cam", "gradients")
GROUPS = tuple(registry.LOCALIZATION)
BOXED = ("box", "gt_known", "top_1_loc", "top_5_loc")
"""Parts of the names of numbers that estimated boxes have a part in."""

ABOUT_PLACES = {"energy_share", "energy_area", "energy_gain", "pointing_hit", "mask_iou", "entropy", "area"}


@dataclasses.dataclass(frozen=True)
class Tables:
    """What a run would write."""

    explanations: pa.Table
    summary: pa.Table
    curves: pa.Table


def network(shape: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], path: pathlib.Path) -> str:
    """Two convolutions and a dense layer whose numbers depend on their count alone, not on their shape."""
    rng = np.random.default_rng(0)
    convolution = getattr(keras.layers, f"Conv{len(shape)}D")
    inputs = x = keras.Input((*shape, CHANNELS))
    layers = [
        convolution(5, kernel, strides=strides, padding="same", activation="relu", name="stem"),
        convolution(6, kernel, padding="same", activation="relu", name="features"),
    ]
    for layer in layers:
        x = layer(x)
    pooled = getattr(keras.layers, f"GlobalAveragePooling{len(shape)}D")()(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, name="scores")(pooled))
    for weights in model.weights:
        weights.assign(rng.normal(0, 0.5, weights.shape.num_elements()).reshape(weights.shape))
    model.save(path)
    return str(path)


def example(number: int, signal: np.ndarray, box: tuple[float, ...], mask: np.ndarray) -> records.Example:
    size = signal.shape[-2::-1]
    view = (*(0.0 for _ in size), *map(float, size))
    label = number % CLASSES
    source = records.Source(f"i{number}", "s", number, "", size, view, (label,))
    truth = records.GroundTruth(
        boxes=np.array([box], np.float64),
        box_class_ids=np.array([label]),
        box_difficult=np.zeros(1, bool),
        masks=mask[None],
        mask_class_ids=np.array([label]),
    )
    return records.Example(source, signal, truth)


class _Chain(beam.PTransform):
    def __init__(self, explaining: explain.Explain):
        super().__init__()
        self.explaining = explaining

    def expand(self, examples: beam.PCollection) -> dict[str, beam.PCollection]:
        explained = examples | self.explaining
        localized = explained[explain.MAIN_TAG] | localize.Localize(protocols.DEFAULT, GROUPS, baselines=True)
        numbers = localized[localize.EVIDENCE_TAG] | aggregate.Aggregate(protocols.DEFAULT, "label", NAMES, True, 20)
        kept = [
            localized[localize.MAIN_TAG] | "Rows" >> beam.Map(lambda one: ("row", one)),
            numbers[aggregate.SUMMARY_TAG] | "Summary" >> beam.Map(lambda one: ("summary", one)),
            numbers[aggregate.CURVES_TAG] | "Curves" >> beam.Map(lambda one: ("curves", one)),
        ]
        return {"main": kept | beam.Flatten(), records.DEAD_LETTER_TAG: explained[records.DEAD_LETTER_TAG]}


def tables(model: str, examples: list[records.Example]) -> Tables:
    """Explain, localize and aggregate."""
    spec = engine_specs.spec(
        model_source.ModelSource(model),
        *map(engine_specs.method, METHODS),
        preprocessing=model_source.Preprocessing("none"),
        targets=("label", "predicted"),
        float_pixels=True,
    )
    main, lost, _ = beam_runs.collect(_Chain(explain.Explain(spec, exact_maps=True)), examples)
    assert not lost
    rank = examples[0].source.rank
    found = {tag: [element for name, element in main if name == tag] for tag in ("row", "summary", "curves")}
    columns = [c for name in GROUPS for c in registry.LOCALIZATION[name].columns if c.least_rank <= rank]
    schema = schemas.explanations(
        [schemas.ValueColumn(c.name, c.description, c.unit, c.range) for c in columns], [], heatmap_dtype="float32",
        rank=rank,
    )  # fmt: skip
    order = [("image_id", "ascending"), ("method", "ascending"), ("class_id", "ascending")]
    of_rows = rows.explanation_table(
        sorted(found["row"], key=lambda one: one.explanation.source.image_id), schema, NAMES
    )
    keys = ["method", "slice_name", "slice_value"]
    by_keys = [(name, "ascending") for name in keys]
    return Tables(
        of_rows.sort_by(order),
        pa.concat_tables(found["summary"]).sort_by([*by_keys, ("metric", "ascending")]),
        pa.concat_tables(found["curves"]).sort_by([*by_keys, ("curve", "ascending"), ("threshold", "ascending")]),
    )


def assert_same(one: pa.Table, other: pa.Table, columns: list[str], tolerance: float) -> None:
    """Numbers to `tolerance`, everything else exactly; nulls in the same places."""
    assert len(one) == len(other)
    for name in columns:
        mine, yours = one[name], other[name]
        if pa.types.is_floating(mine.type):
            assert mine.is_null().equals(yours.is_null()), name
            a, b = (column.fill_null(0).to_numpy() for column in (mine, yours))
            np.testing.assert_allclose(a, b, atol=tolerance, err_msg=name)
        else:
            assert mine.equals(yours), name


def shared(one: pa.Table, other: pa.Table) -> list[str]:
    """Columns of both tables that speak of neither single axes nor stored cells."""
    own = ("image_", "view_", "box_", "heatmap", "true_boxes", "centroid", "peak", "iou")
    return [name for name in one.column_names if name in other.column_names and not name.startswith(own)]


def cells(table: pa.Table) -> np.ndarray:
    """The cells of all maps, row by row."""
    return table["heatmap"].combine_chunks().flatten().to_numpy()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Tables]:
    """Six pictures of 24 x 20, and the same as volumes of depth 1."""
    folder = tmp_path_factory.mktemp("pictures")
    flat, deep = [], []
    for number in range(6):
        rng = np.random.default_rng(number)
        signal = rng.normal(size=(20, 24, CHANNELS)).astype(np.float32)
        mask = np.zeros((20, 24), bool)
        mask[4:12, 6 : 14 + number] = True
        box = (6.0, 4.0, 14.0 + number, 12.0)
        flat.append(example(number, signal, box, mask))
        deep.append(example(number, signal[None], (*box[:2], 0.0, *box[2:], 1.0), mask[None]))
    two = network((20, 24), (3, 3), (2, 2), folder / "two.keras")
    three = network((1, 20, 24), (1, 3, 3), (1, 2, 2), folder / "three.keras")
    return tables(two, flat), tables(three, deep)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Tables]:
    """Six series of 40 samples, and the same as pictures of width 1."""
    folder = tmp_path_factory.mktemp("series")
    thin, upright = [], []
    for number in range(6):
        signal = np.random.default_rng(number).normal(size=(40, CHANNELS)).astype(np.float32)
        mask = np.zeros(40, bool)
        mask[10 : 22 + number] = True
        thin.append(example(number, signal, (10.0, 22.0 + number), mask))
        upright.append(example(number, signal[:, None], (0.0, 10.0, 1.0, 22.0 + number), mask[:, None]))
    one = network((40,), (3,), (2,), folder / "one.keras")
    two = network((40, 1), (3, 1), (2, 1), folder / "two.keras")
    return tables(one, thin), tables(two, upright)


def test_a_picture_is_a_volume_of_depth_1(pictures):
    flat, deep = pictures
    np.testing.assert_allclose(cells(flat.explanations), cells(deep.explanations), atol=1e-5)
    columns = shared(flat.explanations, deep.explanations)
    assert set(columns) >= ABOUT_PLACES
    assert_same(flat.explanations, deep.explanations, columns, 1e-4)
    assert_same_numbers(flat, deep, 1e-3)


def test_a_series_is_a_picture_of_width_1(series):
    thin, upright = series
    np.testing.assert_allclose(cells(thin.explanations), cells(upright.explanations), atol=1e-5)
    columns = shared(thin.explanations, upright.explanations)
    assert set(columns) >= ABOUT_PLACES
    assert_same(thin.explanations, upright.explanations, columns, 1e-4)
    # In a picture these two are round about the middle, whatever its sides: along x too.
    assert_same_numbers(thin, upright, 1e-3, without=("baseline_centre", "baseline_gaussian"))


def assert_same_numbers(one: Tables, other: Tables, tolerance: float, without: tuple[str, ...] = ()) -> None:
    """The summary and the curves, but for numbers of single axes, of estimated boxes, and of the methods `without`.

    Pictures have contours, series and volumes components: their boxes may differ.
    """
    for mine, yours, column in ((one.summary, other.summary, "metric"), (one.curves, other.curves, "curve")):
        a, b = (numbers(table, column, without) for table in (mine, yours))
        assert a.keys() == b.keys() and len(a) > 100
        differ = [key for key in a if not np.isclose(a[key][0], b[key][0], atol=tolerance, equal_nan=True)]
        assert not differ and all(a[key][1] == b[key][1] for key in a)


def numbers(table: pa.Table, column: str, without: tuple[str, ...]) -> dict[tuple, tuple[float, int]]:
    """Value and count of each row by all that says what it is of."""
    keys = [name for name in table.column_names if name not in ("value", "n", "lower", "upper")]
    found = {}
    for row in table.to_pylist():
        name = row[column]
        if (
            row["method"] not in without
            and not name.startswith(("centroid_", "peak_"))
            and not any(part in name for part in BOXED)
        ):
            value = np.nan if row["value"] is None else row["value"]
            found[tuple(row[key] for key in keys)] = (value, row["n"])
    return found
