"""The published schema by a validator of JSON schemas, as an editor's language server uses one."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support import paths

pytestmark = pytest.mark.integration

CONFIGS = paths.ROOT / "configs"


@pytest.fixture(scope="module")
def validator():
    import jsonschema

    schema = json.loads((CONFIGS / "audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid(validator, path):
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "output" in settings:  # the others are of other kinds
        assert [error.message for error in validator.iter_errors(settings)] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"explain": {"methods": ["grad_cam", {"method": "cam"}]}}, None),
        ({"model": {"path": "m.keras", "preprocessing": {"scale": 0.5, "offset": [1, 2, 3]}}}, None),
        ({"explain": {"methods": ["grad_cm"]}}, ["explain", "methods", 0]),
        ({"explain": {"batch_sise": 3}}, ["explain"]),
        ({"output": {"directory": "r", "max_dead_letter_ratio": 2}}, ["output", "max_dead_letter_ratio"]),
    ],
)
def test_mistakes_are_found_where_they_are(validator, change, path):
    settings = {"input": {"tfrecord": "s-*"}, "model": {"path": "m.keras"}, "output": {"directory": "r"}, **change}
    assert [list(error.absolute_path) for error in validator.iter_errors(settings)] == ([] if path is None else [path])
