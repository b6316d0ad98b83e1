"""The compiled pass as StableHLO: what is written, and, where JAX is, that it computes what the engine does."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import pathlib
import time

import keras
import numpy as np
import pytest

from heatbeam import cli, config
from heatbeam.bench import command, host_work, models, samples, seeded_weights, stablehlo
from heatbeam.transforms.engine import specs
from heatbeam.transforms.metrics import image_evidence, protocols
from heatbeam.transforms.models import model_source
from tests.support import paths

SIDE, CLASSES, BATCH = 32, 5, 3
SCALED = model_source.Preprocessing("none", (0.5, 1.0, 2.0), (-1.0, 0.0, 1.0))


def small_model() -> keras.Model:
    """Every kind of weight that seeded values are chosen for by name, and a dropout, whose state is no argument."""
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(64, 3, strides=2, name="wide"),
            keras.layers.DepthwiseConv2D(3, name="deep"),
            keras.layers.BatchNormalization(name="normal"),
            keras.layers.Activation("relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(256),
            keras.layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )


def spec(*methods: str, precision: str = "float32") -> specs.EngineSpec:
    source = model_source.ModelSource(factory=f"{__name__}:small_model")
    made = tuple(models.method(name) for name in methods)
    return models.engine_spec(source, made, ("label", "predicted"), preprocessing=SCALED, precision=precision)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the passes of one model."""
    folder = tmp_path_factory.mktemp("exported")
    made = list(stablehlo.export(spec("grad_cam", "layer_cam", "score_cam"), folder, "small", (1, BATCH), (BATCH,)))
    assert made == [f"{folder}/small-float32.json", f"{folder}/small-float32-forward.json"]
    return folder


def description(folder: pathlib.Path, name: str = "small-float32") -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def test_arguments_are_images_class_ids_and_every_weight_in_order(exported: pathlib.Path) -> None:
    arguments = description(exported)["arguments"]
    weights = [one for one in arguments if one["role"] == "weight"]
    assert arguments[:2] == [
        {"name": "images", "role": "images", "shape": ["batch", SIDE, SIDE, 3], "dtype": "uint8"},
        {"name": "class_ids", "role": "class_ids", "shape": ["batch", 1], "dtype": "int32"},
    ]
    expected = [list(w.shape) for w in small_model().weights if "seed" not in w.path]
    named = {"/".join(one["name"].split("/")[-2:]): one["shape"] for one in weights}
    assert {name: named[name] for name in ("wide/kernel", "deep/kernel", "normal/gamma")} == {
        "wide/kernel": [3, 3, 3, 64],
        "deep/kernel": [3, 3, 64, 1],
        "normal/gamma": [64],
    }
    assert sorted(one["shape"] for one in weights) == sorted(expected)
    assert len({one["name"] for one in arguments}) == len(arguments)


def test_what_the_preprocessing_holds_is_a_constant_with_its_value(exported: pathlib.Path) -> None:
    constants = [one["value"] for one in description(exported)["arguments"] if one["role"] == "constant"]
    assert constants == [list(SCALED.scale or ()), list(SCALED.offset or ())]


def test_results_are_those_of_the_shared_pass_and_only_methods_that_share_it(exported: pathlib.Path) -> None:
    about = description(exported)
    assert about["methods"] == ["grad_cam", "layer_cam"]
    assert {one["name"]: (one["shape"], one["dtype"]) for one in about["results"]} == {
        "class_ids": (["batch", 2], "int32"),
        "finite": (["batch"], "bool"),
        "logits": (["batch", 2], "float32"),
        "maps/grad_cam": (["batch", 13, 13, 2], "float32"),
        "maps/layer_cam": (["batch", 13, 13, 2], "float32"),
        "probabilities": (["batch", 2], "float32"),
        "ranks": (["batch", 2], "int32"),
        "top": (["batch", 1], "int32"),
    }
    forward = description(exported, "small-float32-forward")
    assert [(one["name"], one["shape"]) for one in forward["results"]] == [("logits", ["batch", CLASSES])]
    assert [one["role"] for one in forward["arguments"]].count("class_ids") == 0


def test_no_weight_and_no_path_of_this_machine_is_in_a_module(exported: pathlib.Path) -> None:
    weights_bytes = 4 * sum(int(np.prod(w.shape)) for w in small_model().weights)
    for size, name in description(exported)["modules"].items():
        module = gzip.decompress((exported / name).read_bytes())
        assert len(module) < weights_bytes / 4, size
        assert b".py" not in module and str(paths.ROOT).encode() not in module


def test_the_reference_is_what_the_engine_computes_with_the_seeded_weights(exported: pathlib.Path) -> None:
    about = description(exported)
    stored = np.load(exported / about["reference"])
    ready = stablehlo.load(spec("grad_cam", "layer_cam"))
    one = stablehlo.artifact(ready, "maps", 1)
    stablehlo.seed_weights(one)
    assert [a["shape"] for a in one.arguments[2:]] == [a["shape"] for a in about["arguments"][2:]]
    index, kernel = next((i, w) for i, w in one.weights.items() if w.path.endswith("wide/kernel"))
    assert np.array_equal(kernel.numpy(), seeded_weights.values(about["arguments"][index], index, about["seed"]))
    maps = ready._run_shared(stored["images"], stored["class_ids"])["maps"]["grad_cam"].numpy()
    assert np.abs(stored["maps/grad_cam"]).max() > 0
    np.testing.assert_allclose(maps, stored["maps/grad_cam"], rtol=1e-4, atol=1e-5 * np.abs(maps).max())


@pytest.mark.parametrize(
    ("path", "shape", "mean", "deviation"),
    [
        ("a/kernel", (3, 3, 8, 4), 0.0, (2 / 72) ** 0.5),
        ("a/kernel", (3, 3, 8, 1), 0.0, (2 / 9) ** 0.5),
        ("a/kernel", (50, 4), 0.0, 0.2),
        ("a/gamma", (8,), 1.0, 0.1),
        ("a/moving_variance", (8,), 1.0, 0.1),
        ("a/moving_mean", (8,), 0.0, 0.1),
    ],
)
def test_weights_are_drawn_by_their_kind(path: str, shape: tuple[int, ...], mean: float, deviation: float) -> None:
    assert seeded_weights.distribution(path, shape) == (mean, pytest.approx(deviation))


def test_seeded_values_have_the_mean_and_deviation_and_a_bound() -> None:
    argument = {"shape": [100, 1000], "dtype": "float32", "mean": 1.0, "deviation": 0.1}
    drawn = seeded_weights.values(argument, 7, 0)
    assert drawn.shape == (100, 1000) and drawn.dtype == np.float32
    assert drawn.mean() == pytest.approx(1.0, abs=0.002) and drawn.std() == pytest.approx(0.1, abs=0.001)
    assert np.abs(drawn - 1).max() <= 0.1 * 3**0.5 + 1e-6
    assert np.array_equal(drawn, seeded_weights.values(argument, 7, 0))
    assert not np.array_equal(drawn, seeded_weights.values(argument, 8, 0))


def test_a_size_that_an_axis_has_already_is_no_operation_and_locations_are_gone() -> None:
    text = (
        '#loc1 = loc("/home/a.py":1:0)\n'
        "module @m attributes {mhlo.is_dynamic = false} {\n"
        '  func.func @main(%arg0: tensor<2x3xf32> loc("x"), %arg1: tensor<i32>) -> tensor<2x3xf32> {\n'
        "    %1 = stablehlo.set_dimension_size %0#1, %arg1, dim = 1 : (tensor<2x3xf32>, tensor<i32>)"
        " -> tensor<2x3xf32> loc(fused[#loc1])\n"
        "    return %1 : tensor<2x3xf32> loc(#loc)\n"
    )
    assert stablehlo._plain(text) == (
        "module @m {\n"
        "  func.func @main(%arg0: tensor<2x3xf32>, %arg1: tensor<i32>) -> tensor<2x3xf32> {\n"
        "    %1 = stablehlo.reshape %0#1 : (tensor<2x3xf32>) -> tensor<2x3xf32>\n"
        "    return %1 : tensor<2x3xf32>"
    )


def test_methods_with_passes_of_their_own_alone_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(stablehlo.ExportError, match="score_cam need passes of their own"):
        list(stablehlo.export(spec("score_cam"), tmp_path, "small", (1,)))


def test_a_module_that_lacks_an_argument_is_refused() -> None:
    text = "func.func @main(%arg0: tensor<2x3xui8>) -> tensor<2xf32> {"
    images = {"name": "images", "shape": [2, 3], "dtype": "uint8"}
    logits = {"name": "logits", "shape": [2], "dtype": "float32"}
    stablehlo._check(text, [images], [logits])
    with pytest.raises(stablehlo.ExportError, match="arguments are not the graph's: 1, expected 2"):
        stablehlo._check(text, [images, images], [logits])


def test_the_host_localizes_as_the_step_does() -> None:
    explained = host_work.explanation(0, np.random.default_rng(0).normal(size=(1, 7, 7)).astype(np.float32))
    ours = [one.evidence for one in host_work.localize(explained).maps if one.method != image_evidence.MODEL]
    _, theirs = image_evidence.localize(explained, protocols.DEFAULT, host_work._GROUPS, True)
    expected = [one.evidence for one in theirs.maps if one.method != image_evidence.MODEL]
    assert len(ours) == len(expected) == 4
    for one, other in zip(ours, expected, strict=True):
        assert (one.class_id, one.values) == (other.class_id, other.values)
        assert np.array_equal(one.box_hits, other.box_hits)


def test_the_host_is_measured_in_threads_and_processes(tmp_path: pathlib.Path) -> None:
    photos = samples.photos(2)
    assert host_work.decode(photos[0], SIDE, SIDE, 3).shape == (SIDE, SIDE, 3)
    slow = host_work.threads_rate(lambda number: time.sleep(0.01), 2, 0.2)
    assert 50 < slow < 201  # two threads that wait 10 ms each
    list(stablehlo.write_photos(tmp_path))
    assert len(host_work.read_photos(tmp_path)) == stablehlo.PHOTOS
    stream = io.StringIO()
    found = host_work.measure(photos, SIDE, (1,), 1, 0.01, stream)
    assert [(one["work"], one["kind"]) for one in found] == [
        (work, kind) for work in ("decode", "localize", "decode and localize") for kind in ("threads", "processes")
    ]
    assert all(one["least"] == one["median"] > 0 for one in found) and stream.getvalue().count("images/s") == 6


def test_the_command_line_exports_and_says_how_to_go_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(stablehlo, "export_applications", lambda *given: asked.append(given) or iter(["made.json"]))
    assert cli.main(["bench", "--export-stablehlo", str(tmp_path), "--quick"]) == cli.OK
    assert asked == [(tmp_path, True)]
    out = capsys.readouterr().out
    assert out.startswith("made.json\n") and f"heatbeam.bench.run_stablehlo {tmp_path} --json" in out
    assert cli.main(["bench", "--export-stablehlo", str(tmp_path), "--only", "scaling"]) == cli.USAGE
    assert "leave out CONFIG.yaml and --export-stablehlo" in capsys.readouterr().err


def test_a_users_own_model_is_exported_by_its_configuration(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stablehlo, "BATCH_SIZES", (1,))
    monkeypatch.setattr(stablehlo, "FORWARD_BATCH_SIZES", ())
    pattern = samples.write_shards(tmp_path / "data", samples.tiny(2), 1)
    (tmp_path / "own.yaml").write_text(
        json.dumps(
            {
                "input": {"tfrecord": pattern, "features": {"image": "image/encoded", "label": "image/class/label"}},
                "model": {"factory": f"{__name__}:small_model", "preprocessing": "tf"},
                "explain": {"methods": ["grad_cam"]},
                "output": {"directory": str(tmp_path / "run")},
            }
        )
    )
    stream = io.StringIO()
    configured = config.load(str(tmp_path / "own.yaml"), [])
    command.export_stablehlo(configured, False, str(tmp_path / "to"), stream)
    (about,) = [p for p in (tmp_path / "to").glob("*.json")]
    assert str(about) in stream.getvalue() and not (tmp_path / "run").exists()


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_computes_the_engines_maps(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    from heatbeam.bench import run_stablehlo

    path = tmp_path / "measured.json"
    options = ["--batch-sizes", "3", "1", "--repeats", "1", "--seconds", "0.01", "--loops", "1x1", "--loop-batch", "3"]
    list(stablehlo.write_photos(exported))
    run_stablehlo.main([str(exported), "--json", str(path), "--loop-seconds", "0.1", *options])
    measured = json.loads(path.read_text())
    maps = [row for row in measured["modules"] if row["pass"] == "maps"]
    assert [row["batch_size"] for row in maps] == [3, 1] and len(measured["modules"]) == 3
    assert all(set(row["differences"]) == {"logits", "maps/grad_cam", "maps/layer_cam"} for row in maps)
    assert all(value < 1e-4 for row in maps for value in row["differences"].values())
    assert [row["localize"] for row in measured["loops"]] == [True, False]
