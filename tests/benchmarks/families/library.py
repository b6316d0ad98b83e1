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
    """Xplique as a `child.Worker`: without ``batch`` the turn of pattern 0 finds the best one, as that of the loop."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        devices.configure(None, specs.EngineSpec.gpu_memory)
        sys.path.append(os.fspath(summary.PEERS))  # last, so that what both have is this environment's
        attributions = importlib.import_module("xplique.attributions")
        model, both = models.logits_model(task["application"])
        layer = next(one for one in model.layers if one.output is both.outputs[1])
        self._explainer = attributions.GradCAM(model, conv_layer=layer.name)
        self._size, self._classes = model.input_shape[1:3], model.output_shape[-1]
        self._preprocess = hand_written.preprocessing(task["application"])
        self._noise = np.random.default_rng(0).uniform(-1, 1, (max(_BATCHES), *self._size, 3)).astype(np.float32)
        self._patterns = task["patterns"]
        self._tunes = "batch" not in task
        self._explainer.batch_size = task.get("batch", _BATCHES[0])

    def _explain(self, inputs: tf.Tensor, labels: tf.Tensor) -> int:
        self._explainer(inputs, tf.one_hot(labels[:, 0], self._classes)).numpy()
        return int(inputs.shape[0])

    def _tune(self) -> float:
        self._explainer.batch_size, seconds = fastest.way(_BATCHES, self._warm_up)
        return seconds

    def _warm_up(self, batch: int) -> int:
        self._explainer.batch_size = batch
        return self._explain(tf.constant(self._noise[:batch]), tf.zeros((batch, 1), tf.int32))

    def work(self, number: int) -> float:
        if self._tunes and number == 0:
            return self._tune()
        if number == 0:
            self._warm_up(self._explainer.batch_size)
        started = time.perf_counter()
        for batch in photos.dataset(self._patterns[number], self._size, self._explainer.batch_size, self._preprocess):
            self._explain(*batch)
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        batch = self._explainer.batch_size
        return {"way": f"batches of {batch}", "best": {"batch": batch}}
