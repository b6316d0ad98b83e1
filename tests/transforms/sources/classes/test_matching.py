"""Which class of the model a class of the data is, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.sources.classes import class_maps, matching, vocabularies


def names(*given, source="model.class_names", ids=None):
    """Classes; a name may be a tuple of a name and others."""
    rows = [(one, ()) if isinstance(one, str) else (one[0], one[1:]) for one in given]
    classes = tuple(
        vocabularies.NamedClass(number, name, others)
        for number, (name, others) in zip(ids or range(len(rows)), rows, strict=True)
    )
    return vocabularies.Vocabulary(classes, source, ids is not None)


def data(*given, ids=None):
    return names(*given, source="the dataset", ids=ids)


MODEL = names("tench", "goldfish", "crane", "hen", "Hand-held_computer", "crane")
"""Two cranes, as in ImageNet."""


def found(dataset, model=MODEL, count=None, given=None):
    match = matching.match(dataset, model, count or (len(model) if model is not None else 0), given)
    return [match.classes.of_id(one.id) for one in dataset.classes]


def refused(dataset, model=MODEL, count=None, given=None):
    with pytest.raises(matching.MismatchError) as caught:
        matching.match(dataset, model, count or (len(model) if model is not None else 0), given)
    return str(caught.value)


def test_a_dataset_with_fewer_classes_in_another_order():
    match = matching.match(data("hen", "tench", "hand held computer"), MODEL, 6)
    assert match.classes.ids == ((0, 3), (1, 0), (2, 4))
    assert [match.classes.of_name(name) for name in ("tench", "Hen", "HAND-HELD COMPUTER")] == [0, 3, 4]
    assert match.names == ("tench", "goldfish", "crane", "hen", "Hand-held_computer", "crane")
    assert match.words == "the dataset's 3 are matched to the model's 6 by name; e.g. hen is class 3 (hen)"


def test_any_order_is_found_by_name():
    generator = np.random.default_rng(0)
    every = [f"kind {number}" for number in range(50)]
    for size in (1, 7, 49, 50):
        mine = generator.permutation(every)[:size].tolist()
        assert found(data(*mine), names(*every)) == [every.index(name) for name in mine]


def test_ids_of_a_label_map_are_those_of_the_records():
    match = matching.match(data("hen", "tench", ids=(1, 7)), MODEL, 6)
    assert match.classes.of_id(1) == 3 and match.classes.of_id(7) == 0
    with pytest.raises(class_maps.UnknownClassError, match="the 2 classes 1 to 7, with gaps"):
        match.classes.of_id(0)


def test_wordnet_ids_come_before_words():
    model = names(("crane", "n02012849"), ("crane", "n03126707"), ("tench", "n01440764"))
    assert found(data("n03126707", "n01440764"), model) == [1, 2]
    assert found(data(("crane", "n03126707"), ("crane", "n02012849")), model) == [1, 0]
    assert found(data("n01440764-tench", "n02012849 crane"), model) == [2, 0]
    assert found(data("n02085620-Chihuahua"), names("Chihuahua", "tench")) == [0]  # as Stanford Dogs names them


def test_each_of_several_words_will_do():
    model = names("tench, Tinca tinca", "goldfish, Carassius auratus", "cock")
    assert found(data("Tinca tinca", "goldfish", "cock"), model) == [0, 1, 2]
    assert found(data("cock, rooster", "tench"), names("tench", "cock")) == [1, 0]


def test_names_that_two_classes_have():
    assert found(data("tench", "goldfish", "crane", "hen", "hand held computer", "crane")) == [0, 1, 2, 3, 4, 5]
    assert found(data("crane", "hen", "crane")) == [2, 3, 5]  # as many on both sides
    assert found(data("crane", "hen"), given={"crane": 5}) == [5, 3]
    said = refused(data("crane", "hen"))
    assert "of 1 it is not certain which of the model's they are: crane" in said and "input.class_map" in said
    assert "of 2 it is not certain" in refused(data("hen", "Hen"), names("hen", "cock"))


def test_a_class_without_counterpart_is_asked_about():
    said = refused(data("hen", "raccoon", "yeti"))
    assert said == (
        "2 of the dataset's 3 classes are none of the model's: raccoon, yeti. the dataset: 3 names (hen, raccoon, "
        "yeti). model.class_names: 6 names (tench, goldfish, crane, hen, Hand-held_computer). Say in "
        "input.class_map which class each of them is, or null to leave it out ('*': null for all)"
    )
    assert found(data("hen", "raccoon", "yeti"), given={"raccoon": "tench", "yeti": None}) == [3, 0, None]
    assert found(data("hen", "raccoon", "yeti"), given={"*": None}) == [3, None, None]
    assert found(data("hen", "raccoon", "yeti"), given={"*": None, "yeti": 1}) == [3, None, 1]
    words = matching.match(data("hen", "raccoon"), MODEL, 6, {"raccoon": None}).words
    assert "by name, input.class_map, 1 of them left out; e.g. hen is class 3 (hen)" in words


def test_two_vocabularies_of_one_length_that_contradict_each_other():
    one, other = data("a", "b", "c"), names("x", "y", "z")
    said = refused(one, other)
    assert "3 of the dataset's 3 classes are none of the model's: a, b, c" in said
    assert "the dataset: 3 names (a, b, c). model.class_names: 3 names (x, y, z)" in said
    assert "or ids, if both are the same classes in the same order" in said
    assert found(one, other, given="ids") == [0, 1, 2]
    assert found(data("z", "x", "y"), other) == [2, 0, 1]  # another order is no contradiction


def test_names_of_the_data_alone():
    """As many classes as the model: they are the model's, as before names were compared. Else it is asked."""
    match = matching.match(data("cat", "dog"), None, 2)
    assert match.names == ("cat", "dog") and match.classes.ids is None
    assert match.words == (
        "the dataset's 2 are matched to the model's 2 in their order: the model has no names; e.g. cat is class 0"
    )
    assert found(data("cat", "dog", ids=(1, 2)), None, 2) == [0, 1]
    said = refused(data("cat", "dog"), None, 1000)
    assert "the dataset: 2 names (cat, dog); the model has 1,000 classes, whose names are not known" in said
    assert "model.class_names" in said and "input.class_map (ids: ids are the model's)" in said
    match = matching.match(data("cat", "dog"), None, 4, {"cat": 3, "dog": 0})
    assert match.names == ("dog", "class_1", "class_2", "cat") and match.classes.ids == ((0, 3), (1, 0))
    assert matching.match(data("cat", "dog"), None, 4, "ids").classes.ids == ((0, 0), (1, 1))


def test_numbers_are_no_names():
    """TFDS calls classes without names 0, 1, ..."""
    assert found(data("0", "1", "2"), names("zero", "one", "two")) == [0, 1, 2]
    assert "have no names" in refused(data("0", "1"), names("zero", "one", "two"))
    assert found(data("1", "0"), names("0", "1")) == [1, 0]  # out of order, they are names


def test_names_of_the_model_alone():
    match = matching.match(None, MODEL, 6)
    assert match.classes.ids is None and match.classes.of_name("hen") == 3
    assert match.words == "ids are the model's 6, texts are its names"
    with pytest.raises(class_maps.AmbiguousClassError):
        match.classes.of_name("crane")
    assert matching.match(None, None, 3).words == "ids are the model's 3"
    assert matching.match(None, None, 3).names == ("class_0", "class_1", "class_2")


def test_a_map_for_a_dataset_that_only_its_records_know():
    match = matching.match(None, MODEL, 6, {"raccoon": "hen", "crane": 5, "yeti": None, 7: "tench", "8": 1})
    assert match.classes.ids == ((7, 0), (8, 1))
    lookups = {"raccoon": 3, "crane": 5, "yeti": None, "goldfish": 1}
    assert {name: match.classes.of_name(name) for name in lookups} == lookups
    with pytest.raises(class_maps.UnknownClassError, match="the 2 classes 7 to 8"):
        match.classes.of_id(0)
    assert matching.match(None, MODEL, 6, {7: 0, "*": None}).classes.of_id(0) is None
    with pytest.raises(class_maps.UnknownClassError, match="no classes with ids"):
        matching.match(None, MODEL, 6, {"raccoon": "hen"}).classes.of_id(3)


def test_several_classes_of_the_data_may_be_one_of_the_model():
    assert found(data("tabby", "siamese", "hen"), given={"tabby": "tench", "siamese": "tench"}) == [0, 0, 3]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"raccoon": "tensh", "hen": 3}, "'raccoon': 'tensh' is none of the classes; did you mean tench?; model"),
        ({"racoon": "tench"}, "'racoon' is none of the classes; did you mean raccoon?; the dataset: 2 names"),
        ({"raccoon": "crane"}, "'raccoon': 'crane' is the name of the classes 2 and 5; give the id"),
        ({"raccoon": 6}, "'raccoon': 6, but the model's classes are 0 to 5"),
        ({"raccoon": "6"}, "'raccoon': 6, but the model's classes are 0 to 5"),
        ({"raccoon": 0, 0: 1}, "class 0 of the dataset is given twice, also as 0"),
        ({5: 1}, "5 is none of the classes"),
        ({"*": "hen"}, "'*': 'hen'; only null can stand for all others"),
        ({"raccoon": None, "hen": None}, "every class of the dataset is left out"),
    ],
)
def test_maps_that_do_not_fit(given, words):
    assert words in refused(data("raccoon", "hen"), given=given)


def test_a_map_by_name_needs_names():
    assert "the model's classes have no names" in refused(data("cat"), None, 3, {"cat": "tabby"})


@pytest.mark.parametrize("ids", [(1, 2, 3), (0, 1, 2)])
def test_names_of_the_model_may_count_from_one(ids):
    model = matching.at_positions(names("a", "b", "c", ids=ids), 3)
    assert [(one.id, one.name) for one in model.classes] == [(0, "a"), (1, "b"), (2, "c")]


def test_names_of_the_model_at_their_positions():
    model = names("a", "b", "c", ids=(1, 2, 3))
    assert matching.match(None, model, 4).names == ("class_0", "a", "b", "c")  # 0 is the background
    for size, hint in ((2, "; is the first or the last one a background class?"), (4, "; is the first"), (6, "")):
        said = refused(data("a"), names("a", "b", "c"), size)
        assert (
            said.startswith(f"model.class_names: 3 names (a, b, c), but the model has {size} classes") and hint in said
        )
        assert ("background" in said) == bool(hint)
    assert "with the ids 1 to 3, but the model's classes are 0 to 1" in refused(data("a"), model, 2)


def test_ids_beyond_the_model_are_refused():
    assert "has the class 2 (c); the model's are 0 to 1" in refused(data("a", "b", "c"), None, 2, "ids")
