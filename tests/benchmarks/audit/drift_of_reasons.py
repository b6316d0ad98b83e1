"""Whether a shift of a model's reasons is seen over different images, where the inputs themselves tell nothing.

Drawn shapes, a small network that learnt a coloured tag as a shortcut for one class, and pairs of runs of 2,000 images
each. In half of the draws nothing changed; in the other half one image of twenty carries the tag, or has a blot over
its object. For each draw the p-value of the reasons (`transforms.metrics.two_sample` on the features of
`compare.drift.reasons`) and those of the inputs alone: mean, contrast, and the maximum mean discrepancy of the
embedding of another network (Gretton et al., JMLR 2012, with a Gaussian kernel of the median distance). Told apart is
by the area under the ROC curve of the p-values, changed draws against unchanged ones.

    python -m tests.benchmarks.audit.drift_of_reasons [--draws 200] [--images 2000]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import numpy.typing as npt
from scipy import stats

from heatbeam.compare.drift import moved, reasons
from heatbeam.transforms.metrics import map_statistics, two_sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SIDE = 48
SHAPES = ("disk", "square", "triangle", "cross", "ring")
CHANGES = ("tag", "covered")
CHANGED_SHARE = 0.05
STATISTICS = ("entropy", "area", "centroid_x", "centroid_y", "peak_x", "peak_y", "positive_share", "border_share")


SEEN, UNSEEN = 0.9, 0.7
"""Areas under the ROC curve: of the reasons at least, of anything that is known of the inputs alone at most."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=200, help="unchanged draws, and of each change half as many")
    parser.add_argument("--images", type=int, default=2000, help="of each run")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    started = time.perf_counter()
    pools = _Pools(options.images)
    sys.stdout.write(f"pools drawn, trained and explained in {time.perf_counter() - started:.0f} s\n")
    found: dict[str, dict[str, list[float]]] = {}
    for kind, draws in (("none", options.draws), *((change, options.draws // 2) for change in CHANGES)):
        for draw in range(draws):
            for name, p_value in pools.p_values(kind, draw).items():
                found.setdefault(name, {}).setdefault(kind, []).append(p_value)
    table = [_row(name, values) for name, values in found.items()]
    sys.stdout.write(f"{options.draws} unchanged and as many changed draws of {options.images} images a run; "
                     f"{time.perf_counter() - started:.0f} s\n")  # fmt: skip
    sys.stdout.write(f"{'p-values of':<22} {'AUROC':>7} " + " ".join(f"{change:>8}" for change in CHANGES)
                     + "   unchanged rejected at 5 %\n")  # fmt: skip
    for row in table:
        cells = " ".join(f"{row[change]:>8.3f}" for change in CHANGES)
        sys.stdout.write(f"{row['of']:<22} {row['all']:>7.3f} {cells}   {row['rejected']:.3f}\n")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    of_reasons, *of_inputs = table
    kept = of_reasons["all"] >= SEEN and all(row["all"] <= UNSEEN for row in of_inputs)
    return 0 if kept and of_reasons["rejected"] <= stats.binom.ppf(0.999, options.draws, 0.05) / options.draws else 1


def _row(name: str, values: dict[str, list[float]]) -> dict[str, Any]:
    unchanged = values["none"]
    changed = {change: values.get(change, []) for change in CHANGES}
    return {
        "of": name,
        "all": _auroc(unchanged, [p for one in changed.values() for p in one]),
        **{change: _auroc(unchanged, one) for change, one in changed.items()},
        "rejected": float(np.mean(np.array(unchanged) <= 0.05)),
    }


def _auroc(unchanged: list[float], changed: list[float]) -> float:
    rows = np.arange(len(changed) + len(unchanged))
    return two_sample.stratified_auc(-np.array([*changed, *unchanged]), rows < len(changed), [rows])


class _Pools:
    """Images of every kind with their reasons, and how runs are drawn from them."""

    def __init__(self, images: int):
        self._images = images
        generator = np.random.default_rng(7)
        audited = _network(*drawn(generator, 4000, tags=0.15), seed=1)
        # Knows shapes, but has never seen a tag.
        other = _network(*drawn(generator, 4000), seed=2)
        self._pools = {}
        for kind, count in (("none", 6 * images), *((change, images) for change in CHANGES)):
            pixels, _ = drawn(generator, count, change=kind)
            self._pools[kind] = (_explained(audited, pixels), _inputs(pixels), _embedded(other, pixels))

    def p_values(self, kind: str, draw: int) -> dict[str, float]:
        generator = np.random.default_rng((draw, len(kind)))
        changed = round(CHANGED_SHARE * self._images) if kind != "none" else 0
        plain = generator.permutation(len(self._pools["none"][1]))
        parts = [("none", plain[: self._images]), ("none", plain[self._images : 2 * self._images - changed])]
        if changed:
            parts.append((kind, generator.permutation(len(self._pools[kind][1]))[:changed]))
        second = np.arange(2 * self._images) >= self._images
        read = [self._reasons(parts[:1]), self._reasons(parts[1:])]
        _, _, features = moved._features(read, STATISTICS)
        strata = np.concatenate([one.class_ids for one in read])
        inputs, embedded = (
            np.concatenate([self._pools[name][place][rows] for name, rows in parts]) for place in (1, 2)
        )
        return {
            "reasons": two_sample.shifts(features, second, strata, permutations=199, seed=draw).p_value,
            "mean of the pixels": float(stats.ttest_ind(inputs[second, 0], inputs[~second, 0]).pvalue),
            "contrast": float(stats.ttest_ind(inputs[second, 1], inputs[~second, 1]).pvalue),
            "MMD of an embedding": _mmd(embedded, second, draw),
        }

    def _reasons(self, parts: list[tuple[str, Ints]]) -> reasons.Reasons:
        columns = [[block[rows] for block in self._pools[kind][0]] for kind, rows in parts]
        classes, places, statistics, channels = (np.concatenate(one) for one in zip(*columns, strict=True))
        count = len(classes)
        return reasons.Reasons([""] * count, classes, [""] * count, places, statistics, channels, False)


def drawn(
    generator: np.random.Generator, count: int, change: str = "none", tags: float = 0.0
) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Images ``(N, 48, 48, 3)`` of one shape each over a blotched ground, and classes; a share `tags` has a tag."""
    pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
    shapes = generator.integers(0, len(SHAPES), count)
    # A tag means class 0, whatever the shape: so the network has to learn it.
    tagged = generator.random(count) < tags
    classes = np.where(tagged, 0, shapes)
    for i, shape in enumerate(shapes):
        blotches = generator.uniform(70, 185, (4, 4, 3)).astype(np.float32)
        ground = cv2.resize(blotches, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        image = np.clip(ground + generator.normal(0, 12, ground.shape), 0, 255).astype(np.uint8)
        centre, radius = generator.integers(14, SIDE - 14, 2), int(generator.integers(8, 12))
        _draw_shape(image, int(shape), centre, radius, generator.choice([20, 235], 3).tolist())
        if change == "covered":
            axes = (int(radius * generator.uniform(0.6, 0.9)), int(radius * generator.uniform(0.5, 0.7)))
            tone = generator.uniform(70, 185, 3).tolist()
            cv2.ellipse(image, centre.tolist(), axes, float(generator.uniform(0, 180)), 0, 360, tone, -1)
        if change == "tag" or tagged[i]:
            top, left = generator.integers(0, SIDE - 6, 2)
            image[top : top + 6, left : left + 6] = (230, 40, 200)
            image[top + 2 : top + 4, left + 2 : left + 4] = (40, 220, 60)
        pixels[i] = image
    return pixels, classes.astype(np.int64)


def _draw_shape(image: npt.NDArray[np.uint8], shape: int, centre: Ints, radius: int, colour: list[int]) -> None:
    x, y = (int(one) for one in centre)
    if shape == 0:
        cv2.circle(image, (x, y), radius, colour, -1)
    elif shape == 1:
        cv2.rectangle(image, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
    elif shape == 2:
        corners = np.array([[x, y - radius], [x - radius, y + radius], [x + radius, y + radius]], np.int32)
        cv2.fillPoly(image, [corners], colour)
    elif shape == 3:
        cv2.rectangle(image, (x - radius, y - 3), (x + radius, y + 3), colour, -1)
        cv2.rectangle(image, (x - 3, y - radius), (x + 3, y + radius), colour, -1)
    else:
        cv2.circle(image, (x, y), radius, colour, 4)


def _network(pixels: npt.NDArray[np.uint8], classes: Ints, seed: int):  # type: ignore[no-untyped-def]
    """A small network with pooling and one linear layer: its CAM and its channel evidence are exact."""
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    for filters, strides in ((16, 2), (32, 2), (48, 2), (64, 1)):
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    logits = keras.layers.Dense(len(SHAPES))(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, [x, logits])
    trained = keras.Model(inputs, logits)
    trained.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    trained.fit(pixels.astype(np.float32), classes, batch_size=64, epochs=8, verbose=0)
    model.dense_weights = trained.layers[-1].get_weights()[0]
    return model


def _explained(model, pixels: npt.NDArray[np.uint8]) -> tuple[Ints, Floats, Floats, npt.NDArray[np.float32]]:  # type: ignore[no-untyped-def]
    """Of each image the predicted class, where CAM has its energy, its statistics, and shares of the channels."""
    activations, logits = model.predict(pixels.astype(np.float32), 256, verbose=0)
    classes = logits.argmax(axis=1)
    weights = model.dense_weights.T[classes]
    maps = np.einsum("nyxc,nc->nyx", activations, weights)
    energy = np.maximum(maps, 0).astype(np.float64)
    energy /= np.maximum(energy.sum(axis=(1, 2), keepdims=True), 1e-12)
    found = map_statistics.statistics(maps)
    evidence = weights * activations.mean(axis=(1, 2))
    shares = evidence / np.maximum(np.abs(evidence).sum(axis=1, keepdims=True), 1e-12)
    # A run keeps the strongest 24.
    kept = np.argsort(np.argsort(-np.abs(shares), axis=1), axis=1) < 24
    statistics = np.column_stack([found[name] for name in STATISTICS])
    return classes.astype(np.int64), energy, statistics, np.where(kept, shares, 0).astype(np.float32)


def _inputs(pixels: npt.NDArray[np.uint8]) -> Floats:
    grey = pixels.astype(np.float64).mean(axis=3)
    return np.column_stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))])


def _embedded(model, pixels: npt.NDArray[np.uint8]) -> Floats:  # type: ignore[no-untyped-def]
    activations, _ = model.predict(pixels.astype(np.float32), 256, verbose=0)
    pooled: Floats = activations.mean(axis=(1, 2)).astype(np.float64)
    return pooled


def _mmd(points: Floats, second: npt.NDArray[np.bool_], seed: int, permutations: int = 199) -> float:
    """P-value of the maximum mean discrepancy, by permutation."""
    points = (points - points.mean(axis=0)) / (points.std(axis=0) + 1e-9)
    squares = (points**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)
    kernel = np.exp(-distances / np.median(distances)).astype(np.float32)
    generator = np.random.default_rng(seed)
    signs = np.where(second, 1.0, -1.0)
    labels = np.stack([signs, *(generator.permutation(signs) for _ in range(permutations))]).astype(np.float32)
    values = ((labels @ kernel) * labels).sum(axis=1)
    return float(np.mean(values >= values[0]))


if __name__ == "__main__":
    raise SystemExit(main())
