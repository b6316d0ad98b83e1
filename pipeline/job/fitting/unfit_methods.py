"""Leave out the methods that do not fit the model, where ``explain.unfit`` is ``skip``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from heatbeam.job import class_embeddings, plan
from heatbeam.transforms import explain
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models.files import loading


def fitted(
    planned: plan.Plan,
    warn: Callable[[str], object],
    asked: Callable[[specs.EngineSpec], specs.EngineSpec] = lambda spec: spec,
) -> tuple[plan.Plan, engines.Engine | None]:
    """The plan with the methods that fit, and the engine that showed it: while it is held it is not loaded again.

    Args:
        planned: as configured.
        warn: is told of each method that is left out, and why.
        asked: from the specification of the run to that of the engine which its caller asks next.

    Raises:
        loading.ModelError: no method fits, or the model is not what the configuration says.
    """
    planned = class_embeddings.resolved(planned)
    if planned.settings.explain.unfit != "skip":
        return planned, None
    try:
        return planned, explain.acquire_engine(asked(planned.engine_spec))[0]
    except loading.ModelError:
        reasons = explain.unfit_methods(planned.engine_spec)
        if not reasons or len(reasons) == len(planned.engine_spec.methods):
            raise
    for label, reason in reasons.items():
        warn(f"method {label} is left out (explain.unfit: skip): {reason}")
    given = planned.settings
    kept = tuple(method for method in given.explain.methods if method.label not in reasons)
    settings = given.model_copy(update={"explain": given.explain.model_copy(update={"methods": kept})})
    before = planned.engine_spec
    spec = dataclasses.replace(plan.engine_spec(settings, before.reference), gpu_memory=before.gpu_memory)
    return dataclasses.replace(planned, settings=settings, engine_spec=spec), explain.acquire_engine(asked(spec))[0]
