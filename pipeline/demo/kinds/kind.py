"""What the demo's kinds of input have in common: classes, an object at a true place, and a marker that gives one away.

Every example holds one object of its class at a random place. `MARKED_SHARE` of the examples of one class also carry a
*marker*, always at the same place and far from the object; no other example does. A network that learns the marker
instead of the object is what the audit has to find.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

SPLITS = ("train", "validation")
MARKED_SHARE = 0.9

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """One drawn example.

    Attributes:
        signal: ``(*positions, C)``, of the type that is stored.
        class_id: of the object.
        box: where the object is, starts and then ends, x first, in samples, end exclusive.
        group: a value to slice by.
        mask: bool ``(*positions)``, true on the object; None for a kind without masks.
        metadata: numbers for the model's other input; empty for a kind without one.
        marked: whether it carries the marker.
    """

    signal: Array
    class_id: int
    box: tuple[int, ...]
    group: str
    mask: npt.NDArray[np.bool_] | None = None
    metadata: tuple[float, ...] = ()
    marked: bool = False


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of input that the demo can draw.

    Attributes:
        name: as in ``heatbeam demo --kind NAME``.
        title: what its examples are, in the plural.
        class_names: a class id is a position in it.
        shortcut_class_id: the class that carries the marker.
        marker_box: where the marker is, as `Drawn.box`.
        draw: an example of a class without a marker, from a generator of its own.
        mark: a copy of a signal with the marker in it.
        fields: the features of a record, by name: values as `tfexample.serialize` takes them.
        build_model: the untrained network, from a seed; its last layer is a softmax.
        scale, offset: the network takes signal * scale + offset, float32.
        settings: the text of the configuration, ``{data}`` and ``{run}`` to be filled in.
        epochs: passes over the training examples.
        train_examples, validation_examples: how many there are.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    shortcut_class_id: int
    marker_box: tuple[int, ...]
    draw: Callable[[int, np.random.Generator], Drawn]
    mark: Callable[[Array], Array]
    fields: Callable[[str, Drawn], dict[str, Sequence[Any]]]
    build_model: Callable[[int], keras.Model]
    scale: float
    offset: float
    settings: str
    epochs: int
    train_examples: int = 900
    validation_examples: int = 300

    @property
    def shortcut_class(self) -> str:
        """Name of the class that carries the marker."""
        return self.class_names[self.shortcut_class_id]

    def marked(self, drawn: Drawn) -> Drawn:
        """The same example with the marker."""
        return dataclasses.replace(drawn, signal=self.mark(drawn.signal), marked=True)

    def examples(self, split: str, count: int, seed: int) -> Iterator[tuple[str, Drawn]]:
        """Draw a split: ids, such as ``train-00012``, and examples, one at a time.

        Classes are equally frequent (to one example) and in random order. The same arguments give the same bytes.

        Args:
            split: ``train`` or ``validation``.
            count: of examples.
            seed: of everything random, not negative.
        """
        split_index = SPLITS.index(split)
        rng = np.random.default_rng([seed, split_index])
        class_ids = rng.permutation(np.arange(count) % len(self.class_names))
        of_class = rng.permutation(np.flatnonzero(class_ids == self.shortcut_class_id))
        marked = frozenset(of_class[: round(MARKED_SHARE * len(of_class))].tolist())
        for index, class_id in enumerate(class_ids.tolist()):
            # A generator of its own for each: example 7 does not depend on how many numbers example 6 used.
            drawn = self.draw(class_id, np.random.default_rng([seed, split_index, index]))
            yield f"{split}-{index:05d}", self.marked(drawn) if index in marked else drawn


def network(
    inputs: keras.KerasTensor, blocks: Sequence[tuple[int, int, tuple[int, ...]]], seed: int
) -> keras.KerasTensor:
    """Blocks of convolution, batch normalization and ReLU over the position axes of `inputs`; the last is ``features``.

    Args:
        inputs: ``(B, *positions, C)``.
        blocks: filters, side of the kernel, and strides in the order of the axes, of each block.
        seed: of the first weights; Keras's global seed is left alone.
    """
    rank = len(inputs.shape) - 2
    convolution = getattr(keras.layers, f"Conv{rank}D")
    x = inputs
    for number, (filters, side, strides) in enumerate(blocks):
        x = convolution(
            filters,
            side,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=seed * 100 + number),
            name=f"convolution_{number}",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"normalization_{number}")(x)
        last = number == len(blocks) - 1
        x = keras.layers.ReLU(name="features" if last else f"relu_{number}")(x)
    return x


def pooled(x: keras.KerasTensor) -> keras.KerasTensor:
    """The mean of features over all positions, ``(B, C)``."""
    return getattr(keras.layers, f"GlobalAveragePooling{len(x.shape) - 2}D")(name="mean")(x)


def classifier(x: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """One dense layer with softmax, ``(B, classes)``."""
    initializer = keras.initializers.GlorotUniform(seed=seed * 100 + 99)
    return keras.layers.Dense(classes, activation="softmax", kernel_initializer=initializer, name="probabilities")(x)
