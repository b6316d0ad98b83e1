"""Which feature of a record holds what: names only, so that whoever needs no more than these loads nothing else."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

from heatbeam.transforms.sources import box_conventions
from heatbeam.transforms.sources.arrays import array_options, input_forms
from heatbeam.transforms.sources.classes import class_maps, stored_classes

Record = Literal["example", "sequence_example"]
"""What a serialized record is."""


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """Which feature of a record holds what. None (or no names) means: not there.

    A feature that is named here but absent from a record means that this record has no such annotation, unless the
    name is in `required`; then the record is lost with ``missing_feature``. `image` is always required. The names are
    those of the TF Object Detection API unless others are given::

        >>> FeatureMap(image="jpeg", label="class").image
        'jpeg'

    Attributes:
        image: encoded image; raw uint8 pixels if `raw_shape` is given or `format` says ``raw``.
        image_id: text or integer. Absent or empty, the id is ``shard__index``, which equals TFDS's ``tfds_id``.
        label: one class, as id or as name.
        labels: any number of classes; repetitions are dropped. With `label`, that one comes first.
        boxes: four numbers per box, flat (TFDS), as `box_convention` says; two per interval of a series, six per box of
            a volume.
        box_xmin, box_ymin, box_xmax, box_ymax: instead of `boxes`, one number of each per box. All four or none. Where
            the order of the convention gives width and height, they are `box_xmax` and `box_ymax`, and `box_xmin` and
            `box_ymin` what comes before them. Of a series `box_xmin` and `box_xmax` alone are read.
        box_zmin, box_zmax: with them, of a volume.
        box_class: class of each box, as id or as name.
        box_difficult: integer per box, nonzero for a difficult one (Pascal VOC).
        instance_masks: one per object, nonzero where it is: PNG, or an array of the image's shape (`mask_arrays`).
        mask_class: class of each instance mask.
        semantic_mask: one, PNG or array, whose value is the class. Not together with `instance_masks`.
        ignore_mask: one, PNG or array, nonzero where pixels must not be scored.
        value: numbers that a regression is to give for the image, one for each output of the model; an empty name for
            a model whose values are not in the records.
        format: text; ``raw`` (any case) means that `image` holds pixels of `height` x `width` x `channels`.
        height, width, channels: integers, read for raw images only.
        raw_shape: ``(height, width, channels)`` of every image, all of them raw.
        array: how `image` holds an array of numbers; None for images, encoded or raw.
        record: what the records are; in a sequence, names are of features of its context or of its feature lists.
        inputs: how the model's inputs beside the explained one are stored; every record must have each of them.
        slices: features whose values break the results down. A list feature puts its image into several slices.
        box_convention: what the numbers of a box mean.
        label_offset: subtracted from every stored class id, -1 (no label) excepted.
        box_label_offset: the same for the classes of boxes and instance masks (in TF Object Detection, ids start at 1);
            None for `label_offset`.
        label_form: of `label` and `labels`: ``ids``, ``names``, ``one_hot`` and ``multi_hot`` vectors, ``scores`` of
            which the highest is the label. ``auto`` tells them apart and refuses what may be two of them;
            ``ids_or_names`` is for lists that are certainly no vectors.
        classes: what ids and names are in the model; `class_maps.ClassMap.of_names` for a list of the model's names.
        box_classes: the same for boxes and instance masks; None for `classes`.
        required: names of the features that every record must have.
        given: names that are no default: a format that declares its features refuses those that it does not have.

    Raises:
        ValueError: there is no image, or two ways are named in which boxes or masks may be stored.
    """

    image: str = "image/encoded"
    image_id: str | None = "image/source_id"
    label: str | None = "image/class/label"
    labels: str | None = None
    boxes: str | None = None
    box_xmin: str | None = "image/object/bbox/xmin"
    box_ymin: str | None = "image/object/bbox/ymin"
    box_xmax: str | None = "image/object/bbox/xmax"
    box_ymax: str | None = "image/object/bbox/ymax"
    box_zmin: str | None = "image/object/bbox/zmin"
    box_zmax: str | None = "image/object/bbox/zmax"
    box_class: str | None = "image/object/class/label"
    box_difficult: str | None = "image/object/difficult"
    instance_masks: str | None = "image/object/mask"
    mask_class: str | None = "image/object/class/label"
    semantic_mask: str | None = None
    ignore_mask: str | None = None
    value: str | None = None
    format: str | None = "image/format"
    height: str | None = "image/height"
    width: str | None = "image/width"
    channels: str | None = "image/channels"
    raw_shape: tuple[int, ...] | None = None
    array: array_options.ArrayForm | None = None
    record: Record = "example"
    inputs: tuple[input_forms.InputForm, ...] = ()
    slices: tuple[str, ...] = ()
    box_convention: box_conventions.BoxConvention = box_conventions.USUAL
    label_offset: int = 0
    box_label_offset: int | None = None
    label_form: stored_classes.ListForm = "auto"
    classes: class_maps.ClassMap = class_maps.AS_STORED
    box_classes: class_maps.ClassMap | None = None
    required: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image is None:
            raise ValueError("image is null; every record needs an image")
        sides = [name is not None for name in self.box_sides()]
        if any(sides) and not all(sides):
            raise ValueError(f"box features: give all of {', '.join(self._sides)}; got {self.box_sides()}")
        if any(sides) and self.boxes is not None:
            count = {2: "two", 4: "four", 6: "six"}[len(sides)]
            raise ValueError(f"box features: give either boxes ({self.boxes!r}) or the {count} sides, not both")
        if self.instance_masks is not None and self.semantic_mask is not None:
            raise ValueError("mask features: give either instance_masks or semantic_mask, not both")
        if self.label_form not in (*stored_classes.FORMS, stored_classes.LIST):
            raise ValueError(f"label_form must be one of {', '.join(stored_classes.FORMS)}; got {self.label_form!r}")

    @functools.cached_property
    def reads_labels(self) -> stored_classes.Rules:
        """How the classes of an image are read."""
        return stored_classes.Rules(self.classes, self.label_offset, "label_offset", self.label_form)

    @functools.cached_property
    def reads_objects(self) -> stored_classes.Rules:
        """How the classes of boxes and instance masks are read: one for each, so no vectors."""
        form: stored_classes.ListForm = self.label_form if self.label_form in ("ids", "names") else stored_classes.LIST
        classes = self.classes if self.box_classes is None else self.box_classes
        if self.box_label_offset is None:
            return stored_classes.Rules(classes, self.label_offset, "label_offset", form)
        return stored_classes.Rules(classes, self.box_label_offset, "box_label_offset", form)

    def of_values(self, *, known: bool) -> FeatureMap:
        """The map for a model that gives values, without classes.

        Args:
            known: whether the records say what the values are: `value`, or else what is called the label.
        """
        value = self.value or (self.label if known else "")
        return dataclasses.replace(self, value=value, label=None, labels=None, box_class=None, mask_class=None)

    def of_classes(self) -> FeatureMap:
        """The map for a model that gives scores of classes."""
        return dataclasses.replace(self, value=None)

    def box_sides(self) -> tuple[str | None, ...]:
        """The names of the features of a box's sides, in TFDS's order: ymin, xmin, ymax, xmax; as the rank has axes."""
        return tuple(getattr(self, field) for field in self._sides)

    @functools.cached_property
    def _sides(self) -> tuple[str, ...]:
        axes = ("z", "y", "x")[-self.box_convention.rank :]
        return tuple(f"box_{axis}{end}" for end in ("min", "max") for axis in axes)

    def names(self) -> tuple[str, ...]:
        """Every feature named here that is read, each once."""
        unread = {*_ALL_SIDES} - {*self._sides}
        named = (getattr(self, field) for field in NAMES if field not in unread)
        others = (one.feature for one in self.inputs)
        return tuple(dict.fromkeys(name for name in (*named, *self.slices, *others) if name))

    @classmethod
    def naming(cls, image: str, **names: Any) -> FeatureMap:
        """The map that names `image` and what is given beside it, and nothing else.

        >>> FeatureMap.naming("png", label="digit").names()
        ('png', 'digit')
        """
        return cls(image, **{**dict.fromkeys(NAMES[1:]), **names})

    def reduced_to(self, *fields: str) -> FeatureMap:
        """The map of the image and of `fields` alone, for a reader that needs nothing else of a record."""
        unused: dict[str, Any] = dict.fromkeys(set(NAMES) - {"image", *fields})
        return dataclasses.replace(self, slices=(), required=(), **unused)


_SETTINGS = (
    *("raw_shape", "array", "record", "inputs", "slices", "required", "given", "box_convention"),
    *("label_offset", "box_label_offset", "label_form", "classes", "box_classes"),
)

NAMES = tuple(field.name for field in dataclasses.fields(FeatureMap) if field.name not in _SETTINGS)
"""The fields of a `FeatureMap` that name one feature each."""

OF_THE_IMAGE = ("format", "height", "width", "channels")
"""What must be read of a record beside `FeatureMap.image` for the image alone."""

_ALL_SIDES = ("box_xmin", "box_ymin", "box_zmin", "box_xmax", "box_ymax", "box_zmax")

OF_THE_BOXES = ("boxes", *_ALL_SIDES, "box_class")
"""What must be read for the boxes and their classes."""

OF_THE_MASKS = ("instance_masks", "mask_class", "semantic_mask")
"""What must be read for the masks and their classes."""
