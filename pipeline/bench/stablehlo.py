"""Write the engine's compiled pass as StableHLO, so that a machine without TensorFlow can run and measure it.

A folder of exports holds, for each model and precision, a JSON description and one module per batch size. Weights are
arguments of a module, never part of it: a module of any model is a few dozen kilobytes, and whoever runs it makes
weights by `seeded_weights` from the description. `run_stablehlo` is the reader.

Description, ``NAME.json``::

    model, precision, pass   what was exported; pass is ``maps`` (the shared pass) or ``forward`` (class scores alone)
    methods, target_layer    of the maps
    stablehlo                version of the modules, which later versions read too
    seed                     of the weights
    modules                  batch size: file, a gzipped portable artifact
    arguments                name, role (images, class_ids, weight, constant), shape, dtype; in the module's order.
                             A weight has mean and deviation, a constant its value. "batch" stands for the batch size.
    results                  name, shape, dtype; in the module's order
    reference                file with images, class_ids, maps and logits as TensorFlow computes them on this machine
                             with these weights, for the bench's models in float32 whatever the precision; or null
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam import config
from heatbeam.bench import models, samples, seeded_weights
from heatbeam.job import plan
from heatbeam.runners import runner_options
from heatbeam.transforms import explain
from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.sources import images as decoding

BATCH_SIZES = (1, 8, 32, 128, 256)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FORWARD_BATCH_SIZES = (128,)
"""Batch sizes of the bare forward pass that stands beside the maps."""

SEED = 0
PHOTOS = 64

_REFERENCE_IMAGES = 4

# Where a location stands after an operation or an argument; names of nodes have no parentheses.
_LOCATION = re.compile(r" loc\((?:[^()]|\([^()]*\))*\)")
# Attributes of TensorFlow's own, which say nothing that changes a value.
_ATTRIBUTES = re.compile(r" \{mhlo\.frontend_attributes = \{[^{}]*\}\}| attributes \{mhlo\.[^{}]*\}")
# TensorFlow states the size of an axis that is of that size already.
_STATED_SIZE = re.compile(
    r"stablehlo\.set_dimension_size (%\w+(?:#\d+)?), %\w+, dim = \d+ : \((tensor<[^<>?]*>), tensor<i32>\) -> \2$", re.M
)
_MAIN = re.compile(r"func\.func (?:public )?@main\((.*?)\) -> \(?(.*?)\)? \{$", re.M)
_TENSOR = re.compile(r"tensor<((?:\d+x)*)(\w+)>")
_MLIR_DTYPES = {"ui8": "uint8", "i32": "int32", "i64": "int64", "i1": "bool", "f32": "float32", "f16": "float16",
                "bf16": "bfloat16", "f64": "float64"}  # fmt: skip


class ExportError(ValueError):
    """The pass cannot be written as StableHLO."""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A compiled pass for one batch size.

    Attributes:
        module: portable artifact of StableHLO `version`.
        version: such as ``1.13.7``.
        arguments, results: as in the description, with the batch size in their shapes.
        weights: the variables of the engine's model, by their place among the arguments.
    """

    module: bytes
    version: str
    arguments: tuple[dict[str, Any], ...]
    results: tuple[dict[str, Any], ...]
    weights: Mapping[int, keras.Variable]


def export_applications(folder: pathlib.Path, quick: bool) -> Iterator[str]:
    """Grad-CAM of the bench's models in every precision, photos to decode, and references; the files as they are made.

    Args:
        folder: where to; made if needed.
        quick: only MobileNetV2 in float32, for batches of 1 and 2.
    """
    yield from write_photos(folder)
    for name in models.APPLICATIONS[-1:] if quick else models.APPLICATIONS:
        for precision in PRECISIONS[:1] if quick else PRECISIONS:
            spec = models.engine_spec(
                models.application(name), (models.method("grad_cam"),), ("label",), precision=precision
            )
            sizes, forward_sizes = ((1, 2), (2,)) if quick else (BATCH_SIZES, FORWARD_BATCH_SIZES)
            yield from export(spec, folder, name, sizes, forward_sizes, with_reference=precision == PRECISIONS[0])


def export_configured(configured: config.RunConfig, folder: pathlib.Path) -> Iterator[str]:
    """The methods of a configuration that share a pass, on its model in its precision; the files as they are made."""
    with runner_options.connected(()):
        spec = explain._with_local_files(plan.make(configured).engine_spec)
        source = spec.model
        name = source.application or (source.factory or pathlib.PurePath(source.path or "model").stem)
        yield from write_photos(folder)
        yield from export(spec, folder, re.sub(r"\W+", "_", name), BATCH_SIZES, FORWARD_BATCH_SIZES)


def write_photos(folder: pathlib.Path) -> Iterator[str]:
    """The bench's photos as JPEG files, for machines that do not have their source; their names."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for number, photo in enumerate(samples.photos(PHOTOS)):
        (photos / f"{number:03d}.jpg").write_bytes(photo)
    yield f"{photos}/*.jpg"


def export(
    spec: specs.EngineSpec,
    folder: pathlib.Path,
    name: str,
    batch_sizes: Sequence[int],
    forward_batch_sizes: Sequence[int] = (),
    with_reference: bool = True,
) -> Iterator[str]:
    """Write the shared pass of a specification, and its bare forward pass; the files as they are made.

    Args:
        spec: as of a run. Methods that do not share the pass are left out.
        folder: where to; made if needed.
        name: of the model, in the files' names.
        batch_sizes, forward_batch_sizes: of the maps and of the forward pass.
        with_reference: whether to write the reference; otherwise an earlier export of the model has.

    Raises:
        ExportError: no method shares the pass, or the graph has something that no module can have.
        loading.ModelError: as `engine.Engine` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready = load(spec)
    about = {
        "model": name,
        "precision": spec.precision,
        "methods": [method.label for method in ready.spec.methods],
        "target_layer": ready.description.layer.name,
        "seed": SEED,
    }
    for what, sizes in (("maps", batch_sizes), ("forward", forward_batch_sizes)):
        if not sizes:
            continue
        stem = f"{name}-{spec.precision}" + ("" if what == "maps" else f"-{what}")
        made = {size: artifact(ready, what, size) for size in sizes}
        modules = {size: f"{stem}-{size}.mlirbc.gz" for size in sizes}
        for size, one in made.items():
            # Without a time in the file, the same module is the same bytes.
            (folder / modules[size]).write_bytes(gzip.compress(one.module, mtime=0))
        last = made[sizes[-1]]
        tensors: dict[str, Any] = {
            "arguments": _described(last.arguments),
            "results": _described(last.results),
            "reference": f"{name}-reference.npz" if what == "maps" else None,
        }
        if what == "maps" and with_reference:
            _write_reference(ready, last, folder / tensors["reference"])
        description = about | {"pass": what, "stablehlo": last.version, "modules": modules} | tensors
        (folder / f"{stem}.json").write_text(_as_json(description), encoding="utf-8")
        yield f"{folder / stem}.json"


def load(spec: specs.EngineSpec) -> engine.Engine:
    """An engine with its weights as variables, and the methods of `spec` that share one pass.

    Raises:
        ExportError: there are none.
    """
    kinds = (registry.ONE_PASS, registry.FUSED_LAYERS)
    methods = tuple(m for m in spec.methods if registry.get(m.method).kind in kinds and m.wrapper is None)
    if not methods:
        left_out = ", ".join(m.label for m in spec.methods)
        raise ExportError(f"{left_out} need passes of their own; only one-pass methods without a wrapper are exported")
    return engine.Engine(dataclasses.replace(spec, methods=methods, constant_weights=False, xla=True, tune_batch=False))


def artifact(ready: engine.Engine, what: str, batch_size: int) -> Artifact:
    """A pass of an engine, compiled for one batch size.

    Args:
        ready: of `load`.
        what: ``maps``, all that the engine's shared pass gives; or ``forward``, the class scores.
        batch_size: images of a batch.

    Raises:
        ExportError: the module's arguments or results are not the graph's.
    """
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    shared: Any = ready._shared
    specs = [tf.TensorSpec((batch_size, *spec.shape[1:]), spec.dtype) for spec in shared.input_signature]
    python: Callable[..., Any] = shared.python_function
    if what == "forward":
        python, specs = lambda images: {"logits": ready.model.logits(ready._preprocess(images))}, specs[:1]
    # Traced anew for the one size: every shape in the module is a number.
    function = tf.function(python, autograph=False, jit_compile=True)
    text = _plain(function.experimental_get_compiler_ir(*specs)(stage="stablehlo"))
    graph = function.get_concrete_function(*specs)
    arguments, weights = _arguments(ready.model.keras_model, graph, specs)
    results = tuple(
        {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
        for name, tensor in _named(graph.structured_outputs)
    )
    _check(text, arguments, results)
    version = stablehlo.get_current_version()
    return Artifact(stablehlo.serialize_portable_artifact_str(text, version), version, arguments, results, weights)


def seed_weights(exported: Artifact) -> None:
    """Give the engine's model the weights that a reader of the description makes."""
    for index, weight in exported.weights.items():
        weight.assign(seeded_weights.values(exported.arguments[index], index, SEED))


def _plain(text: str) -> str:
    """A module's text without locations (they name files of this machine) and without attributes of other dialects."""
    lines = [line for line in _LOCATION.sub("", text).splitlines() if not line.startswith("#loc")]
    plain = _ATTRIBUTES.sub("", "\n".join(lines))
    return _STATED_SIZE.sub(r"stablehlo.reshape \1 : (\2) -> \2", plain)


def _arguments(
    model: keras.Model, graph: Any, specs: Sequence[tf.TensorSpec]
) -> tuple[tuple[dict[str, Any], ...], dict[int, keras.Variable]]:
    """The description of every argument, and the weights by their place."""
    handles = {id(weight.value.handle): weight for weight in model.weights}
    weights: dict[int, keras.Variable] = {}
    found = [
        {"name": role, "role": role, "shape": list(spec.shape), "dtype": spec.dtype.name}
        for role, spec in zip(("images", "class_ids"), specs, strict=False)
    ]
    for captured in graph.captured_inputs:
        if captured.dtype != tf.resource:
            value = captured.numpy()
            about = {"name": f"constant_{len(found)}", "role": "constant", "value": value.tolist()}
        elif id(captured) in handles:
            value = weights[len(found)] = handles[id(captured)]
            mean, deviation = seeded_weights.distribution(value.path, value.shape)
            about = {"name": value.path, "role": "weight", "mean": mean, "deviation": deviation}
        else:
            raise ExportError("the model's pass uses a variable that is no weight of the model; it cannot be exported")
        found.append(about | {"shape": list(value.shape), "dtype": keras.backend.standardize_dtype(value.dtype)})
    return tuple(found), weights


def _named(structure: Any, prefix: str = "") -> Iterator[tuple[str, tf.Tensor]]:
    """The tensors of nested dictionaries in TensorFlow's order, keys sorted: ``maps/grad_cam``."""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _named(structure[key], f"{prefix}{key}/")
    else:
        yield prefix.rstrip("/"), structure


def _check(text: str, arguments: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> None:
    """Compare the description with the module itself: XLA drops an argument that it needs as a constant."""
    main = _MAIN.search(text)
    if main is None:
        raise ExportError("the module has no function main; this version of TensorFlow writes StableHLO differently")
    for what, types, described in (("arguments", main[1], arguments), ("results", main[2], results)):
        inside = [
            (_MLIR_DTYPES.get(one[2], one[2]), [int(n) for n in one[1].split("x")[:-1]])
            for one in _TENSOR.finditer(types)
        ]
        expected = [(one["dtype"], list(one["shape"])) for one in described]
        if inside != expected:
            raise ExportError(f"the module's {what} are not the graph's: {len(inside)}, expected {len(expected)}")


def _described(tensors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """With "batch" for the first axis, but for weights and constants."""
    return [
        dict(one) if one.get("role") in ("weight", "constant") else {**one, "shape": ["batch", *one["shape"][1:]]}
        for one in tensors
    ]


def _as_json(description: Mapping[str, Any]) -> str:
    """With a line for each argument and result: there are hundreds."""
    lines = []
    for key, value in description.items():
        listed = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if listed else json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _write_reference(ready: engine.Engine, exported: Artifact, path: pathlib.Path) -> None:
    """What TensorFlow computes for a few photos, without XLA, with the weights that readers make."""
    seed_weights(exported)
    height, width, channels = ready.description.input_size
    options = decoding.ImageOptions(height, width, channels, "squash", "bilinear", 1.0, 0, False, False, 10**8)
    photos = samples.photos(_REFERENCE_IMAGES)
    pixels = np.stack([decoding.decode_image(photo, None, options)[0] for photo in photos])
    given = (np.arange(_REFERENCE_IMAGES)[:, None] + np.arange(ready._given)) % ready.description.classes
    shared: Any = ready._shared
    run = tf.function(shared.python_function, autograph=False)
    out = dict(_named(run(tf.constant(pixels), tf.constant(given.astype(np.int32)))))
    maps = {name: tensor.numpy() for name, tensor in out.items() if name.startswith("maps/") or name == "logits"}
    np.savez_compressed(path, images=pixels, class_ids=given.astype(np.int32), **maps)
