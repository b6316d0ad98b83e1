"""Files that name classes, or say which class is which: text, CSV, JSON, YAML, label maps of TF Object Detection.

Parsing only: whoever has the text gives it. What a file holds is data, never code or a path.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from heatbeam.transforms.sources.classes import class_maps, vocabularies

MapValue = str | int | None

_ID_COLUMNS = ("id", "class_id", "class_index", "index", "label_id", "number")
_NAME_COLUMNS = ("name", "class_name", "display_name", "label_name", "class", "label", "description")
_WORDNET_COLUMNS = ("wnid", "wordnet_id", "wordnet", "synset", "synset_id")
_NESTED = ("id2label", "names", "categories", "class_names", "classes")
"""Keys under which files of Transformers, YOLO and COCO hold their classes."""


def text_of(stored: bytes, path: str) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        return stored.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error


def vocabulary(text: str, path: str) -> vocabularies.Vocabulary:
    """The classes that a file names.

    One name a line, if its end says nothing else: ``.json``, ``.yaml``, ``.csv``, ``.tsv``, ``.pbtxt``. Ids count from
    0 in the order of the file, unless it states them.

    Args:
        text: of the file.
        path: for its ending, and for messages.

    Raises:
        ValueError: it names no classes in any of these ways.
    """
    try:
        found = of_values(_parsed(text, path), path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not len(found):
        raise ValueError(f"{path}: names no class")
    return found


def of_values(values: Any, source: str) -> vocabularies.Vocabulary:
    """The vocabulary in values as JSON or YAML has them: lists of names, names by id, ids by name, lists of mappings.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(values, Mapping):
        nested = next((key for key in _NESTED if isinstance(values.get(key), (Mapping, list))), None)
        if nested is not None:
            return of_values(values[nested], source)
        return vocabularies.Vocabulary.of_ids(_of_mapping(values), source)
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"is {_kind(values)}; expected names of classes")
    if values and all(isinstance(value, Mapping) for value in values):
        return vocabularies.Vocabulary.of_ids((_of_row(value) for value in values), source)
    rows = [_named(number, value) for number, value in enumerate(values)]
    return vocabularies.Vocabulary(tuple(rows), source)


def mapping(text: str, path: str) -> dict[str | int, MapValue]:
    """From classes of the data to classes of the model, as a file says it.

    A mapping in ``.json`` or ``.yaml``; rows of two columns in ``.csv`` or ``.tsv``, with a heading or without; else a
    line ``class of the data: class of the model`` each, or separated by a tab. A list, or a file of one column, has a
    class of the model for each id of the data from 0. Nothing, ``null`` and ``-`` leave a class out.

    Raises:
        ValueError: it is none of these, or names a class twice.
    """
    try:
        return of_pairs(_parsed(text, path, pairs=True))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def of_pairs(values: Any) -> dict[str | int, MapValue]:
    """The same from values as JSON or YAML has them.

    Raises:
        ValueError: as `mapping`.
    """
    if isinstance(values, Mapping):
        return {_key(key): _value(key, value) for key, value in values.items()}
    if isinstance(values, (list, tuple)) and not any(isinstance(value, (Mapping, list)) for value in values):
        return {number: _value(number, value) for number, value in enumerate(values)}
    raise ValueError(f"is {_kind(values)}; expected a mapping from classes of the data to classes of the model")


def _key(key: Any) -> str | int:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise ValueError(f"the class {key!r} is {_kind(key)}; put it in quotes if it is a name")
    return key


def _value(key: Any, value: Any) -> MapValue:
    if isinstance(value, bool) or not (value is None or isinstance(value, (str, int))):
        raise ValueError(f"{key}: {value!r} is {_kind(value)}; expected a name, an id or null")
    if isinstance(value, str) and value.strip() in ("", "-", "null", "~"):
        return None
    return value


def _kind(value: Any) -> str:
    return {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "empty"}.get(
        type(value), f"of type {type(value).__name__}"
    )


# What a file says, in the values of JSON.


def _parsed(text: str, path: str, *, pairs: bool = False) -> Any:
    end = path.rpartition("/")[2].rpartition(".")[2].lower()
    if end in ("pbtxt", "pbtext", "prototxt") or re.match(r"(\s|#[^\n]*\n)*item\s*\{", text):
        return list(_label_map(text))
    if end == "json" or text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=_distinct)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not JSON: {error}") from error
    if end in ("yaml", "yml"):
        try:
            return yaml.load(text, _Distinct)  # noqa: S506 (as safe as the loader that it is made of)
        except yaml.YAMLError as error:
            raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from error
    if end in ("csv", "tsv"):
        rows = _table(text, "\t" if end == "tsv" else ",")
        return _pairs_of_table(rows) if pairs else _classes_of_table(rows)
    lines = _lines(text)
    return _pairs_of_lines(lines) if pairs else _classes_of_lines(lines)


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is given twice")
        found[key] = value
    return found


class _Distinct(yaml.SafeLoader):
    """YAML in which no key is given twice: of two, the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        _distinct([(str(key), None) for key in keys])
        return super().construct_mapping(node, deep)


def _lines(text: str) -> list[str]:
    """The lines, without blank ones at the end: between others, one would shift the names behind it."""
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} is blank; a name is missing, or the line is to be removed")
    return lines


def _classes_of_lines(lines: Sequence[str]) -> list[Any]:
    """A name a line; also ``n01440764 tench``, and ``0 tench`` as Teachable Machine writes it."""
    wordnet = [re.match(r"(n\d{8})[\s,:]+(\S.*)", line) for line in lines]
    if all(wordnet):
        return [[found[1], found[2]] for found in wordnet if found]
    numbered = [re.match(r"(\d+)[\s,:]+(\S.*)", line) for line in lines]
    ids = [int(found[1]) for found in numbered if found]
    names = [found[2] for found in numbered if found]
    if len(ids) == len(lines) == len(set(names)) and ids in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        return [{"id": number, "name": name} for number, name in zip(ids, names, strict=True)]
    return list(lines)


def _pairs_of_lines(lines: Sequence[str]) -> Any:
    for mark in ("\t", ": ", ","):
        if all(mark in line for line in lines):
            return _distinct([(a.strip(), b.strip()) for a, _, b in (line.partition(mark) for line in lines)])
    return list(lines)


def _table(text: str, delimiter: str) -> list[list[str]]:
    rows = csv.reader(text.splitlines(), delimiter=delimiter)
    return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]


def _classes_of_table(rows: Sequence[Sequence[str]]) -> list[Any]:
    heading = [cell.lower() for cell in rows[0]] if rows else []
    known = {*_ID_COLUMNS, *_NAME_COLUMNS, *_WORDNET_COLUMNS}
    if known & set(heading):
        return list(_of_heading(heading, rows[1:]))
    if all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    if all(len(row) == 2 for row in rows):
        for number, name in ((0, 1), (1, 0)):
            if all(row[number].isdecimal() for row in rows):
                return [{"id": int(row[number]), "name": row[name]} for row in rows]
        if all(class_maps.wordnet_id(row[0]) == row[0] for row in rows):
            return [list(row) for row in rows]
    raise ValueError(f"has no heading such as id,name; its first row is {', '.join(rows[0]) if rows else 'missing'}")


def _of_heading(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Any]:
    def column(names: Sequence[str], *, numbers: bool) -> int | None:
        for name in names:
            if name in heading:
                at = heading.index(name)
                if all(row[at : at + 1] and row[at].isdecimal() for row in rows) == numbers:
                    return at
        return None

    ids = column((*_ID_COLUMNS, "label", "class"), numbers=True)
    wordnet = column(_WORDNET_COLUMNS, numbers=False)
    name = column(_NAME_COLUMNS, numbers=False)
    name = wordnet if name is None else name
    if name is None:
        raise ValueError(f"has no column of names; its heading is {', '.join(heading)}")
    for row in rows:
        if len(row) != len(heading):
            raise ValueError(f"the row {', '.join(row)} has {len(row)} cells; its heading has {len(heading)}")
        others = [row[wordnet]] if wordnet is not None and wordnet != name else []
        yield [*others, row[name]] if ids is None else {"id": int(row[ids]), "name": row[name], "others": others}


def _pairs_of_table(rows: Sequence[Sequence[str]]) -> Any:
    """Two columns; a heading is one that names neither data nor model by what could be a class of theirs."""
    if rows and all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    if not rows or any(len(row) != 2 for row in rows):
        raise ValueError("expected rows of two columns: class of the data, class of the model")
    first = [cell.lower() for cell in rows[0]]
    heading = first[0] in ("data", "dataset", "from", "source") and first[1] in ("model", "to", "target")
    return _distinct([(row[0], row[1]) for row in rows[1 if heading else 0 :]])


def _of_mapping(values: Mapping[Any, Any]) -> Iterator[vocabularies.NamedClass]:
    """``{0: tench}``, ``{"0": ["n01440764", "tench"]}`` (Keras) or ``{tench: 0}`` (Keras' ``class_indices``)."""
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values.values()):
        for name, number in values.items():
            yield vocabularies.NamedClass(number, str(_key(name)))
        return
    for key, value in values.items():
        if isinstance(key, bool) or not str(key).isdecimal():
            raise ValueError(f"{key!r} is no class id; expected a list of names, names by id, or ids by name")
        yield _named(int(key), value)


def _of_row(row: Mapping[Any, Any]) -> vocabularies.NamedClass:
    """A category of COCO, or an item of a label map."""
    number, name = row.get("id"), row.get("display_name") or row.get("name")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str):
        raise ValueError(f"{dict(row)} has no whole id and no name")
    others = (*row.get("others", ()), *([row["name"]] if row.get("name") not in (None, name) else []))
    return vocabularies.NamedClass(number, name, tuple(others))


def _named(number: int, value: Any) -> vocabularies.NamedClass:
    if isinstance(value, str) and value.strip():
        return vocabularies.NamedClass(number, value.strip())
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        return vocabularies.NamedClass(number, value[-1].strip(), tuple(value[:-1]))
    if isinstance(value, int) and not isinstance(value, bool):
        return vocabularies.NamedClass(number, str(value))
    raise ValueError(f"the name of class {number} is {_kind(value)}: {value!r}; put it in quotes")


_TOKENS = re.compile(r"""#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([{}:])|([^\s{}:"'#,;]+)""")


def _label_map(text: str) -> Iterator[dict[str, Any]]:
    """The items of a label map, in protobuf's text format; what stands in braces inside an item is left out."""
    depth, key, before_value = 0, "", False
    item: dict[str, Any] = {}
    for found in _TOKENS.finditer(text):
        quoted = found[1] if found[1] is not None else found[2]
        mark, word = found[3], found[4]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                yield item
                item = {}
        elif depth != 1:
            continue
        elif mark == ":":
            before_value = True
        elif before_value and (quoted is not None or word):
            whole = quoted is None and re.fullmatch(r"-?\d+", word)
            item[key] = int(word) if whole else re.sub(r"\\(.)", r"\1", word if quoted is None else quoted)
            before_value = False
        elif word:
            key = word
    if depth != 0:
        raise ValueError("is no whole label map: a brace is not closed")
