"""What the classes of the data are in the model, resolved once, when the model is known."""

from __future__ import annotations

import dataclasses

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources.classes import class_maps


def resolved(planned: plan.Plan, description: exposure.ModelDescription) -> tuple[plan.Plan, tuple[str, ...]]:
    """The plan with what classes are in the model, and one name per class of the model.

    Raises:
        config.ConfigError: another number of names than the model has classes.
    """
    names = planned.class_names
    kind = "output" if planned.engine_spec.scores in specs.VALUES else "class"
    if names is not None and len(names) != description.classes:
        raise config.ConfigError(
            [f"model.class_names: {len(names)} names, the model has {description.classes} classes"]
        )
    pairs = tuple((name, number) for number, name in enumerate(names or ()))
    features = dataclasses.replace(
        planned.features, class_map=class_maps.ClassMap(names=pairs, classes=description.classes)
    )
    return dataclasses.replace(planned, features=features), names or tuple(
        f"{kind}_{i}" for i in range(description.classes)
    )


def model_warnings(planned: plan.Plan, description: exposure.ModelDescription) -> tuple[str, ...]:
    """What speaks against the layer and the reading of the scores; names of the classes settle what they are."""
    doubts = (description.doubt,) if description.doubt and planned.class_names is None else ()
    return (*description.warnings, *doubts)
