"""What holds for every method and wrapper in the registry, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import passes, registry, targets
from tests.support import exposed_double

# Few passes are enough here; the numbers themselves are tested beside each method.
FEWER_PASSES = {
    "repetitions": 2,
    "steps": 2,
    "masks": 5,
    "channels": 4,
}
CLASS_IDS = np.array([[0, 3], [1, 2], [4, 0]], np.int32)
LAYERS = ("act3", "last_act")


def _options(name):
    known = {**registry.METHODS, **registry.WRAPPERS}[name].options
    return registry.resolve_options(name, {key: FEWER_PASSES[key] for key in known if key in FEWER_PASSES})


def explain_with(name, double, batch_size):
    """``explain(inputs, class_ids)`` of a method as an engine runs it, traceable."""
    method, options = registry.get(name), _options(name)

    def explain(inputs, class_ids):
        layers = LAYERS if method.kind == registry.FUSED_LAYERS else ()
        logits, exposed = double.expose(inputs, layers)
        if method.kind in (registry.ONE_PASS, registry.FUSED_LAYERS):
            scores = targets.target_scores(logits, class_ids, "logit")
            slopes = tuple(targets.score_gradients(scores, activations) for activations in exposed)
            if method.kind == registry.ONE_PASS:
                return method.function(exposed[0], slopes[0], **options)
            return method.function(exposed, slopes, **options)
        return method.function(passes.Pass(double, inputs, class_ids, exposed[0], logits, batch_size), **options)

    return explain


def traced(explain):
    signature = [tf.TensorSpec((None, 64, 64, 3), tf.float32), tf.TensorSpec((None, 2), tf.int32)]
    return tf.function(explain, autograph=False, input_signature=signature)


def _check(run, shapes, limit=2e-5):
    inputs = exposed_double.golden_inputs()[:3].copy()
    maps = run(inputs, CLASS_IDS).numpy()
    assert maps.dtype == np.float32 and np.isfinite(maps).all()
    assert maps.shape[0] == 3 and maps.shape[1:3] in shapes and maps.shape[3] == 2
    assert np.ptp(maps, axis=(1, 2)).max() > 0
    # Neither the input nor, on a second run, the maps have changed.
    np.testing.assert_array_equal(inputs, exposed_double.golden_inputs()[:3])
    np.testing.assert_array_equal(run(inputs, CLASS_IDS), maps)
    alone = np.concatenate([run(inputs[i : i + 1], CLASS_IDS[i : i + 1]) for i in range(3)])
    exposed_double.assert_maps_close(alone, maps, limit)
    swapped = run(inputs, CLASS_IDS[:, ::-1]).numpy()
    exposed_double.assert_maps_close(swapped[..., ::-1], maps, limit)
    return maps


class _Measuring(exposed_double.ExposedDouble):
    """Notes the largest forward pass through the model or its head."""

    def __init__(self, model, layer):
        super().__init__(model, layer)
        self.largest = tf.Variable(0)

    def logits(self, inputs):
        self.largest.assign(tf.maximum(self.largest, tf.shape(inputs)[0]))
        return super().logits(inputs)

    def head(self, inputs, activations, bypass=None):
        self.largest.assign(tf.maximum(self.largest, tf.shape(activations)[0]))
        return super().head(inputs, activations, bypass)


@pytest.mark.parametrize("name", registry.METHODS)
def test_methods(name):
    method = registry.get(name)
    golden = exposed_double.golden_model("tiny_gap" if "linear_gap_head" in method.needs else "tiny_flat")
    double = _Measuring(golden.keras_model, golden.layer)
    at_input = method.kind == registry.INPUT_GRADIENT or name == "rise"
    # Ablation-CAM divides by the logit, which amplifies rounding where it is near 0.
    limit = 1e-4 if name == "ablation_cam" else 2e-5
    # Passes of at most 4 images: three images and one image alone are cut into different passes.
    _check(traced(explain_with(name, double, 4)), {(64, 64) if at_input else (8, 8)}, limit)
    assert double.largest.numpy() <= 4


@pytest.mark.parametrize("name", ["score_cam", "integrated_gradients"])
def test_batch_size_changes_nothing(name):
    double = exposed_double.golden_model("tiny_flat")
    inputs = exposed_double.golden_inputs()[:3]
    maps = [traced(explain_with(name, double, size))(inputs, CLASS_IDS) for size in (5, 64)]
    exposed_double.assert_maps_close(maps[0], maps[1], 2e-5)


@pytest.mark.parametrize("name", registry.WRAPPERS)
@pytest.mark.parametrize("method", ["layer_cam", "gradients"])
def test_wrappers(name, method):
    double = exposed_double.golden_model("tiny_flat")
    explain, wrapper = explain_with(method, double, 64), registry.get_wrapper(name)

    def run(inputs, class_ids):
        return wrapper.function(lambda changed: explain(changed, class_ids), inputs, **_options(name))

    _check(traced(run), {(64, 64), (8, 8)})
