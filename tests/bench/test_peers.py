"""The other libraries of the bench: what they give, and what is said where they are missing; never their times."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from heatbeam.transforms.engine import engine
from tests.benchmarks import figures, models, peers

HOW_TO_GET = {
    "tf-keras-vis": ("tf_keras_vis", "pip install 'heatbeam[bench]'"),
    "Xplique": ("xplique", "TensorFlow 2.20 or older"),
    "pytorch-grad-cam": ("pytorch_grad_cam", "pip install torch torchvision grad-cam"),
}
CLASS_IDS = [3, 5]


@pytest.mark.parametrize("peer", HOW_TO_GET)
def test_a_peer_that_cannot_be_imported_is_named_with_the_way_to_get_it(peer: str, monkeypatch) -> None:
    package, hint = HOW_TO_GET[peer]
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (line,) = [line for line in peers.missing() if line.startswith(f"{peer} ")]
    assert "cannot be imported" in line and hint in line


def test_a_peer_that_can_be_imported_is_not_missing(monkeypatch) -> None:
    for module, _ in peers._PEERS.values():
        package, _, rest = module.partition(".")
        monkeypatch.setitem(sys.modules, package, sys)
        monkeypatch.setitem(sys.modules, f"{package}.{rest}", sys)
    assert peers.missing() == []


@pytest.mark.parametrize(
    ("name", "peer", "said"),
    [
        ("MobileNetV2", "torchvision's mobilenet_v2", "mobilenet_v2 is the same architecture"),
        ("ResNet50V2", "torchvision's resnet50", "resnet50 is version 1"),
    ],
)
def test_the_figure_of_another_model_says_which_and_has_no_goal(name, peer, said, monkeypatch) -> None:
    for absent in ("_tf_keras_vis", "_xplique"):
        monkeypatch.setattr(peers, absent, lambda *_: None)
    monkeypatch.setattr(peers, "_pytorch_grad_cam", lambda _: lambda *_: None)
    monkeypatch.setattr(figures, "alternate", lambda *_: [(1.0, 2.0)])
    monkeypatch.setattr(engine, "Engine", lambda _: None)
    monkeypatch.setattr(models, "logits_model", lambda _: (None, None))
    by_hand, other = peers._grad_cam(name, [], 1)
    assert (by_hand.name, by_hand.goal) == (f"Grad-CAM over keras-explainable's code, {name}", None)
    assert (other.name, other.goal) == (f"Grad-CAM over pytorch-grad-cam on {peer}, {name}", None)
    assert said in other.how
    assert "version 1" not in by_hand.how and "the same architecture" not in by_hand.how


def _inputs() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)


@pytest.mark.parametrize("name", models.APPLICATIONS)
def test_pytorch_grad_cam_gives_a_map_of_the_inputs_size_for_each_image(name: str) -> None:
    # Not by pytest.importorskip: beside TensorFlow only the bench's own import is safe.
    if peers._imported("pytorch_grad_cam") is None:
        pytest.skip("pytorch-grad-cam is not installed")
    explain = peers._pytorch_grad_cam(name)
    if explain is None:
        pytest.skip("torch cannot use the GPU that TensorFlow has")
    maps = np.asarray(explain(_inputs(), CLASS_IDS))
    assert maps.shape == (2, 224, 224) and np.isfinite(maps).all()


def test_xplique_gives_a_map_of_the_inputs_size_for_each_image() -> None:
    pytest.importorskip("xplique.attributions", reason="Xplique is not installed")
    model, _ = models.logits_model("MobileNetV2")
    maps = np.asarray(peers._xplique(model)(_inputs(), CLASS_IDS))
    assert maps.shape == (2, 224, 224, 1) and np.isfinite(maps).all()
    assert not np.array_equal(maps[0], maps[1])
