"""``heatbeam bench CONFIG``: what each step of a user's own job costs, and what the model alone would."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import tensorflow as tf

from heatbeam import config
from heatbeam.bench import figures, models, settings, stages
from heatbeam.job import plan
from heatbeam.runners import runner_options


@runner_options.connected(())
def measure(configured: config.RunConfig, options: settings.Options) -> list[figures.Figure]:
    """Each step over a bare forward pass of the model, per image.

    The steps run one after another in one thread, on the first records of the input, as often as the forward pass is
    measured in between. Nothing is written to the configured run directory.

    Raises:
        config.ConfigError: a problem of the configuration.
        loading.ModelError: the model is not what the configuration says.
        ValueError: none of the first records can be explained.
    """
    planned = plan.make(configured)
    rounds = 2 if options.quick else 5
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        first = stages.Stages(planned, folder)
        batch = first.engine.batch_size
        limit = batch * (1 if options.quick else 4)
        first.run(batch)
        if not first.examples:
            raise ValueError(f"none of the first {batch} records can be decoded; heatbeam check says why")
        forward = _forward(first)
        found = []
        for _ in range(rounds):
            steps = stages.Stages(planned, folder)
            steps.run(limit)
            found.append((steps, figures.seconds(forward) / len(first.examples)))
    return _figures(found)


def _forward(steps: stages.Stages) -> Callable[[], object]:
    """The model alone on a batch that is preprocessed already."""
    engine = steps.engine
    images = tf.stack([example.image for example in steps.examples])
    inputs = tf.function(engine._preprocess)(images)
    forward = models.bare_forward(engine.model.keras_model, engine.model.constant_weights)
    forward(inputs)
    return lambda: tf.nest.map_structure(lambda output: output.numpy(), forward(inputs))


def _figures(found: list[tuple[stages.Stages, float]]) -> list[figures.Figure]:
    whole = [sum(steps.seconds.values()) / steps.images for steps, _ in found]
    total = sorted(whole)[len(whole) // 2]
    images = found[0][0].images
    result = []
    for step in stages.STEPS:
        pairs = [(steps.seconds[step] / steps.images, forward) for steps, forward in found]
        own = sorted(ours for ours, _ in pairs)[len(pairs) // 2]
        figure = figures.cost(
            f"{step} over the model's forward pass",
            pairs,
            None,
            f"time per image of the step in one thread over a bare forward pass, {images} images",
        )
        result.append(figures.with_measured(figure, ms_per_image=1e3 * own, percent_of_job=100 * own / total))
    job = figures.cost(
        "all steps over the model's forward pass",
        list(zip(whole, (forward for _, forward in found), strict=True)),
        None,
        f"time per image of all steps in one thread over a bare forward pass, {images} images; {models.device()}",
    )
    return [*result, figures.with_measured(job, ms_per_image=1e3 * total, images_per_s=1 / total)]
