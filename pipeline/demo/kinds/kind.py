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

_SETTINGS = """\
# The demo of {about}
# `heatbeam demo --kind {name}` makes the data and the model that this file names.
input:
  tfrecord: {data}/validation-*.tfrecord
{input_settings}model:
  path: {data}/model.keras
  preprocessing: {preprocessing}
{model_settings}  class_names: {data}/class_names.txt
explain:
  methods: [{methods}]
  targets: [{targets}]
evaluate:
  slices: [{slice_by}]
output:
  directory: {run}
  overwrite: true
"""

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
        marked: whether it carries the marker.
        metadata: numbers that the network takes beside the signal; none for a network of one input.
    """

    signal: Array
    class_id: int
    box: tuple[int, ...]
    group: str
    mask: npt.NDArray[np.bool_] | None = None
    marked: bool = False
    metadata: tuple[float, ...] = ()


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
        about: of the examples, for the head of the configuration; ``{count}`` is how many are explained.
        input_settings: lines of its section ``input``: how records hold an example.
        slice_by: the feature that holds `Drawn.group`.
        epochs: passes over the training examples.
        scale: the network takes signal * scale, float32.
        model_settings: further lines of its section ``model``.
        methods, targets: what is explained.
        counts: training and validation examples.
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
    about: str
    input_settings: str
    slice_by: str
    epochs: int
    scale: float = 1.0
    model_settings: str = ""
    methods: tuple[str, ...] = ("cam", "grad_cam", "layer_cam", "random_cam")
    targets: tuple[str, ...] = ("label", "predicted")
    counts: tuple[int, int] = (900, 300)

    @property
    def shortcut_class(self) -> str:
        """Name of the class that carries the marker."""
        return self.class_names[self.shortcut_class_id]

    def settings(self, data: str, run: str) -> str:
        """The configuration that a user would write, over the data and the model in `data`, for a run in `run`."""
        return _SETTINGS.format(
            about=self.about.format(count=self.counts[1]),
            name=self.name,
            data=data,
            input_settings=self.input_settings,
            preprocessing="none" if self.scale == 1 else f"{{scale: {self.scale!r}, offset: 0}}",
            model_settings=self.model_settings,
            methods=", ".join(self.methods),
            targets=", ".join(self.targets),
            slice_by=self.slice_by,
            run=run,
        )

    def plain(self, split: str, index: int, class_id: int, seed: int) -> Drawn:
        """Example `index` of a split, of a class, before it gets a marker; the same arguments give the same bytes."""
        # A generator of its own for each: example 7 does not depend on how many numbers example 6 used.
        return self.draw(class_id, np.random.default_rng([seed, SPLITS.index(split), index]))

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
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        class_ids = rng.permutation(np.arange(count) % len(self.class_names))
        of_class = rng.permutation(np.flatnonzero(class_ids == self.shortcut_class_id))
        marked = frozenset(of_class[: round(MARKED_SHARE * len(of_class))].tolist())
        for index, class_id in enumerate(class_ids.tolist()):
            drawn = self.plain(split, index, class_id, seed)
            yield f"{split}-{index:05d}", self.marked(drawn) if index in marked else drawn


def network(
    inputs: keras.KerasTensor,
    blocks: Sequence[tuple[int, int, tuple[int, ...]]],
    classes: int,
    seed: int,
    name: str,
    beside: keras.KerasTensor | None = None,
) -> keras.Model:
    """A classifier of signals, ``(B, classes)``, of any number of position axes.

    Blocks of convolution, batch normalization and ReLU, of which the last is ``features``; their mean over all
    positions; one dense layer with softmax.

    Args:
        inputs: ``(B, *positions, C)``.
        blocks: filters, side of the kernel, and strides in the order of the axes, of each block.
        classes: how many.
        seed: of the first weights; Keras's global seed is left alone.
        name: of the model.
        beside: ``(B, n)``, a second input: a dense layer of it joins the mean.
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
    x = getattr(keras.layers, f"GlobalAveragePooling{rank}D")(name="mean")(x)
    if beside is not None:
        initializer = keras.initializers.GlorotUniform(seed=seed * 100 + 98)
        known = keras.layers.Dense(8, activation="relu", kernel_initializer=initializer, name="known")(beside)
        x = keras.layers.Concatenate(name="both")([x, known])
    initializer = keras.initializers.GlorotUniform(seed=seed * 100 + 99)
    x = keras.layers.Dense(classes, activation="softmax", kernel_initializer=initializer, name="probabilities")(x)
    return keras.Model(inputs if beside is None else [inputs, beside], x, name=name)
