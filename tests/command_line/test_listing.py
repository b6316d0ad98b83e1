"""What the lists say to programs and editors: JSON, and the schema of a configuration."""

from __future__ import annotations

import json
import re

import pytest

from heatbeam import cli, config
from heatbeam.listing import config_schema
from heatbeam.transforms.methods import registry as methods
from heatbeam.transforms.metrics import registry as metrics
from tests.support import paths

CONFIGS = paths.ROOT / "configs"
EXAMPLES = [path for path in sorted(CONFIGS.glob("*.yaml")) if "\ninput:" in path.read_text(encoding="utf-8")]


def printed(capsys, *arguments: str) -> str:
    assert cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_published_schema_is_that_of_the_settings():
    written = (CONFIGS / "audit.schema.json").read_text(encoding="utf-8")
    assert written == config_schema.text(), (
        "a setting has changed: heatbeam settings --json-schema > configs/audit.schema.json"
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_editor_finds_the_schema_of_an_example(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    (target,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", first)
    assert (path.parent / target).exists()


def test_the_schema_has_every_setting_and_the_short_forms():
    schema = config_schema.schema()
    sections = schema["$defs"]
    assert set(schema["properties"]) == set(config.RunConfig.model_fields)
    assert set(sections["OutputConfig"]["properties"]) == set(config.OutputConfig.model_fields)
    name, mapping = sections["MethodConfig"]["anyOf"]
    assert name["enum"] == mapping["properties"]["method"]["enum"] == list(methods.METHODS)
    assert sections["PreprocessingConfig"]["anyOf"][0] == {"type": "string"}
    one, many, none = sections["InputConfig"]["properties"]["tfrecord"]["anyOf"]
    assert (one, many, none) == ({"type": "string"}, {"type": "array", "items": one}, {"type": "null"})
    assert sections["OutputConfig"]["additionalProperties"] is False
    assert sections["OutputConfig"]["properties"]["max_dead_letter_ratio"]["maximum"] == 1


def test_the_command_prints_the_schema(capsys):
    assert json.loads(printed(capsys, "settings", "--json-schema")) == config_schema.schema()


def test_one_method_is_listed_alone(capsys):
    text = printed(capsys, "methods", "grad_cam")
    assert text == (
        "grad_cam  (passes: none)\n    Activations weighted by the mean of their gradients.\n"
        "    sum_k mean_hw(g[k]) A[k]\n    Selvaraju et al., ICCV 2017, arXiv:1610.02391\n"
    )
    assert "option seed = 0" in printed(capsys, "methods", "smooth")  # a wrapper
    assert printed(capsys, "metrics", "energy_pointing_game", "--markdown").count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["methods", "grad_cm"], "methods: unknown method 'grad_cm', did you mean 'grad_cam'?"),
        (["metrics", "pointing_gam"], "metrics: unknown metric 'pointing_gam', did you mean 'pointing_game'?"),
        (["metrics", "nothing"], "metrics: unknown metric 'nothing'; heatbeam metrics lists them"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(arguments, said, capsys):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(said)


def test_methods_and_metrics_as_json(capsys):
    found = json.loads(printed(capsys, "methods", "--json"))["methods"]
    assert [one["name"] for one in found] == [*methods.METHODS, *methods.WRAPPERS]
    assert {one["name"] for one in found if one["wrapper"]} == set(methods.WRAPPERS)
    (score_cam,) = (one for one in found if one["name"] == "score_cam")
    assert score_cam["options"]["variant"]["default"] == "paper"
    assert "official" in score_cam["options"]["variant"]["choices"]
    (one,) = json.loads(printed(capsys, "metrics", "energy_pointing_game", "--json"))["metrics"]
    assert (one["better"], one["column"]) == ("higher", "energy_share")
    listed = json.loads(printed(capsys, "metrics", "--json"))["metrics"]
    assert [one["name"] for one in listed] == list(metrics.METRICS)
