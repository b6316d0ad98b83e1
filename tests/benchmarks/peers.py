"""Images per second against other libraries, where they are installed.

Each does what its documentation shows for a batch, image loading included, in the same process on the same files.
"""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from concurrent import futures
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from heatbeam.bench import user_job
from heatbeam.transforms import heatmaps
from heatbeam.transforms.engine import engine
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources import images as decoding
from tests.benchmarks import figures, models, samples, settings

GRAD_CAM_GOAL = figures.Goal(low=3.0)
SCORE_CAM_GOAL = figures.Goal(low=5.0)

# tf-keras-vis' modules and classes, and the methods of the same name here.
_SEVERAL = (
    ("gradcam", "Gradcam", "grad_cam"),
    ("gradcam_plus_plus", "GradcamPlusPlus", "grad_cam_plus_plus"),
    ("layercam", "Layercam", "layer_cam"),
)

_BATCH = 16
_SIDE = 224
# MobileNetV2's last convolution, which tf-keras-vis finds by itself: a pass for each of 1280 channels.
_SCORE_LAYER = "Conv_1"
_SCORE_CLASS = 7
_SCORE_PASS = 8  # small enough for the caches of a core that has a batch of its own

# torchvision's counterpart of an application, for pytorch-grad-cam: its name, the part whose last layer that library's
# README explains, and what it has in common with the application.
_TORCHVISION = {
    "MobileNetV2": ("mobilenet_v2", "features", "the same architecture"),
    "ResNet50V2": ("resnet50", "layer4", "version 1, which has 1.17 times the multiplications of ResNet50V2"),
}

NOT_INSTALLED = "{} cannot be imported, so its figures are left out; {}"

Explain = Callable[[np.ndarray, list[int]], object]
"""Preprocessed float32 images and one class id each to whatever the peer returns."""


def measure(options: settings.Options) -> list[figures.Figure]:
    """Grad-CAM and Score-CAM against every peer that can be imported."""
    rounds = 2 if options.quick else 5
    keras.utils.disable_interactive_logging()  # progress bars of the peers
    found = []
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        paths = _photo_files(pathlib.Path(folder))
        for name in models.APPLICATIONS[1:] if options.quick else models.APPLICATIONS:
            found += _grad_cam(name, paths, rounds)
            found += _several_methods(name, paths, rounds)
        found += _score_cam(paths[0], 1 if options.quick else 2)
    return found


def missing() -> list[str]:
    """What to say about the peers that are not installed."""
    return [NOT_INSTALLED.format(name, hint) for name, (module, hint) in _PEERS.items() if _imported(module) is None]


_PEERS = {
    "tf-keras-vis": ("tf_keras_vis.gradcam", "pip install 'heatbeam[bench]'"),
    "Xplique": (
        "xplique.attributions",
        "pip install xplique 'tensorflow==2.20.*'; its releases ask for TensorFlow 2.20 or older, so it has no extra",
    ),
    "pytorch-grad-cam": ("pytorch_grad_cam", "pip install torch torchvision grad-cam"),
}


def _imported(module: str) -> Any:
    """The module, or None if it cannot be imported."""
    # torch imports Triton where it finds it, for models that it compiles; none is compiled here. Triton and TensorFlow
    # each bring an LLVM, and where Triton's is loaded second it ends the process.
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def _photo_files(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = []
    for number, data in enumerate(samples.photos(_BATCH)):
        paths.append(folder / f"{number:02d}.jpg")
        paths[-1].write_bytes(data)
    return paths


def _loaded(paths: list[pathlib.Path]) -> np.ndarray:
    """The images as a notebook loads them, in the applications' range of -1 to 1."""
    pixels = [np.asarray(Image.open(path).convert("RGB").resize((_SIDE, _SIDE))) for path in paths]
    return np.stack(pixels).astype(np.float32) / 127.5 - 1


def _ours(which: engine.Engine, paths: list[pathlib.Path]) -> list[np.ndarray]:
    """Decode, explain and bring the maps to the size of the input, as the peers return them."""
    how = decode_options.ImageOptions(
        height=_SIDE,
        width=_SIDE,
        channels=3,
        resize="squash",
        interpolation="bilinear",
        crop_fraction=1.0,
        pad_value=0,
        decoder="pillow",
        resampler="pillow",
        exif=False,
        draft=False,
        max_pixels=100_000_000,
    )
    pixels = np.stack([decoding.decode_image(path.read_bytes(), None, how)[0] for path in paths])
    explained = which.explain(pixels, [(_SCORE_CLASS,)] * len(paths), {})
    size = (_SIDE, _SIDE)
    view = (0.0, 0.0, *size)
    return [
        heatmaps.heatmap(maps[0], size, rectify=True, interpolation="bilinear", view=view, image_size=size)
        for one in explained
        for _, _, maps in one.maps
    ]


def _theirs(explain: Explain, paths: list[pathlib.Path], class_ids: list[int]) -> object:
    return explain(_loaded(paths), class_ids)


def _grad_cam(name: str, paths: list[pathlib.Path], rounds: int) -> list[figures.Figure]:
    ours = engine.Engine(models.engine_spec(models.application(name), (models.method("grad_cam"),), ("label",)))
    model, both = models.logits_model(name)
    compiled = grad_cam_by_tape(both)
    size = (_SIDE, _SIDE)

    def plain(inputs: np.ndarray, class_ids: list[int]) -> np.ndarray:
        return tf.image.resize(compiled(tf.constant(inputs), tf.constant(class_ids)[:, None]), size).numpy()

    other, _, likeness = _TORCHVISION[name]
    peers: dict[str, tuple[Explain | None, figures.Goal | None, str]] = {
        "tf-keras-vis": (_tf_keras_vis(model, "gradcam", "Gradcam"), GRAD_CAM_GOAL, ""),
        "Xplique": (_xplique(model), GRAD_CAM_GOAL, ""),
        "keras-explainable's code": (plain, None, ""),
        f"pytorch-grad-cam on torchvision's {other}": (_pytorch_grad_cam(name), None, f"; {other} is {likeness}"),
    }
    ids = [_SCORE_CLASS] * len(paths)
    ours_once = functools.partial(_ours, ours, paths)
    return [
        figures.speedup(
            f"Grad-CAM over {peer}, {name}",
            figures.alternate(ours_once, functools.partial(_theirs, explain, paths, ids), rounds),
            goal,
            f"images per second over the peer's, {len(paths)} JPEG files of 500x375, loading included, one thread of "
            f"Python; {user_job.device()}{note}",
            work=len(paths),
        )
        for peer, (explain, goal, note) in peers.items()
        if explain is not None
    ]


def grad_cam_by_tape(model: Any) -> Any:
    """Grad-CAM as keras-explainable has it: a tape over the whole model and a batch Jacobian, compiled.

    Args:
        model: a Keras model that returns logits and activations.

    Returns:
        A function of inputs (B, H, W, C) and class ids (B, L) that gives maps (B, h, w, L).
    """

    def explain(inputs: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            logits, activations = model(inputs, training=False)
            chosen = tf.gather(logits, class_ids, batch_dims=1)
        weights = tf.reduce_mean(tape.batch_jacobian(chosen, activations), axis=(2, 3))
        return tf.einsum("bhwk,blk->bhwl", activations, weights)

    return tf.function(explain, autograph=False, reduce_retracing=True)


def _several_methods(name: str, paths: list[pathlib.Path], rounds: int) -> list[figures.Figure]:
    """What a peer computes method by method, ours computes from one pass."""
    model, _ = models.logits_model(name)
    found = [_tf_keras_vis(model, module, method) for module, method, _ in _SEVERAL]
    peers = [explain for explain in found if explain is not None]
    if len(peers) < len(_SEVERAL):
        return []
    methods = tuple(models.method(method) for _, _, method in _SEVERAL)
    ours = engine.Engine(models.engine_spec(models.application(name), methods, ("label",)))
    ids = [_SCORE_CLASS] * len(paths)

    def theirs() -> None:
        inputs = _loaded(paths)
        for explain in peers:
            explain(inputs, ids)

    return [
        figures.speedup(
            f"{len(methods)} methods over tf-keras-vis, {name}",
            figures.alternate(lambda: _ours(ours, paths), theirs, rounds),
            None,
            f"images per second over the peer's for {', '.join(m.method for m in methods)}, {len(paths)} JPEG files, "
            f"loading included, one thread of Python; {user_job.device()}",
            work=len(paths),
        )
    ]


def _tf_keras_vis(model: Any, module: str, method: str, **arguments: Any) -> Explain | None:
    found = _imported(f"tf_keras_vis.{module}")
    if found is None:
        return None
    from tf_keras_vis.utils.scores import CategoricalScore

    # Already a model of logits: the library would take a softmax off here. Cloning would copy the random weights too.
    explainer = getattr(found, method)(model, clone=False)
    return lambda x, ids: explainer(CategoricalScore(ids), x, **arguments)


def _xplique(model: Any) -> Explain | None:
    found = _imported("xplique.attributions")
    if found is None:
        return None
    explainer = found.GradCAM(model, batch_size=_BATCH)
    classes = model.output_shape[-1]
    return lambda x, ids: explainer(x, tf.one_hot(ids, classes))


def _pytorch_grad_cam(name: str) -> Explain | None:
    """Grad-CAM over the counterpart of an application, with random weights and torch's own choice of threads.

    None too where TensorFlow has a GPU and torch cannot use it: the two would not be on the same device.
    """
    found = _imported("pytorch_grad_cam")
    if found is None:
        return None
    import torch
    import torchvision
    from pytorch_grad_cam.utils import model_targets

    gpu = user_job.device() != "CPU"
    if gpu and not torch.cuda.is_available():
        return None
    architecture, layer, _ = _TORCHVISION[name]
    model = getattr(torchvision.models, architecture)(weights=None).to("cuda" if gpu else "cpu").eval()
    explainer = found.GradCAM(model=model, target_layers=[getattr(model, layer)[-1]])

    def explain(inputs: np.ndarray, class_ids: list[int]) -> np.ndarray:
        channels_first = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        targets = [model_targets.ClassifierOutputTarget(class_id) for class_id in class_ids]
        return explainer(input_tensor=torch.from_numpy(channels_first), targets=targets)

    return explain


def _score_cam(path: pathlib.Path, rounds: int) -> list[figures.Figure]:
    name = "MobileNetV2"
    model, _ = models.logits_model(name)
    explain = _tf_keras_vis(model, "scorecam", "Scorecam", penultimate_layer=_SCORE_LAYER, batch_size=_BATCH)
    if explain is None:
        return []
    method = models.method("score_cam", variant="tf_keras_vis")
    spec = models.engine_spec(
        models.application(name), (method,), ("label",), target_layer=_SCORE_LAYER, pass_batch_size=_SCORE_PASS
    )
    ours = engine.Engine(spec)
    threads = os.cpu_count() or 1

    def all_threads() -> None:
        with futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: _ours(ours, [path]), range(threads)))

    pairs = figures.alternate(all_threads, lambda: explain(_loaded([path]), [_SCORE_CLASS]), rounds)
    return [
        figures.speedup(
            f"Score-CAM over tf-keras-vis, {name}",
            [(seconds / threads, theirs) for seconds, theirs in pairs],
            SCORE_CAM_GOAL,
            f"images per second over the peer's, the 1280 channels of {_SCORE_LAYER}; ours {threads} images at once, "
            f"one per thread as in the job, passes of {_SCORE_PASS}; the peer one after another, passes of {_BATCH}; "
            f"{user_job.device()}",
            work=1,
        )
    ]
