"""`EncodedExample` to `Example`: pixels at the model's input size, ground truth in original pixels.

The pixels of an image whose maps all come from an earlier run are not decoded.

Counters (namespace `NAMESPACE`): ``images_decoded``, ``decode_msec`` (time inside `decode_example`) and
``dead_letters_decode``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from heatbeam.transforms import records, tally
from heatbeam.transforms.sources import decode_options, ground_truth, images
from heatbeam.transforms.sources.arrays import array_options, fitting, input_forms, other_inputs
from heatbeam.transforms.sources.pixels import geometry

NAMESPACE = "heatbeam"
MAIN_TAG = "main"
BOXES_TAG = "boxes"
STAGE = "decode"

InputOptions: TypeAlias = decode_options.ImageOptions | array_options.ArrayOptions
"""How what a record holds becomes the model's input: encoded images, or arrays."""


def decode_example(
    encoded: records.EncodedExample,
    image: InputOptions,
    masks: decode_options.MaskOptions,
    box_tolerance: float = decode_options.BOX_TOLERANCE_PX,
    inputs: Sequence[input_forms.InputOptions] = (),
) -> records.Example:
    """One record, decoded.

    Args:
        encoded: the record.
        image: how its image, or its array, becomes the model's input.
        masks: how a semantic mask is read.
        box_tolerance: pixels by which a box may stick out of its image.
        inputs: how the model's other inputs are made, those that come with the image.

    Raises:
        DataError: as `images.decode_image`, `fitting.decode`, `other_inputs.decode` and `ground_truth.decode` say.
    """
    pixels, size, view = input_of(encoded, image)
    source = records.Source(
        image_id=encoded.image_id,
        shard=encoded.shard,
        index=encoded.index,
        image_sha256=encoded.image_sha256,
        size=size,
        view=view,
        label_ids=encoded.label_ids,
        values=encoded.values,
        slices=encoded.slices,
    )
    truth = ground_truth.decode(encoded, size, masks, box_tolerance)
    if masks.labels:
        largest = ground_truth.largest_class(truth)
        source = dataclasses.replace(source, label_ids=source.label_ids if largest is None else (largest,))
    return records.Example(source, pixels, truth, encoded.earlier, tuple(_others(encoded, inputs)))


def _others(
    encoded: records.EncodedExample, inputs: Sequence[input_forms.InputOptions]
) -> Iterator[tuple[str, np.ndarray]]:
    """The model's other inputs that come with an image; none where the model is not asked."""
    if encoded.earlier is not None and encoded.earlier.complete:
        return
    held = dict(encoded.inputs)
    for one in inputs:
        yield one.form.name, other_inputs.decode(held[one.form.name], one)


def input_of(
    encoded: records.EncodedExample, how: InputOptions
) -> tuple[np.ndarray, tuple[int, ...], tuple[float, ...]]:
    """The model's input of a record, the original's size and the view, both x first.

    Args:
        encoded: the record; its input is empty where all of it comes from an earlier run.
        how: it becomes the input.

    Raises:
        DataError: as `images.decode_image` and `fitting.decode` say.
    """
    if encoded.earlier is not None and encoded.earlier.complete:
        # Its bytes were decoded before, by the same options: only the ground truth may be new.
        size = encoded.earlier.size
        if isinstance(how, array_options.ArrayOptions):
            return np.zeros((0,) * len(how.shape), np.uint8), size, fitting.view_of(size, how)
        return np.zeros((0, 0, how.channels), np.uint8), size, geometry.view_of(size, how)
    if isinstance(how, array_options.ArrayOptions):
        if encoded.raw_shape is None:
            raise records.DataError("wrong_type", "the record holds an encoded image, and input.array expects an array")
        array = fitting.stored(encoded.image, encoded.raw_shape, encoded.raw_dtype)
        return fitting.decode(array, how, is_clip=encoded.is_clip)
    return images.decode_image(encoded.image, encoded.raw_shape, how)


def input_recipe(how: InputOptions) -> dict[str, Any]:
    """Everything about an image or an array that can change a number of the input. JSON types only."""
    return fitting.recipe(how) if isinstance(how, array_options.ArrayOptions) else images.recipe(how)


def inputs_recipe(inputs: Sequence[input_forms.InputOptions]) -> dict[str, Any]:
    """The same of the model's other inputs; empty where none comes with the images."""
    return {"inputs": [other_inputs.recipe(one) for one in inputs]} if inputs else {}


def decode_recipe(
    image: InputOptions, masks: decode_options.MaskOptions, inputs: Sequence[input_forms.InputOptions] = ()
) -> dict[str, Any]:
    """Everything about this step that can change a number, for the manifest. JSON types only."""
    # Which class is which is said once, for labels and boxes too.
    left_out = ("classes", "labels")
    mask_recipe = {name: value for name, value in dataclasses.asdict(masks).items() if name not in left_out}
    label = {"label": "the largest class of the masks"} if masks.labels else {}
    kind = "array" if isinstance(image, array_options.ArrayOptions) else "image"
    return {kind: input_recipe(image), "semantic_mask": mask_recipe, **label, **inputs_recipe(inputs)}


@dataclasses.dataclass(eq=False)
class Decode(beam.PTransform):
    """`EncodedExample` to ``[MAIN_TAG]: Example``, ``[DEAD_LETTER_TAG]: DeadLetter`` and ``[BOXES_TAG]``.

    The last has ``{"boxes": boxes of the records, "dropped_boxes": those that could not be used}`` per bundle.

    Args:
        image: how an image, or an array, becomes the model's input.
        masks: how a semantic mask is read.
        box_tolerance: pixels by which a box may stick out of its image.
        inputs: how the model's other inputs are made, those that come with each image.
    """

    image: InputOptions
    masks: decode_options.MaskOptions = decode_options.MaskOptions()
    box_tolerance: float = decode_options.BOX_TOLERANCE_PX
    inputs: tuple[input_forms.InputOptions, ...] = ()

    def __post_init__(self) -> None:
        super().__init__()

    def decoded(self, encoded: records.EncodedExample) -> records.Example:
        """One record as this step decodes it, outside of a pipeline.

        Raises:
            DataError: as `decode_example`.
        """
        return decode_example(encoded, self.image, self.masks, self.box_tolerance, self.inputs)

    def expand(self, encoded: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        step = _Decode(self.image, self.masks, self.box_tolerance, self.inputs)
        return encoded | "Decode" >> beam.ParDo(step).with_outputs(records.DEAD_LETTER_TAG, BOXES_TAG, main=MAIN_TAG)


@beam.typehints.with_output_types(records.Example)
class _Decode(beam.DoFn):
    def __init__(
        self,
        image: InputOptions,
        masks: decode_options.MaskOptions,
        box_tolerance: float = decode_options.BOX_TOLERANCE_PX,
        inputs: tuple[input_forms.InputOptions, ...] = (),
    ):
        super().__init__()
        self._image = image
        self._inputs = inputs
        self._masks = masks
        self._box_tolerance = box_tolerance
        self._boxes = self._dropped_boxes = 0
        self._nanoseconds = 0
        self._images_decoded = Metrics.counter(NAMESPACE, "images_decoded")
        self._decode_msec = Metrics.counter(NAMESPACE, "decode_msec")
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters_decode")

    def start_bundle(self) -> None:
        self._boxes = self._dropped_boxes = 0

    def process(self, encoded: records.EncodedExample) -> Iterator[records.Example | beam.pvalue.TaggedOutput]:
        start = time.perf_counter_ns()
        try:
            example = decode_example(encoded, self._image, self._masks, self._box_tolerance, self._inputs)
        except records.DataError as error:
            self._dead_letters.inc()
            tally.TALLY.add("dead_letters")
            dead_letter = records.DeadLetter.from_error(encoded.image_id, encoded.shard, encoded.index, STAGE, error)
            yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, dead_letter)
            return
        self._boxes += 0 if encoded.boxes is None else len(encoded.boxes)
        self._dropped_boxes += example.ground_truth.dropped_boxes
        if example.image.size:
            self._images_decoded.inc()
        milliseconds, self._nanoseconds = divmod(self._nanoseconds + time.perf_counter_ns() - start, 1_000_000)
        self._decode_msec.inc(milliseconds)
        yield example

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:
        amounts = {"boxes": self._boxes, "dropped_boxes": self._dropped_boxes}
        whole = window.GlobalWindow()
        yield beam.pvalue.TaggedOutput(BOXES_TAG, windowed_value.WindowedValue(amounts, whole.max_timestamp(), [whole]))
