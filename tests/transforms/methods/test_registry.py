"""The table of methods: lookup, options and costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from heatbeam.transforms.methods import perturbation, registry

ALL = {**registry.METHODS, **registry.WRAPPERS}


def test_unknown_method_names_the_nearest_and_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown method 'GradCAM', did you mean 'grad_cam'.*known: cam, grad_cam"):
        registry.get("GradCAM")
    with pytest.raises(ValueError, match="did you mean 'grad_cam_plus_plus'"):
        registry.get("gradcam++")


@pytest.mark.parametrize("name", ALL)
def test_rows_match_their_functions(name):
    method = ALL[name]
    parameters = inspect.signature(method.function).parameters
    keywords = {p for p, value in parameters.items() if value.kind is inspect.Parameter.KEYWORD_ONLY}
    assert set(method.options) == keywords - {"noise"}
    assert all(method.options[key].problem(method.options[key].default) is None for key in method.options)
    assert set(method.needs) <= set(registry.NEEDS)
    assert method.summary.endswith(".") and "\n" not in method.formula and method.paper
    assert method.function.__doc__


def test_resolved_options_are_those_given_and_the_defaults():
    assert registry.resolve_options("ss_cam", {"sigma": 1}) == {"repetitions": 35, "sigma": 1, "seed": 0}


def test_all_problems_are_reported_together():
    problems = registry.validate_options("ss_cam", {"repetition": 3, "sigma": -1.0, "seed": 1.5})
    assert problems == [
        "repetition: unknown option of ss_cam, did you mean 'repetitions'?; known: repetitions, sigma, seed",
        "sigma: expected at least 0, got -1.0",
        "seed: expected an integer, got 1.5",
    ]
    with pytest.raises(ValueError, match=r"bad options of ss_cam: repetition: .*; sigma: .*; seed: "):
        registry.resolve_options("ss_cam", {"repetition": 3, "sigma": -1.0, "seed": 1.5})


def test_a_method_without_options_says_so():
    assert registry.validate_options("grad_cam", {"sigma": 1}) == [
        "sigma: unknown option of grad_cam; grad_cam takes no options"
    ]


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (registry.Option("bool", True, ""), [True, False], [0, "yes", None]),
        (registry.Option("str", "a", "", choices=("a", "b")), ["a", "b"], ["c", None, 1]),
        (registry.Option("size", None, ""), [None, [2, 3], (1, 1)], [[0, 3], [2, 2, 2, 2], 4, [1.5, 2], [True, 2]]),
        (registry.Option("floats", [1.0], "", minimum=0.1), [[], [0.5, 2]], [[0.0], ["1"], 1.0, [float("nan")]]),
        (registry.Option("int", 1, "", minimum=1, maximum=3), [1, 3], [0, 4, 1.0, True]),
        (registry.Option("float", 1, "", maximum=1.0), [1, -5.5], [1.1, "1", float("inf")]),
    ],
    ids=lambda value: value.type if isinstance(value, registry.Option) else None,
)
def test_option_values(option, good, bad):
    assert [value for value in good if option.problem(value) is not None] == []
    assert [value for value in bad if option.problem(value) is None] == []


def test_costs():
    def cost(name, **options):
        return registry.get(name).cost(512, 2, registry.resolve_options(name, options))

    assert cost("grad_cam") == (0, 0)
    assert cost("score_cam") == (512, 0)
    assert cost("faster_score_cam", channels=20) == (20, 0)
    assert cost("ss_cam", repetitions=3) == (3 * 512, 0)
    assert cost("ablation_cam") == (0, 512)


def test_score_cam_variants_are_those_of_the_code():
    assert registry.get("score_cam").options["variant"].choices == tuple(perturbation.READINGS)


def test_the_table_does_not_load_tensorflow():
    code = "import sys; from heatbeam.transforms.methods import registry; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
