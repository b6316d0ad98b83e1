"""What a feature holds and the class that it means; `UNCLEAR` is what is refused."""

from __future__ import annotations

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from heatbeam.transforms import records
from heatbeam.transforms.sources import features, tfexample
from heatbeam.transforms.sources.classes import class_maps, stored_classes
from tests.support import sample_shards

NAMES = ("cat", "dog", "Hand-held_computer", "crane", "crane", "ñandú")
KNOWN = class_maps.ClassMap.of_names(NAMES)
DIGITS = class_maps.ClassMap.of_names(tuple("0123456789"))
UNNAMED = class_maps.ClassMap(classes=6)
TWO = class_maps.ClassMap(classes=2)


def rules(classes=KNOWN, form="auto", offset=0):
    return stored_classes.Rules(classes, offset, "label_offset", form)


def one(values, *given, **more):
    """The class of an image whose feature holds one class."""
    return stored_classes.Reading("y", rules(*given, **more), one=True).class_ids(values)


def many(values, *given, **more):
    return stored_classes.Reading("y", rules(*given, **more), one=False).class_ids(values)


def refused(read, values, *given, **more):
    with pytest.raises(records.DataError) as caught:
        read(values, *given, **more)
    assert caught.value.message.startswith("feature y ")
    return f"{caught.value.error_type}: {caught.value.message}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (3.0, 3), (b"3", 3), (b"03", 3), (0, 0), (-1, None), (-1.0, None), (b"-1", None),
        (b"dog", 1), (b"Dog", 1), ("ñandú".encode(), 5), (b"hand held computer", 2), (b"Hand-held_computer", 2),
    ],
)  # fmt: skip
def test_one_value(value, expected):
    for read in (one, many):
        assert read([value]) == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("value", "classes", "words"),
    [
        (3.7, KNOWN, "invalid_label: feature y holds 3.7, which is no class id"),
        (float("nan"), KNOWN, "invalid_label: feature y holds nan"),
        (float("inf"), KNOWN, "invalid_label: feature y holds inf"),
        (-2, KNOWN, "invalid_label: feature y holds class -2; ids start at 0"),
        (
            b"crane",
            KNOWN,
            "ambiguous_label: feature y names the class 'crane', which is the name of the classes 3 and 4",
        ),
        (
            b"cow",
            KNOWN,
            "unknown_label: feature y names the class 'cow', which is not among the class names (cat, dog,",
        ),
        (b"", KNOWN, "unknown_label: feature y names the class ''"),
        (b"3.0", KNOWN, "unknown_label: feature y names the class '3.0'"),
        (b"[0, 0, 1]", KNOWN, "unknown_label: feature y names the class '[0, 0, 1]'"),
        (b"\x03", KNOWN, "unknown_label: feature y holds the 1 bytes b'\\x03', which are no text"),
        (np.int64(3).tobytes(), KNOWN, "unknown_label: feature y holds the 8 bytes"),
        (b"\xff\xfe", KNOWN, "unknown_label: feature y is not UTF-8 text"),
        (b"cat", UNNAMED, "wrong_type: feature y names the class 'cat'; give the class names"),
        (b"10", DIGITS, "unknown_label: feature y names the class '10'"),
    ],
)
def test_one_value_that_is_no_class(value, classes, words):
    for read in (one, many):
        assert words in refused(read, [value], classes)


def test_digits_are_the_name_where_a_class_has_such_a_name():
    backwards = class_maps.ClassMap.of_names(tuple("9876543210"))
    assert one([b"3"], backwards) == [6] and one([3], backwards) == [3]
    assert one([b"3"], backwards, form="ids") == [3]
    assert one([b"3"], UNNAMED) == [3]
    assert "names the class '3'" in refused(one, [b"3"], form="names")


def test_a_name_that_two_classes_have_is_fine_where_labels_are_ids():
    assert [one([i]) for i in range(6)] == [[i] for i in range(6)]
    assert one([b"cat"]) == [0]


def test_offsets_are_taken_off_ids_alone():
    assert one([3], offset=1) == one([b"3"], offset=1) == one([3.0], offset=1) == [2]
    assert one([b"dog"], offset=1) == [1] and one([-1], offset=1) == []
    assert one([0, 0, 1, 0, 0, 0], offset=1) == [2]
    assert "holds class 0; ids start at 1 (label_offset)" in refused(one, [0], offset=1)


@pytest.mark.parametrize("number", [int, float])
def test_a_vector_with_a_place_for_each_class(number):
    """Read as ids, each of these would be the classes 0 and 1."""
    for place in range(6):
        vector = [number(i == place) for i in range(6)]
        for form in ("auto", "one_hot"):
            assert one(vector, form=form) == many(vector, form=form) == [place]
            assert one(vector, UNNAMED, form=form) == [place]
    several = [number(i) for i in (0, 1, 0, 0, 1, 1)]
    assert many(several) == many(several, form="multi_hot") == [1, 4, 5]
    assert many([number(0)] * 6) == [] and many([number(1)] * 6) == list(range(6))
    for read, form in ((one, "auto"), (one, "one_hot"), (many, "one_hot")):
        assert "multiple_values: feature y holds a vector of 3 ones" in refused(read, several, form=form)
        assert "a vector of 0 ones" in refused(read, [number(0)] * 6, form=form)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([0, 1], TWO),  # both classes, or the second
        ([1, 0], TWO),
        ([0, 0, 1], UNNAMED),  # of another vocabulary, or ids that repeat
        ([0, 0, 0, 0, 0], UNNAMED),
        ([0.0, 0.0, 1.0], UNNAMED),
        ([0, 0, 1], class_maps.ClassMap()),
    ],
)
def test_what_may_be_ids_or_a_vector_is_refused(values, classes):
    said = refused(many, values, classes)
    assert f"holds {len(values)} zeros and ones: class ids, or a vector" in said and "input.label_form" in said
    assert many(values, classes, form="ids") == [int(v) for v in values]


def test_two_classes():
    assert one([0, 1], TWO) == one([0.0, 1.0], TWO) == many([0.0, 1.0], TWO) == [1]
    assert many([1, 1], TWO) == [0, 1] and many([0, 0], TWO) == []
    assert many([0, 1], TWO, form="multi_hot") == [1]
    assert many([0, 1], UNNAMED) == [0, 1] and many([1, 1], UNNAMED) == [1, 1]
    assert one([1], TWO) == [1] and one([1], class_maps.ClassMap(classes=1)) == [1]


def test_lists_of_ids_stay_lists():
    assert many([0, 1, 2]) == [0, 1, 2] and many([5, 5, 1]) == [5, 5, 1] and many([3.0, 5.0]) == [3, 5]
    assert many([4, 0, 0, 0, 1, 0]) == [4, 0, 0, 0, 1, 0]
    assert many([b"dog", b"2", b"cat"]) == [1, 2, 0]


def test_scores_are_read_as_their_highest():
    smoothed = [0.02, 0.02, 0.9, 0.02, 0.02, 0.02]
    float32 = np.array(smoothed, np.float32).tolist()
    for values in (smoothed, float32):
        assert one(values) == many(values) == one(values, form="scores") == [2]
    assert one([-3.0, 2.5, 7.0, 1.0, 0.0, 0.0], form="scores") == [2]
    assert "6 scores of which 2 are the highest" in refused(one, [0.4, 0.4, 0.05, 0.05, 0.05, 0.05])
    assert "6 floats such as 0.7: neither class ids nor" in refused(many, [0.7, 0.7, 0.7, 0.0, 0.0, 0.0])
    assert "3 floats such as 0.2" in refused(many, [0.2, 0.2, 0.6])
    assert "multiple_values" in refused(one, [0.2, 0.2, 0.6])
    assert "ambiguous_label" in refused(one, [float("nan")] * 6, form="scores")


@pytest.mark.parametrize("form", stored_classes.VECTORS)
def test_a_vector_of_another_length_is_refused(form):
    said = refused(many, [0.0, 1.0, 0.0], form=form)
    assert said == "invalid_label: feature y holds a vector of 3 values; there are 6 classes"
    assert many([0.0, 1.0, 0.0], class_maps.ClassMap(), form=form) == [1]
    assert many([], form=form) == []
    assert "holds bytes values" in refused(many, [b"cat"], form=form)


def test_what_is_set_is_held():
    assert "holds 2 in a vector" in refused(many, [0, 2, 0, 0, 0, 0], form="multi_hot")
    assert "names the class 'cat'; input.label_form asks for ids" in refused(one, [b"cat"], form="ids")
    assert "holds the number 3; input.label_form asks for names" in refused(one, [3], form="names")
    assert many([0, 0, 1, 0, 0, 0], form="ids") == [0, 0, 1, 0, 0, 0]


LEFT_OUT = class_maps.ClassMap(
    ids=((1, 7), (2, None), (4, 0)),
    names=(("tabby", 7), ("raccoon", None), ("n02123045", 7), ("hen", 0)),
    classes=10,
)


def test_classes_are_looked_up_in_the_map():
    assert [one([i], LEFT_OUT) for i in (1, 2, 4)] == [[7], [], [0]]
    assert one([b"tabby"], LEFT_OUT) == one([b"n02123045"], LEFT_OUT) == one([b"a/n02123045_9.JPEG"], LEFT_OUT) == [7]
    assert one([b"raccoon"], LEFT_OUT) == []
    assert one([3], LEFT_OUT, offset=2) == [7]
    for value in (0, 3, 5):
        assert f"holds class {value}; the dataset has the 3 classes 1 to 4, with gaps" in refused(
            one, [value], LEFT_OUT
        )
    assert "holds class 9 (less label_offset 6: 3); the dataset has" in refused(one, [9], LEFT_OUT, offset=6)


def test_the_places_of_a_vector_are_those_of_the_dataset():
    """Three classes with the ids 1, 2 and 4: three places, or one for each id from 0."""
    assert many([1, 0, 0], LEFT_OUT) == [7] and many([0, 1, 1], LEFT_OUT) == [0]
    assert many([0, 1, 0, 0, 0], LEFT_OUT) == [7] and many([0, 0, 0, 0, 1], LEFT_OUT) == [0]
    assert "has a one at place 3; the dataset has the 3 classes" in refused(many, [0, 0, 0, 1, 0], LEFT_OUT)
    assert LEFT_OUT.size == 3


def parse(fields, **changes):
    names = dataclasses.replace(sample_shards.DETECTION, **changes)
    return features.parse_example(tfexample.serialize({"image/encoded": [b"JPEG"], **fields}), names, "s", 0)


NUMBERS = st.one_of(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([-1, 0, 1]), max_size=8),
    st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0]), max_size=8),
)


@hypothesis.given(
    values=NUMBERS | st.lists(st.binary(max_size=12) | st.from_regex(rb"[0-9]{1,5000}", fullmatch=True), max_size=4),
    classes=st.sampled_from([KNOWN, UNNAMED, TWO, LEFT_OUT, class_maps.AS_STORED]),
    form=st.sampled_from([*stored_classes.FORMS, stored_classes.LIST]),
    offset=st.sampled_from([0, 1, -1]),
    read=st.sampled_from([one, many]),
)
def test_whatever_is_stored_is_read_or_refused(values, classes, form, offset, read):
    """Never another error, which would end the run; and no id that does not fit into a column."""
    said, found = "feature y ", []
    try:
        found = read(values, classes, form=form, offset=offset)
    except records.DataError as error:
        said = error.message
    assert said.startswith("feature y ") and len(said) < 400
    assert all(0 <= class_id < 1 << 63 for class_id in found)


BOXES = {f"image/object/bbox/{side}": [0.0, 0.5, 0.25] for side in ("ymin", "xmin")} | {
    f"image/object/bbox/{side}": [1.0, 0.75, 0.5] for side in ("ymax", "xmax")
}


def test_boxes_and_masks_go_through_the_same_map():
    fields = {**BOXES, "image/object/class/label": [4, 2, 1], "image/object/mask": [b"a", b"b", b"c"]}
    example = parse({**fields, "image/class/label": [1]}, classes=LEFT_OUT)
    assert example.label_ids == (7,)
    assert example.box_class_ids == example.mask_class_ids == (0, records.NOT_IN_MODEL, 7)
    named = parse({**BOXES, "image/object/class/label": [b"hen", b"raccoon", b"tabby"]}, classes=LEFT_OUT)
    assert named.box_class_ids == (0, records.NOT_IN_MODEL, 7)
    apart = parse(fields, classes=UNNAMED, box_classes=LEFT_OUT)
    assert apart.box_class_ids == (0, records.NOT_IN_MODEL, 7)


def test_boxes_have_an_offset_of_their_own():
    fields = {**BOXES, "image/object/class/label": [1, 2, 3], "image/class/label": [1]}
    assert parse(fields, box_label_offset=1).box_class_ids == (0, 1, 2)
    assert parse(fields, box_label_offset=1).label_ids == (1,)
    both = parse(fields, label_offset=1)
    assert both.box_class_ids == (0, 1, 2) and both.label_ids == (0,)
    with pytest.raises(records.DataError, match=r"ids start at 2 \(box_label_offset\)"):
        parse(fields, box_label_offset=2)


def test_the_classes_of_objects_are_a_list_whatever_they_look_like():
    """Three objects, of three classes, in a set of three classes: not a vector, for each box has its own."""
    three = class_maps.ClassMap(classes=3)
    fields = {**BOXES, "image/object/class/label": [0, 0, 1]}
    example = parse(fields, label=None, labels="image/object/class/label", classes=three)
    assert example.box_class_ids == (0, 0, 1) and example.label_ids == (0, 1)
    example = parse({**fields, "y": [0, 0, 1]}, label="y", label_form="one_hot", classes=three)
    assert example.box_class_ids == (0, 0, 1) and example.label_ids == (2,)
