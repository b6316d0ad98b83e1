"""Files of class names and of class maps, as people have them."""

from __future__ import annotations

import json
import re

import pytest

from heatbeam.transforms.sources.classes import class_files

NAMES = [(0, "cat"), (1, "dog"), (2, "ñandú")]
FROM_ONE = [(1, "cat"), (2, "dog"), (3, "ñandú")]


def read(text, path):
    found = class_files.vocabulary(text, path)
    return [(one.id, one.name) for one in found.classes], found.ids_given


def others(text, path):
    return [one.others for one in class_files.vocabulary(text, path).classes]


@pytest.mark.parametrize(
    ("path", "text", "expected", "ids_given"),
    [
        ("names.txt", "cat\ndog\nñandú\n", NAMES, False),
        ("names", "cat\r\n dog \r\nñandú\r\n\r\n\n", NAMES, False),
        ("labels.txt", "0 cat\n1 dog\n2 ñandú\n", NAMES, True),  # Teachable Machine
        ("labels.txt", "1: cat\n2: dog\n3: ñandú\n", FROM_ONE, True),
        ("coins.txt", "1 euro\n2 euro\n", [(0, "1 euro"), (1, "2 euro")], False),  # two coins, not two ids of one
        ("mnist.txt", "0\n1\n", [(0, "0"), (1, "1")], False),
        ("words.txt", "cat\ndog\ncat\n", [(0, "cat"), (1, "dog"), (2, "cat")], False),
        ("names.json", '["cat", "dog", "ñandú"]', NAMES, False),
        ("names.json", '{"0": "cat", "2": "ñandú", "1": "dog"}', NAMES, True),
        ("class_indices.json", '{"dog": 1, "cat": 0, "ñandú": 2}', NAMES, True),  # Keras' folders
        ("config.json", '{"model": "x", "id2label": {"0": "cat", "1": "dog", "2": "ñandú"}}', NAMES, True),
        ("instances.json", json.dumps({"images": [], "categories": [{"id": 3, "name": "ñandú", "supercategory": "b"},
                                       {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}), FROM_ONE, True),  # COCO
        ("names.yaml", "- cat\n- dog\n- ñandú\n", NAMES, False),
        ("data.yaml", "path: x\nnames:\n  0: cat\n  1: dog\n  2: ñandú\n", NAMES, True),  # YOLO
        ("names.csv", "cat\ndog\nñandú\n", NAMES, False),
        ("names.csv", "1,cat\n2,dog\n3,ñandú\n", FROM_ONE, True),
        ("names.csv", "cat,1\ndog,2\nñandú,3\n", FROM_ONE, True),
        ("names.csv", 'name,id\n"cat",0\ndog,1\nñandú,2\n', NAMES, True),
        ("names.tsv", "label\tname\n0\tcat\n1\tdog\n2\tñandú\n", NAMES, True),
        ("photos.csv", "file,class_id,class_name\na,1,cat\nb,2,dog\nc,1,cat\nd,3,ñandú\n", FROM_ONE, True),
        ("map.pbtxt", "item {\n  id: 1\n  name: 'cat'\n}\nitem { name: \"dog\" id: 2 }\nitem{id:3 name:'ñandú'}",
         FROM_ONE, True),
        ("map.txt", "# ours\nitem {\n id: 1\n name: '/m/1'\n display_name: 'cat' keypoints { id: 9 name: 'tail' }\n}\n",
         [(1, "cat")], True),
        ("quotes.pbtxt", 'item { id: 1 name: "jack-o\'-lantern" }\nitem { id: 2 name: \'say \\\'hi\\\': {x}\' }',
         [(1, "jack-o'-lantern"), (2, "say 'hi': {x}")], True),
    ],
)  # fmt: skip
def test_files_of_names(path, text, expected, ids_given):
    assert read(text, path) == (expected, ids_given)


def test_wordnet_ids_and_second_names_are_kept():
    index = json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})
    assert read(index, "imagenet_class_index.json") == ([(0, "tench"), (1, "goldfish")], True)
    assert others(index, "x.json") == [("n01440764",), ("n01443537",)]
    words = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
    assert read(words, "synset_words.txt")[0] == [(0, "tench, Tinca tinca"), (1, "goldfish, Carassius auratus")]
    (tench, _) = class_files.vocabulary(words, "x.txt").classes
    assert tench.every_name == ("tench, Tinca tinca", "n01440764", "tench", "Tinca tinca")
    assert others("item { id: 1 name: '/m/1' display_name: 'cat' }", "x.pbtxt") == [("/m/1",)]
    assert others("class_id,wnid,class_name\n0,n01440764,tench\n", "x.csv") == [("n01440764",)]
    assert read("wnid\nn01440764\n", "x.csv")[0] == [(0, "n01440764")]


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert class_files.text_of("\ufeffcat\n".encode(), "x.txt") == "cat\n"
    with pytest.raises(ValueError, match=r"x\.txt is not UTF-8 text .*; save it as UTF-8"):
        class_files.text_of("ñandú".encode("latin-1"), "x.txt")


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("x.txt", "", "x.txt: names no class"),
        ("x.txt", "cat\n\ndog\n", "x.txt: line 2 is blank"),
        ("x.json", '{"0": "cat", "0": "dog"}', "'0' is given twice"),
        ("x.json", '{"cat": 0, "cat": 1}', "'cat' is given twice"),
        ("x.json", '{"cat": 0, "dog": 0}', "class 0 is called 'cat' and 'dog'"),
        ("x.json", '{"cat": -1}', "class id -1 (cat) is negative"),
        ("x.json", '["cat",', "is not JSON"),
        ("x.json", '"cat"', "is not JSON|is text; expected names of classes"),
        ("x.json", '{"cat": "dog"}', "'cat' is no class id"),
        ("x.yaml", "- yes\n- no\n", "the name of class 0 is true or false: True; put it in quotes"),
        ("x.yaml", "- [", "is not YAML"),
        ("x.csv", "1,2,cat\n2,3,dog\n", "has no heading such as id,name; its first row is 1, 2, cat"),
        ("x.csv", "id,name\n1,cat\n1,dog\n", "class 1 is called 'cat' and 'dog'"),
        ("x.csv", "id,name\n1\n", "has 1 cells; its heading has 2|has no column of names"),
        ("x.pbtxt", "item { id: 1 ", "a brace is not closed"),
        ("x.pbtxt", "item { name: 'cat' }", "has no whole id and no name"),
    ],
)
def test_files_that_name_no_classes(path, text, words):
    with pytest.raises(ValueError, match=f"^{re.escape(path)}") as caught:
        class_files.vocabulary(text, path)
    assert any(part in str(caught.value) for part in words.split("|"))


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("m.json", '{"cat": "tabby", "3": 7, "hen": null}', {"cat": "tabby", "3": 7, "hen": None}),
        ("m.yaml", "cat: tabby\n3: 7\nhen:\n'*': null\n", {"cat": "tabby", 3: 7, "hen": None, "*": None}),
        ("m.yaml", "- tabby\n- 7\n-\n", {0: "tabby", 1: 7, 2: None}),
        ("m.csv", "cat,tabby\n3,7\nhen,\n", {"cat": "tabby", "3": "7", "hen": None}),
        ("m.csv", 'dataset,model\ncat,"tabby, tabby cat"\n', {"cat": "tabby, tabby cat"}),
        ("m.tsv", "cat\ttabby\nhen\t-\n", {"cat": "tabby", "hen": None}),
        ("m.txt", "cat: tabby\nhen: -\n", {"cat": "tabby", "hen": None}),
        ("m.txt", "cat\ttabby, tabby cat\nhen\tnull\n", {"cat": "tabby, tabby cat", "hen": None}),
        ("m.txt", "tabby\nhen\n", {0: "tabby", 1: "hen"}),
    ],
)
def test_files_of_maps(path, text, expected):
    assert class_files.mapping(text, path) == expected


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("m.yaml", "no: cat\n", "the class False is true or false; put it in quotes"),
        ("m.yaml", "cat: yes\n", "cat: True is true or false"),
        ("m.yaml", "cat: [tabby]\n", "cat: ['tabby'] is a list"),
        ("m.yaml", "cat: 1.5\n", "cat: 1.5 is of type float"),
        ("m.json", '{"cat": "tabby", "cat": "hen"}', "'cat' is given twice"),
        ("m.yaml", "cat: tabby\ncat: hen\n", "'cat' is given twice"),
        ("m.csv", "cat,tabby\ncat,hen\n", "'cat' is given twice"),
        ("m.csv", "cat,tabby,1\n", "expected rows of two columns"),
        ("m.yaml", "7\n", "expected a mapping"),
    ],
)
def test_files_that_are_no_maps(path, text, words):
    with pytest.raises(ValueError, match=f"^{re.escape(path)}") as caught:
        class_files.mapping(text, path)
    assert words in str(caught.value)
