"""The engine under Beam's own `RunInference`, for pipelines that are built on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from apache_beam.ml.inference import base

from heatbeam.transforms import explain
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs

Image = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]
"""An image, or by name of the model's inputs the image and what comes with it."""


class CamModelHandler(base.ModelHandler[Image, base.PredictionResult, engines.Engine]):
    """Explain images under `apache_beam.ml.inference.base.RunInference`.

    Example::

        handler = heatbeam.CamModelHandler(engine_spec)
        images | RunInference(handler)                        # arrays to PredictionResult
        keyed_images | RunInference(KeyedModelHandler(handler))

    An element is an image at the model's input size, uint8 or float32 ``(*positions, channels)``; its answer is a
    `PredictionResult` whose ``inference`` is an `explained.ImageExplanation`: classes, logits, probabilities and the
    raw maps. Where further inputs come with each image (`EngineSpec.fed`), an element is a mapping instead: the arrays
    by the names of the model's inputs, as Keras takes them, without a batch axis. The targets must be such that need
    no label: ``predicted``, ``top_3``, a class id.

    `heatbeam.Explain` does more: a record that the model fails on costs itself, where RunInference loses the whole
    batch, and a model is loaded once for all steps of a process. Take this one where RunInference is what the pipeline
    is built on, or for its model updates (``model_metadata_pcoll``: a new `ModelMetadata.model_id` is the path of a
    model file that takes the place of the specification's).

    Args:
        spec: model, methods and targets.
        large_model: one model for all processes of a machine, called through a socket: less memory, slower.
        model_copies: how many models all processes of a machine share.
        min_batch_size, max_batch_size: of Beam's batching; `EngineSpec.batch_size` where they are None.
        env_vars: environment variables to be set before the model is loaded.

    Raises:
        ValueError: a target needs labels.
    """

    def __init__(
        self,
        spec: specs.EngineSpec,
        *,
        large_model: bool = False,
        model_copies: int | None = None,
        min_batch_size: int | None = None,
        max_batch_size: int | None = None,
        env_vars: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            min_batch_size=min_batch_size or spec.batch_size,
            max_batch_size=max_batch_size or spec.batch_size,
            large_model=large_model,
            model_copies=model_copies,
            env_vars=dict(env_vars or {}),
        )
        of_labels = [target for target in spec.targets if target in ("label", "labels")]
        if of_labels:
            raise ValueError(
                f"targets has {', '.join(map(str, of_labels))}, and images under RunInference have no labels; take "
                "predicted, top_N or class ids, or heatbeam.Explain"
            )
        self._spec = spec

    def load_model(self) -> engines.Engine:
        """The engine, traced and warm."""
        return explain.acquire_engine(self._spec)[0]

    def run_inference(
        self, batch: Sequence[Image], model: engines.Engine, inference_args: dict[str, Any] | None = None
    ) -> Iterable[base.PredictionResult]:
        """The `explained.ImageExplanation` of each image; a list, so that Beam counts a failure as one."""
        del inference_args
        images, others = _stacked(batch, self._spec.fed)
        found = model.explain(images, [()] * len(batch), {}, others)
        return [
            base.PredictionResult(image, one, self._spec.model.path) for image, one in zip(batch, found, strict=True)
        ]

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Refuse them.

        Raises:
            ValueError: there are some.
        """
        if inference_args:
            raise ValueError(f"inference_args are {sorted(inference_args)}; expected none: the EngineSpec says all")

    def update_model_path(self, model_path: str | None = None) -> None:
        """Take another model file from now on; an empty path changes nothing."""
        if model_path:
            source = dataclasses.replace(self._spec.model, path=model_path, application=None, factory=None)
            self._spec = dataclasses.replace(self._spec, model=source)

    def get_num_bytes(self, batch: Sequence[Image]) -> int:
        """Bytes of the pixels, and of what comes with them."""
        return sum(array.nbytes for one in batch for array in (one.values() if isinstance(one, Mapping) else (one,)))

    def get_metrics_namespace(self) -> str:
        """The namespace of RunInference's own counters."""
        return "heatbeam"


def _stacked(batch: Sequence[Image], inputs: Sequence[str]) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
    """The images of a batch, ``(B, *positions, channels)``, and the model's other inputs by name.

    Raises:
        ValueError: an element does not name the model's inputs, or names them where it has but one.
    """
    fed = sorted(inputs)
    images, others = [], []
    for one in batch:
        given = dict(one) if isinstance(one, Mapping) else {"": one}
        names = [name for name in given if name not in fed]
        if len(names) != 1 or len(given) != len(fed) + 1 or isinstance(one, Mapping) != bool(fed):
            expected = f"a mapping of the image and {', '.join(fed)}" if fed else "an array"
            came = f"a mapping of {', '.join(given)}" if isinstance(one, Mapping) else "an array"
            raise ValueError(f"an element is {came}; expected {expected}")
        images.append(given[names[0]])
        others.append(given)
    return np.stack(images), {name: np.stack([each[name] for each in others]) for name in fed}
