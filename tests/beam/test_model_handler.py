"""The handler under Beam's own RunInference: its answers are the engine's."""

from __future__ import annotations

import apache_beam as beam
import keras
import numpy as np
import pytest
from apache_beam.ml.inference import base
from apache_beam.testing import util

import heatbeam
from heatbeam.transforms import explain
from heatbeam.transforms.models import model_source
from tests.support import engine_specs, keras_models

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IMAGES = np.random.default_rng(5).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def spec(path: str = keras_models.GAP):
    return engine_specs.spec(engine_specs.file(path), engine_specs.method("cam"), targets=("predicted",), batch_size=2)


def expected(path: str = keras_models.GAP) -> list[tuple[int, list[float]]]:
    """The first choice of each image and the sums over the rows of its map, by the engine itself."""
    engine, _ = explain.acquire_engine(spec(path))
    return [in_short(one) for one in engine.explain(IMAGES, [()] * len(IMAGES), {})]


def in_short(one) -> tuple[int, list[float]]:
    (_, _, maps), *_ = one.maps
    return one.predicted_class_id, np.round(maps[0].sum(axis=1).astype(float), 3).tolist()


def answers(results: beam.PCollection) -> beam.PCollection:
    return results | beam.Map(lambda result: in_short(result.inference))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    """Another model of the same size, as a file."""
    path = str(tmp_path_factory.mktemp("other") / "other.keras")
    keras_models.classifier(classes=4, size=64).save(path)
    return path


def test_answers_are_those_of_the_engine_and_keys_stay_with_them():
    handler = heatbeam.CamModelHandler(spec())
    with beam.Pipeline(runner=RUNNER) as pipeline:
        images = pipeline | beam.Create(list(enumerate(IMAGES)))
        keyed = images | base.RunInference(base.KeyedModelHandler(handler))
        found = keyed | beam.MapTuple(lambda key, result: (key, in_short(result.inference), result.model_id))
        util.assert_that(found, util.equal_to([(i, one, keras_models.GAP) for i, one in enumerate(expected())]))


def test_batches_are_those_of_the_specification_unless_told_otherwise():
    assert heatbeam.CamModelHandler(spec()).batch_elements_kwargs() == {"min_batch_size": 2, "max_batch_size": 2}
    wide = heatbeam.CamModelHandler(spec(), min_batch_size=4, max_batch_size=64)
    assert wide.batch_elements_kwargs() == {"min_batch_size": 4, "max_batch_size": 64}
    assert wide.get_num_bytes(list(IMAGES)) == IMAGES.nbytes


def test_a_model_that_comes_by_side_input_takes_over(other):
    handler = heatbeam.CamModelHandler(spec())
    with beam.Pipeline(runner=RUNNER) as pipeline:
        newest = pipeline | "New" >> beam.Create([base.ModelMetadata(other, "other")])
        results = pipeline | beam.Create(list(IMAGES)) | base.RunInference(handler, model_metadata_pcoll=newest)
        util.assert_that(answers(results), util.equal_to(expected(other)))


@pytest.mark.runner
def test_one_model_serves_all_processes_of_a_machine():
    handler = heatbeam.CamModelHandler(spec(), large_model=True)
    assert (
        handler.share_model_across_processes() and heatbeam.CamModelHandler(spec(), model_copies=2).model_copies() == 2
    )
    with beam.Pipeline(runner=RUNNER) as pipeline:
        results = pipeline | beam.Create(list(IMAGES)) | base.RunInference(handler)
        util.assert_that(answers(results), util.equal_to(expected()))


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="targets has label, and images under RunInference have no labels"):
        heatbeam.CamModelHandler(engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("label", "predicted")))
    with pytest.raises(ValueError, match=r"inference_args are \['top'\]; expected none"):
        heatbeam.CamModelHandler(spec()).validate_inference_args({"top": 3})


def test_what_comes_with_an_image_is_given_by_name(tmp_path):
    image, age = keras.Input((8, 8, 1), name="image"), keras.Input((2,), name="age")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, activation="relu")(image))
    keras.Model([image, age], keras.layers.Dense(3)(keras.layers.Concatenate()([x, age]))).save(tmp_path / "two.keras")
    source = model_source.ModelSource(str(tmp_path / "two.keras"), constants=(("age", model_source.StandIn()),))
    given = engine_specs.spec(source, targets=("predicted",), fed=("age",), float_pixels=True)
    handler = heatbeam.CamModelHandler(given)
    rng = np.random.default_rng(2)
    elements = [{"image": rng.random((8, 8, 1), np.float32), "age": rng.random(2, np.float32)} for _ in range(3)]
    engine = handler.load_model()
    found = [in_short(result.inference) for result in handler.run_inference(elements, engine)]
    images, ages = (np.stack([one[name] for one in elements]) for name in ("image", "age"))
    assert found == [in_short(one) for one in engine.explain(images, [()] * 3, {}, {"age": ages})]
    assert handler.get_num_bytes(elements) == images.nbytes + ages.nbytes
    with pytest.raises(ValueError, match="an element is an array; expected a mapping of the image and age"):
        handler.run_inference([images[0]], engine)
