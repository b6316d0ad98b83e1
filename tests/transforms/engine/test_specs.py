from __future__ import annotations

import dataclasses

import pytest

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import model_source

SMALLEST = """
input: {tfrecord: 'data/*.tfrecord'}
model: {application: MobileNetV2}
output: {directory: runs/one}
"""


def test_a_file_that_sets_nothing_is_a_specification_that_sets_nothing():
    spec = plan.engine_spec(config.parse(SMALLEST))
    assert dataclasses.replace(spec, intra_op_threads=None) == specs.EngineSpec(
        model=model_source.ModelSource(application="MobileNetV2")
    )


def test_a_run_has_one_seed_and_a_method_may_have_its_own():
    assert specs.complete_options("rise", {"masks": 3}, seed=7)["seed"] == 7
    assert specs.complete_options("rise", {"seed": 1}, seed=7)["seed"] == 1
    assert specs.complete_options("grad_cam", {}, seed=7) == {}


def test_a_method_without_a_name_has_that_of_its_method_and_wrapper():
    assert specs.MethodSpec("grad_cam", wrapper="smooth").label == "smooth_grad_cam"
    assert specs.MethodSpec("grad_cam", "mine").label == "mine"


@pytest.mark.parametrize("given", [{}, {"path": "a.keras", "application": "ResNet50"}], ids=["none", "two"])
def test_a_model_comes_from_one_place(given):
    with pytest.raises(ValueError, match="give exactly one of path, application and factory"):
        model_source.ModelSource(**given)
