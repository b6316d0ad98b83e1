"""Xplique's Grad-CAM with tf.data in front, as its documentation has it for a dataset."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import devices, specs
from tests.benchmarks import models
from tests.benchmarks.families import fastest, hand_written, photos, summary

_BATCHES = (32, 16, 8)


class Worker:
    """Xplique as a `child.Worker`: the turn of pattern 0 first finds its best batch, as that of the loop does."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        devices.configure(None, specs.EngineSpec.gpu_memory)
        sys.path.append(os.fspath(summary.PEERS))  # last, so that what both have is this environment's
        attributions = importlib.import_module("xplique.attributions")
        model, both = models.logits_model(task["application"])
        layer = next(one for one in model.layers if one.output is both.outputs[1])
        self._explainer = attributions.GradCAM(model, conv_layer=layer.name)
        self._size, self._classes = model.input_shape[1:3], model.output_shape[-1]
        self._preprocess = hand_written.preprocessing(task["application"])
        self._patterns = task["patterns"]

    def _explain(self, inputs: tf.Tensor, labels: tf.Tensor) -> int:
        self._explainer(inputs, tf.one_hot(labels[:, 0], self._classes)).numpy()
        return int(inputs.shape[0])

    def _tune(self) -> float:
        inputs = np.random.default_rng(0).uniform(-1, 1, (max(_BATCHES), *self._size, 3)).astype(np.float32)
        labels = np.zeros((max(_BATCHES), 1), np.int32)

        def work(batch: int) -> int:
            self._explainer.batch_size = batch
            return self._explain(tf.constant(inputs[:batch]), tf.constant(labels[:batch]))

        self._explainer.batch_size, seconds = fastest.way(_BATCHES, work)
        return seconds

    def work(self, number: int) -> float:
        tuned = self._tune() if number == 0 else None
        started = time.perf_counter()
        for batch in photos.dataset(self._patterns[number], self._size, self._explainer.batch_size, self._preprocess):
            self._explain(*batch)
        return tuned or time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {"way": f"batches of {self._explainer.batch_size}"}
