"""Labels of a run's methods and which of them are baselines."""

from __future__ import annotations

from heatbeam.runs import run_methods
from tests.support import manifests

METHODS = [
    "cam",
    {"method": "random_cam", "name": "noise"},
    {"method": "grad_cam", "name": None, "wrapper": "tta"},
    {"method": "random_cam", "wrapper": "smooth"},
]
MANIFEST = manifests.manifest(config={"explain": {"methods": METHODS}})


def test_labels_are_those_of_the_tables_in_the_order_of_the_configuration():
    assert list(run_methods.by_label(MANIFEST).items()) == [
        ("cam", "cam"), ("noise", "random_cam"), ("tta_grad_cam", "grad_cam"), ("smooth_random_cam", "random_cam"),
    ]  # fmt: skip


def test_baselines_are_fixed_maps_and_controls_under_any_name():
    controls = run_methods.controls(MANIFEST)
    assert controls == {"noise", "smooth_random_cam"}
    found = {name: run_methods.is_baseline(name, controls) for name in ("baseline_centre", "noise", "cam", "model")}
    assert found == {"baseline_centre": True, "noise": True, "cam": False, "model": False}
