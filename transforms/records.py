"""The elements that travel between the steps, and the error that becomes a dead letter.

Records are frozen: a step that changes something makes a new record. Arrays inside a record are never written to.

Conventions, stated once:
    * An input has one, two or three *position axes* and, last, channels: a series is ``(x, C)``, a picture
      ``(y, x, C)``, a volume ``(z, y, x, C)``. The letters count from the back; in a clip z is the time. *Image* is the
      word for one input, whatever its axes; their number is its `rank`.
    * A *shape* has the order of the array, ``(z, y, x)``; a *size* has the order of coordinates, ``(width, height,
      depth)``. Heatmaps are ``(class, *shape)``.
    * Boxes and views are float64 rows of ``2 * rank`` numbers, all starts and then all ends, x first: ``x0 x1``,
      ``x0 y0 x1 y1``, ``x0 y0 z0 x1 y1 z1``, in samples (pixels) of the original image, x to the right and y down. The
      end is exclusive: a box that covers the whole image is ``0 0 width height``.
    * Class ids are positions in the model's output. ``NO_CLASS`` (-1) stands for "no class",
      ``NOT_IN_MODEL`` (-2) for a class of the dataset that the model does not have.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np

NO_CLASS = -1
NOT_IN_MODEL = -2

INT16_STEPS = 32767
"""Steps either side of 0 of maps stored in 16 bits."""

VOLUME_STEPS = 255
"""The same of volumes, whose cells are many: by default. A value is then within 0.2 % of the map's greatest."""

DEAD_LETTER_TAG = "dead_letters"
"""Name of the output of a step that carries `DeadLetter` records."""

NOT_NEEDED = "not_needed"
"""Name of the amount of records that are not in the part of the dataset which a run explains."""


class DataError(Exception):
    """This record is bad; the run goes on without it.

    Any other exception is a bug or a broken machine and stops the run.

    Args:
        error_type: a short stable name to group by, such as ``corrupt_image`` or ``missing_feature``.
        message: what came, what was expected and what to do.
    """

    def __init__(self, error_type: str, message: str):
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"


class ShardEnds(DataError):
    """A shard cannot be read further than this.

    Args:
        error_type, message: as of a `DataError`.
        read_bytes: stored bytes of the file before the place, those that hold the records given.
        left_bytes: stored bytes from there on.
    """

    def __init__(self, error_type: str, message: str, *, read_bytes: int = 0, left_bytes: int = 0):
        super().__init__(error_type, message)
        self.read_bytes = read_bytes
        self.left_bytes = left_bytes


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A record that was lost, and why. One row of the ``dead_letters`` table.

    Attributes:
        image_id: id of the image, or ``shard__index`` if the id itself could not be read.
        shard: base name of the file the record came from.
        index: position of the record in its shard, from 0. A shard that ends in damage gives one dead letter, at the
            first record that could not be read; how many more are lost behind it is counted by shard.
        stage: ``read``, ``decode``, ``explain`` or ``localize``.
        error_type: short stable name of the cause.
        message: what came, what was expected and what to do; at most `MESSAGE_LIMIT` characters.
    """

    image_id: str
    shard: str
    index: int
    stage: str
    error_type: str
    message: str

    MESSAGE_LIMIT = 300

    @classmethod
    def from_error(cls, image_id: str, shard: str, index: int, stage: str, error: DataError) -> DeadLetter:
        """The dead letter of `error`, its message on one line and cut to `MESSAGE_LIMIT` characters."""
        message = " ".join(error.message.split())
        if len(message) > cls.MESSAGE_LIMIT:
            message = message[: cls.MESSAGE_LIMIT - 3] + "..."
        return cls(image_id, shard, index, stage, error.error_type, message)


@dataclasses.dataclass(frozen=True, eq=False)
class MethodMaps:
    """The heatmaps of one method for one image.

    Attributes:
        method: the configured name of the method.
        layer: name of the layer the maps belong to; ``input`` for input-gradient methods.
        maps: float32 ``(L, *shape)``, raw and signed, one per explained class, as the stored table decodes them: of a
            picture ``(L, h, w)``.
        scores: ``(name, float64 (L,))`` pairs measured where the model is (faithfulness, stability); NaN where a
            score does not exist for that class.
        curves: ``(name, float64 (L, points))`` pairs: insertion, deletion.
    """

    method: str
    layer: str
    maps: np.ndarray
    scores: tuple[tuple[str, np.ndarray], ...] = ()
    curves: tuple[tuple[str, np.ndarray], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelEvidence:
    """What the strongest channels of the target layer put into the score of each explained class of an image.

    Attributes:
        channels: int32 ``(L, K)``, the strongest first.
        values: float32 ``(L, K)``, gradient times activation summed over the places, in units of the logit.
        total: float32 ``(L,)``, the sum over all channels.
        magnitude: float32 ``(L,)``, the sum of their absolute values.
    """

    channels: np.ndarray
    values: np.ndarray
    total: np.ndarray
    magnitude: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Earlier:
    """What an earlier run said about the same image bytes with the same model, targets and labels.

    Attributes:
        size: of the original image, as in `Source`.
        class_ids, targets, logits, probabilities, ranks, predicted_class_id, evidence: as in `Explanation`.
        methods: the maps that are as this run would make them; none if the image is new.
        complete: whether these are all the methods that this run wants of the image: then the model is not asked.
    """

    size: tuple[int, ...]
    class_ids: np.ndarray
    targets: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    predicted_class_id: int
    methods: tuple[MethodMaps, ...]
    complete: bool
    evidence: ChannelEvidence | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedExample:
    """One record of a shard, parsed, its image still encoded.

    Attributes:
        image_id: id of the image, unique in the dataset.
        shard: base name of the shard file.
        index: position of the record in its shard, from 0.
        image: JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF bytes; where `raw_shape` is given the numbers of an array, in its
            order and little-endian: raw uint8 pixels, or of `raw_dtype`.
        raw_shape: ``(*positions, channels)`` of an array, ``(height, width, channels)`` of a raw image; or None.
        raw_dtype: NumPy's name of the type of its numbers.
        is_clip: whether that array is of encoded frames, whose height and width are resized as images are.
        label_ids: class ids of the image; empty if it has no label.
        boxes: float64 ``(N, 4)`` as ``x0 y0 x1 y1``, in general ``(N, 2 * rank)``, in *fractions* of the image's width
            and height, or in its pixels where `boxes_are_pixels`; None if the dataset has no boxes. An image without
            objects has no rows.
        boxes_are_pixels: whether they are.
        box_shift_px: what is to be added to starts and to ends, in pixels, so that they count from 0 and ends are
            exclusive (`sources.box_conventions`).
        box_class_ids: class id of each box, or None if boxes carry no class (then every box belongs to the label).
        box_difficult: for each box, whether it is marked difficult (Pascal VOC), or None.
        masks: encoded masks, PNG or what `sources.mask_arrays` reads: one per instance, nonzero where the object is
            (`masks_are_instances`), or all of them in one array; or a single semantic mask whose value is the class id.
            None if the dataset has no masks.
        masks_are_instances: whether `masks` are instance masks.
        mask_class_ids: class id of each instance mask, or None if they carry no class.
        ignore_mask: encoded likewise, nonzero where pixels must not be scored, or None.
        slices: ``(feature, value)`` pairs by which results are broken down.
        values: what a regression is to give, one number for each output; empty where it is not known, None where the
            model gives no values.
        earlier: what an earlier run is to lend; None in a run that reuses nothing.
        inputs: ``(name, values)`` of the model's other inputs that come with the image, as the record holds them
            (`sources.arrays.stored_arrays.unchanged`).
    """

    image_id: str
    shard: str
    index: int
    image: bytes
    raw_shape: tuple[int, ...] | None = None
    raw_dtype: str = "uint8"
    label_ids: tuple[int, ...] = ()
    boxes: np.ndarray | None = None
    boxes_are_pixels: bool = False
    box_shift_px: tuple[int, int] = (0, 0)
    box_class_ids: tuple[int, ...] | None = None
    box_difficult: tuple[bool, ...] | None = None
    masks: tuple[bytes, ...] | None = None
    masks_are_instances: bool = True
    mask_class_ids: tuple[int, ...] | None = None
    ignore_mask: bytes | None = None
    slices: tuple[tuple[str, str], ...] = ()
    values: tuple[float, ...] | None = None
    earlier: Earlier | None = None
    is_clip: bool = False
    inputs: tuple[tuple[str, np.ndarray], ...] = ()

    @property
    def image_sha256(self) -> str:
        """Hex digest of what is explained: of an encoded or raw image its bytes, of other arrays type and shape too.

        What the model is given beside it counts: the same image with other `inputs` has other maps.
        """
        digest = hashlib.sha256()
        if self.raw_shape is not None and (self.raw_dtype != "uint8" or len(self.raw_shape) != 3):
            digest.update(f"{self.raw_dtype} {list(self.raw_shape)}".encode())
        digest.update(self.image)
        for name, values in self.inputs:
            digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
            for value in values.tolist() if values.dtype == object else (values.tobytes(),):
                digest.update(len(value).to_bytes(8, "little") + value)
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where the objects of an image are, in the frame of the original image.

    Attributes:
        boxes: float64 ``(N, 4)`` ``x0 y0 x1 y1`` in pixels, in general ``(N, 2 * rank)``, end exclusive, inside the
            image; None without annotation.
        box_class_ids: int64 ``(N,)``; `NO_CLASS` for a box that carries no class (it belongs to the image's label).
        box_difficult: bool ``(N,)``.
        masks: bool ``(M, height, width)``, in general ``(M, *shape)``, one per object or per class present; None
            without annotation.
        mask_class_ids: int64 ``(M,)``; `NO_CLASS` for a mask that carries no class.
        ignore: bool ``(height, width)``, of that shape, pixels that must not be scored, or None.
        dropped_boxes: how many of the record's boxes could not be used; where none is left, `boxes` is None.
    """

    boxes: np.ndarray | None = None
    box_class_ids: np.ndarray | None = None
    box_difficult: np.ndarray | None = None
    masks: np.ndarray | None = None
    mask_class_ids: np.ndarray | None = None
    ignore: np.ndarray | None = None
    dropped_boxes: int = 0


@dataclasses.dataclass(frozen=True)
class Axis:
    """What a position axis of the inputs is outside the computer: a place c along it, in samples, is start + c * step.

    Attributes:
        name: such as ``time``; the letter of the axis where nothing else is known.
        unit: of `step` and `start`, such as ``s`` or ``mm``.
        step: extent of one sample.
        start: where the first sample begins.
    """

    name: str
    unit: str
    step: float = 1.0
    start: float = 0.0


def plain_axes(rank: int) -> tuple[Axis, ...]:
    """The axes of inputs of which nothing is known but the number of axes, in the order of the array."""
    unit = "px" if rank == 2 else "samples"
    return tuple(Axis(letter, unit) for letter in "zyx"[-rank:])


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Where an image came from and what is known of it; travels unchanged from decoding to the row.

    Attributes:
        image_id, shard, index: as in `EncodedExample`.
        image_sha256: as `EncodedExample.image_sha256`: the key of incremental runs.
        size: of the original image, in samples (pixels), x first: ``(width, height)`` of a picture.
        view: the part of the original image, in its samples, that the model's input shows: starts and then ends, x
            first, ``(x0, y0, x1, y1)`` of a picture. It is the whole image for ``squash``, smaller for ``crop`` and
            larger for ``pad``.
        label_ids: class ids of the image.
        slices: ``(feature, value)`` pairs.
        values: as in `EncodedExample`.
    """

    image_id: str
    shard: str
    index: int
    image_sha256: str
    size: tuple[int, ...]
    view: tuple[float, ...]
    label_ids: tuple[int, ...] = ()
    slices: tuple[tuple[str, str], ...] = ()
    values: tuple[float, ...] | None = None

    @property
    def rank(self) -> int:
        """How many position axes it has: 1, 2 or 3."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """`size` in the order of the array: ``(height, width)`` of a picture."""
        return self.size[::-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One image at the model's input size, with its ground truth.

    Attributes:
        source: where it came from.
        image: uint8, or float32 of the same 0 to 255 where decoding gives fractions (`images.decode_image`),
            ``(height, width, channels)`` at the model's input size, in general ``(*positions, channels)`` and of an
            array's own numbers; empty where `earlier` is complete.
        ground_truth: boxes and masks in the original frame.
        earlier: as in `EncodedExample`.
        inputs: ``(name, array)`` of the model's other inputs that come with the image, without a batch axis; none
            where `earlier` is complete.
    """

    source: Source
    image: np.ndarray
    ground_truth: GroundTruth
    earlier: Earlier | None = None
    inputs: tuple[tuple[str, np.ndarray], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Everything the model said about one image: L explained classes by M methods.

    Attributes:
        source: where the image came from.
        ground_truth: boxes and masks in the original frame.
        class_ids: int64 ``(L,)``, the explained classes, each once.
        targets: for each class the reasons it was explained, in the order of the configuration (``label``,
            ``predicted``, ``runner_up``, ``top_3``, ``class_7``).
        logits: float32 ``(L,)``.
        probabilities: float32 ``(L,)``.
        ranks: int64 ``(L,)``, 1 = the model's first choice.
        predicted_class_id: the model's first choice.
        methods: the heatmaps, in the order of the configuration.
        evidence: of the channels, for each class; None where it was not asked for or the head has no gradient.
    """

    source: Source
    ground_truth: GroundTruth
    class_ids: np.ndarray
    targets: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    predicted_class_id: int
    methods: tuple[MethodMaps, ...]
    evidence: ChannelEvidence | None = None

    @property
    def true_values(self) -> np.ndarray:
        """float64 ``(L,)``, what a regression should have given for each explained output; NaN where not known."""
        known = self.source.values or (math.nan,) * (1 + int(self.class_ids.max(initial=0)))
        return np.array([known[i] for i in self.class_ids.tolist()], np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class MethodScores:
    """What was measured on the heatmaps of one method for one image: columns of the ``explanations`` table.

    Attributes:
        method: the configured name of the method.
        boxes: float64 ``(L, 2 * rank)``, the estimated box of each map at the stated threshold, in pixels of the
            original image; NaN where the map gives none.
        values: ``(column, float64 (L,))`` pairs: map statistics and per-image metrics; NaN where a metric does not
            exist for that class (no ground truth, blank map).
        health: for each class the names of the map's health flags (``blank``, ``constant``, ...); empty is healthy.
    """

    method: str
    boxes: np.ndarray
    values: tuple[tuple[str, np.ndarray], ...]
    health: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Localization:
    """An explanation and what was measured on it; one element of the rows to write.

    Attributes:
        explanation: the explanation.
        scores: one per method, in the order of ``explanation.methods``.
        true_boxes: float64 ``(N, 4)`` for each explained class, its boxes; None where boxes are not annotated.
    """

    explanation: Explanation
    scores: tuple[MethodScores, ...]
    true_boxes: tuple[np.ndarray | None, ...]
