"""What localization costs, over the procedure it replaces and over the model's forward pass."""

from __future__ import annotations

import dataclasses
import pickle

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

from heatbeam.bench import user_job
from heatbeam.transforms import best_boxes, heatmaps, records
from heatbeam.transforms.metrics import image_evidence, protocols, summary
from heatbeam.transforms.metrics.localization import box_accuracy, boxes, localization
from heatbeam.transforms.models import weight_constants
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.tables import rows, schemas
from tests.benchmarks import figures, models, settings

PLAIN_GOAL = figures.Goal(low=10.0)
FORWARD_GOAL = figures.Goal(high=0.1)
MEMORY_GOAL = figures.Goal(high=1.0)

ACCUMULATORS_LIMIT_BYTES = 64 << 20

_SIDE = 224
_FORWARD_BATCH = 16
_MAPS = 8
_CLASSES = 1000
_LABEL = 3

WSOL = protocols.WSOLEVALUATION


def measure(options: settings.Options) -> list[figures.Figure]:
    """Box accuracy over the plain procedure, a row over a forward pass, and the size of the accumulators."""
    rounds = 2 if options.quick else 7
    plain = [_against_plain(cells, rounds) for cells in (7, 14)]
    return [*plain, *_over_forward(rounds), _accumulators()]


def smooth_map(cells: int, seed: int) -> npt.NDArray[np.float32]:
    """Seeded noise of `cells` squared, as a heatmap of 224 px in [0, 1]: upsampled as wsolevaluation does."""
    raw = np.random.default_rng(seed).normal(size=(cells, cells)).astype(np.float32)
    large = cv2.resize(raw, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return (large - large.min()) / (large.max() - large.min())


def plain_hits(heatmap: npt.NDArray[np.floating], truth: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Hits of one heatmap as wsolevaluation finds them: one contour search per threshold, one thread.

    The contours of a threshold are searched once for both metrics, which is kinder than two runs of its code.

    Args:
        heatmap: ``(224, 224)`` in [0, 1].
        truth: ``(M, 4)``, in the frame.

    Returns:
        bool ``(2, limits, thresholds)`` as `box_accuracy.box_hits` has.
    """
    image = (heatmap * 255).astype(np.uint8)
    peak, last = image.max(), _SIDE - 1
    best = []
    for threshold in np.arange(0, 1, WSOL.threshold_step):
        _, binary = cv2.threshold(image, int(threshold * peak), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not contours:
            best.append([boxes.iou(np.zeros((1, 4)), truth, inclusive=True).max()] * 2)
            continue
        found = [(x, y, min(x + w, last), min(y + h, last)) for x, y, w, h in map(cv2.boundingRect, contours)]
        ious = boxes.iou(np.array(found, np.float64), truth, inclusive=True).max(axis=1)
        largest = max(range(len(contours)), key=lambda i: cv2.contourArea(contours[i]))
        best.append([ious[largest], ious.max()])
    return np.array(best).T[:, None, :] >= np.array(WSOL.iou_limits)[None, :, None]


def fast_hits(heatmap: npt.NDArray[np.floating], truth: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The same by heatbeam."""
    found = box_accuracy.level_boxes(box_accuracy.to_bytes(heatmap), hole_boxes=WSOL.hole_boxes)
    return box_accuracy.protocol_scores(found, truth, WSOL)[1]


def _against_plain(cells: int, rounds: int) -> figures.Figure:
    maps = [smooth_map(cells, seed) for seed in range(_MAPS)]
    truth = np.array([[40.0, 50, 150, 180], [120, 20, 200, 90]])
    for one in maps:
        if not np.array_equal(fast_hits(one, truth), plain_hits(one, truth)):
            raise AssertionError("the counts differ from the plain procedure's, so their times must not be compared")
    return figures.speedup(
        f"MaxBoxAcc and V2, {cells}x{cells} maps",
        figures.alternate(
            lambda: [fast_hits(one, truth) for one in maps], lambda: [plain_hits(one, truth) for one in maps], rounds
        ),
        PLAIN_GOAL,
        f"time of the plain OpenCV procedure (1000 thresholds) over ours, {_MAPS} maps of {_SIDE} px, equal counts",
        work=_MAPS,
        unit="maps",
    )


def explanation(number: int = 0) -> records.Explanation:
    """One image of 500x375 with two boxes of its class, explained by one 7x7 map of seeded noise."""
    source = records.Source(f"image{number}", "shard", number, "", (500, 375), (0.0, 0.0, 500.0, 375.0), (_LABEL,))
    truth = records.GroundTruth(
        boxes=np.array([[60.0, 50, 300, 260], [350, 200, 480, 370]]),
        box_class_ids=np.full(2, records.NO_CLASS, np.int64),
        box_difficult=np.zeros(2, bool),
    )
    raw = np.random.default_rng(number).normal(size=(1, 7, 7)).astype(np.float32)
    steps, scale = heatmaps.quantize(raw)
    return records.Explanation(
        source=source,
        ground_truth=truth,
        class_ids=np.array([_LABEL], np.int64),
        targets=(("label",),),
        logits=np.zeros(1, np.float32),
        probabilities=np.full(1, 0.5, np.float32),
        ranks=np.ones(1, np.int64),
        predicted_class_id=_LABEL,
        methods=(records.MethodMaps("grad_cam", "layer", heatmaps.dequantize(steps, scale)),),
    )


def _over_forward(rounds: int) -> list[figures.Figure]:
    """Everything the localize step does for one row, over the forward pass in its cheapest form, a batch of 16.

    And what the second pass over the rows does for one, once the best thresholds of the run are known.
    """
    model = loading.load_keras_model(models.application("ResNet50V2"))
    forward = user_job.bare_forward(model, weight_constants.pays_off(model, xla=False))
    inputs = tf.random.stateless_uniform((_FORWARD_BATCH, _SIDE, _SIDE, 3), (0, 0), -1, 1)
    explained = [explanation(number) for number in range(_FORWARD_BATCH)]
    groups = tuple(localization.GROUPS)

    def ours() -> None:
        for row in explained:
            image_evidence.localize(row, protocols.DEFAULT, groups, True)

    table = _table(explained)
    best = {"grad_cam": dict.fromkeys(best_boxes.names(protocols.DEFAULT), 0.3)}
    where = f"one thread, over the model's forward pass, all threads; {_FORWARD_BATCH} images, {user_job.device()}"
    return [
        figures.cost(
            "localization of a Grad-CAM row over ResNet50V2",
            figures.alternate(ours, lambda: forward(inputs).numpy(), rounds),
            FORWARD_GOAL,
            f"time of the localize step, every metric and baseline, {where}",
            work=_FORWARD_BATCH,
        ),
        figures.cost(
            "box at the best threshold of a Grad-CAM row over ResNet50V2",
            figures.alternate(
                lambda: best_boxes.table(table, best, protocols.DEFAULT), lambda: forward(inputs).numpy(), rounds
            ),
            None,
            f"time of the second pass over the rows, {where}",
            work=_FORWARD_BATCH,
        ),
    ]


def _table(explanations: list[records.Explanation]) -> pa.Table:
    """Rows of ``explanations`` without values."""
    localized = [image_evidence.localize(one, protocols.DEFAULT, ("boxes",), False)[0] for one in explanations]
    values = [schemas.ValueColumn(name) for name in localization.columns(["boxes"])]
    schema = schemas.explanations(values, [], heatmap_dtype="int16")
    return rows.explanation_table(localized, schema, [f"class {number}" for number in range(_CLASSES)])


def accumulators(classes: int, doublings: int) -> dict[int, summary.MetricState]:
    """The state of each class after 2 ** `doublings` images with boxes and masks."""
    found = explanation()
    masks = np.zeros((1, 375, 500), bool)
    masks[0, 50:260, 60:300] = True
    truth = dataclasses.replace(found.ground_truth, masks=masks, mask_class_ids=np.array([records.NO_CLASS]))
    row = dataclasses.replace(found, ground_truth=truth)
    _, evidence = image_evidence.localize(row, protocols.DEFAULT, tuple(localization.GROUPS), False)
    state = summary.MetricState(protocols.DEFAULT, 0)
    state.add(next(one for one in evidence.maps if one.method == "grad_cam").evidence, "image")
    for _ in range(doublings):
        state = _merged(state, state)
    return {number: _merged(state) for number in range(classes)}


def _merged(*states: summary.MetricState) -> summary.MetricState:
    merged = summary.MetricState(protocols.DEFAULT, 0)
    for state in states:
        merged.absorb(state)
    return merged


def _accumulators() -> figures.Figure:
    """Counted as pickled, which is how they are shuffled; their arrays take the same room in memory."""
    states = accumulators(_CLASSES, doublings=11)
    size = sum(len(pickle.dumps(state)) for state in states.values())
    return figures.single(
        f"accumulators of {_CLASSES} classes",
        size / ACCUMULATORS_LIMIT_BYTES,
        MEMORY_GOAL,
        "bytes over 64 MiB, each class with 2,048 images that have boxes and masks",
        mebibytes=size / 2**20,
    )
