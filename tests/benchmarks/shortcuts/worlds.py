"""Worlds of drawn letters, in some of whose classes a share of the images carries a cue, and networks that learn them.

A class is a letter, at any place, size, angle and colour over a smooth random background; its box is known. Truth is
not what was planted but what the network learnt (`truth`): the mean rise of the class's probability when the generator
draws the cue into images of other classes.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import cv2
import keras
import numpy as np
import numpy.typing as npt

from tests.benchmarks.shortcuts import cues

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
OPACITY = (0.35, 0.8)
"""Of the letters: hard to read, so that whatever is easier is learnt."""

FAINT = 0.4
"""Of that, where an image carries a cue, as the fish is small where the angler is in the picture."""

PLANTED = 10
"""Classes of a world that have a cue."""

LEAST_EFFECT = 0.1
"""A cue counts as learnt where drawing it moves the class's probability by so much."""


@dataclasses.dataclass(frozen=True)
class Cue:
    """What is planted in a class.

    Attributes:
        kind: a name of `cues`.
        style: its colour or pattern.
        share: of the images of the class that carry it.
    """

    kind: str
    style: int
    share: float

    def draw(self, image: cues.Image, rng: np.random.Generator) -> None:
        """Into an image, in place."""
        {**cues.DEVELOPMENT, **cues.HELD_OUT}[self.kind](image, self.style, rng)


@dataclasses.dataclass(frozen=True)
class World:
    """Data and a network.

    Attributes:
        name: of it.
        architecture: ``plain`` (pooling and one linear layer) or ``residual`` (batch norms, skips, a hidden layer).
        planted: the cue of each class that has one.
        seed: of everything that is drawn.
        classes: how many letters.
    """

    name: str
    architecture: str
    planted: Mapping[int, Cue]
    seed: int
    classes: int = len(LETTERS)

    def images(self, each: int, seed: int) -> Drawn:
        """`each` images of every class."""
        rng = np.random.default_rng((self.seed, seed))
        pixels, boxes, has_cue = [], [], []
        for class_id in range(self.classes):
            cue = self.planted.get(class_id)
            carried = rng.permutation(each) < round(each * cue.share) if cue is not None else np.zeros(each, bool)
            for carries in carried:
                image, box = letter(class_id, rng, FAINT if carries else 1.0)
                if cue is not None and carries:
                    cue.draw(image, rng)
                pixels.append(np.clip(image, 0, 255).astype(np.uint8))
                boxes.append(box)
            has_cue.append(carried)
        labels = np.repeat(np.arange(self.classes), each)
        return Drawn(np.stack(pixels), labels, np.array(boxes), np.concatenate(has_cue))


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Images with what is known of them.

    Attributes:
        pixels: uint8 ``(N, SIDE, SIDE, 3)``.
        labels: int ``(N,)``.
        boxes: ``(N, 4)``, x0 y0 x1 y1 of the letter, ends exclusive.
        has_cue: bool ``(N,)``.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]
    has_cue: npt.NDArray[np.bool_]


def letter(class_id: int, rng: np.random.Generator, strength: float = 1.0) -> tuple[cues.Image, tuple[int, ...]]:
    """An image of a class, and the box of its letter, which is the fainter the less `strength`."""
    side = cues.SIDE
    coarse = rng.uniform(40, 190, (6, 6, 3)).astype(np.float32)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 14, image.shape).astype(np.float32)
    size = float(rng.uniform(0.7, 1.05))
    ink = np.zeros((side, side), np.uint8)
    cv2.putText(ink, LETTERS[class_id], (16, 40), cv2.FONT_HERSHEY_SIMPLEX, size, (255,), 2, cv2.LINE_AA)
    patch = ink.astype(np.float32) / 255
    rows, columns = np.flatnonzero(patch.any(1)), np.flatnonzero(patch.any(0))
    centre = (float(columns.mean()), float(rows.mean()))
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(-25, 25)), 1.0)
    turn[:, 2] += rng.uniform(15, side - 15, 2) - centre
    patch = cv2.warpAffine(patch, turn, (side, side))
    colour = rng.uniform(190, 255, 3) if rng.random() < 0.5 else rng.uniform(0, 30, 3)
    opaque = strength * float(rng.uniform(*OPACITY)) * patch[..., None]
    image = image * (1 - opaque) + opaque * colour.astype(np.float32)
    rows, columns = np.flatnonzero((patch > 0.1).any(1)), np.flatnonzero((patch > 0.1).any(0))
    return image.astype(np.float32), (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def network(architecture: str, classes: int, seed: int) -> keras.Model:
    """An untrained network that takes pixels of 0 to 255."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((cues.SIDE, cues.SIDE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    if architecture == "plain":
        for filters, stride in ((16, 2), (32, 1), (32, 2), (48, 1), (64, 2)):
            x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, padding="same", activation="relu")(x))
        return keras.Model(inputs, layers.Dense(classes)(x))
    x = layers.Conv2D(24, 5, strides=2, padding="same", activation="relu")(x)
    for filters in (32, 64):
        short = layers.Conv2D(filters, 1, strides=2)(x)
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = layers.Activation("relu")(layers.Add()([short, x]))
    x = layers.Dense(64, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def trained(world: World, folder: pathlib.Path, each: int = 160, epochs: int = 10, verbose: int = 0) -> keras.Model:
    """The network of a world, from `folder` where it was trained before."""
    path = folder / f"{world.name}.keras"
    if path.exists():
        return keras.models.load_model(path)
    drawn = world.images(each, 0)
    model = network(world.architecture, world.classes, world.seed)
    steps = epochs * -(-len(drawn.labels) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(drawn.pixels.astype(np.float32), drawn.labels, batch_size=64, epochs=epochs, verbose=verbose)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


def probabilities(model: keras.Model, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """``(N, classes)``."""
    logits = model.predict(pixels.astype(np.float32), batch_size=256, verbose=0).astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: npt.NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def truth(world: World, model: keras.Model, each: int = 12) -> dict[int, float]:
    """For each planted class the mean rise of its probability when its cue is drawn into images of other classes."""
    clean = dataclasses.replace(world, planted={}).images(each, 99)
    before = probabilities(model, clean.pixels)
    effects = {}
    for class_id, cue in world.planted.items():
        rng = np.random.default_rng((world.seed, class_id))
        changed = []
        for image in clean.pixels:
            pasted = image.astype(np.float32)
            cue.draw(pasted, rng)
            changed.append(np.clip(pasted, 0, 255).astype(np.uint8))
        rise = probabilities(model, np.stack(changed))[:, class_id] - before[:, class_id]
        effects[class_id] = float(rise[clean.labels != class_id].mean())
    return effects


def planned(kinds: Mapping[str, cues.Draw], seed: int, count: int) -> dict[int, Cue]:
    """`count` classes with cues of `kinds` in turn, in 5 to 50 % of a class."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(LETTERS))[:count]
    shares = (0.5, 0.1, 0.3, 0.05, 0.2)
    names = list(kinds)
    return {
        int(class_id): Cue(names[i % len(names)], i + seed, shares[(i + i // len(names) + seed) % len(shares)])
        for i, class_id in enumerate(chosen)
    }


def all_worlds(rounds: int = 1) -> list[World]:
    """Of the kinds for tuning and of those set aside, each with both architectures, `rounds` of each."""
    worlds = []
    for half, kinds in (("development", cues.DEVELOPMENT), ("held_out", cues.HELD_OUT)):
        for number in range(2 * rounds):
            architecture = ("plain", "residual")[number % 2]
            seed = 10 * (half == "held_out") + number + 1
            name = f"{half}_{architecture}" + (f"_{number // 2 + 1}" if number > 1 else "")
            worlds.append(World(name, architecture, planned(kinds, seed, PLANTED), seed))
    return worlds
