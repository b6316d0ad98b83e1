"""The whole job as one transform: records in, rows and numbers out, for a pipeline of your own."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
import yaml

from heatbeam import config
from heatbeam.beam import to_rows
from heatbeam.job import classes, plan, step_options
from heatbeam.job.fitting import unfit_methods
from heatbeam.transforms import aggregate, decode, explain, localize, read, records
from heatbeam.transforms.tables import schemas

SECTIONS = ("input", "model", "explain", "evaluate")
REPLACEABLE = ("read", "decode", "explain", "localize", "aggregate")
_LOG = logging.getLogger(__name__)

NOWHERE = {"directory": "not-written"}
"""A run says where its tables go; here they go where the pipeline takes them."""


class ExplainDataset(beam.PTransform):
    """Explain a dataset inside a pipeline: `Read`, `Decode`, `Explain`, `Localize`, `Aggregate` and `ToRows` as one.

    Example::

        explained = pipeline | heatbeam.ExplainDataset(
            input={"tfrecord": "data/validation-*.tfrecord"}, model={"path": "model.keras", "preprocessing": "tf"}
        )
        explained["rows"] | beam.io.WriteToJson("rows")

    The settings are those of a run (``configs/README.md``), with the same defaults and the same errors; the sections
    ``output`` and ``runner`` are the pipeline's own. The model is loaded when the transform is applied, so that a wrong
    one fails before the first record.

    Outputs, by name:
        * ``rows``: of the table ``explanations``, one for each image, method and explained class; `ToRows` says the
          forms.
        * ``summary``, ``curves``: rows of those tables, in the same form.
        * ``dead_letters``: rows of that table: what was lost, where, and why. Records read are rows' images plus
          skipped plus dead letters.
        * ``skipped``: ids of images without a target.
        * ``localizations``: `records.Localization`, for steps of your own that want maps and truth as arrays.

    Args:
        settings: the path of a configuration, or a `RunConfig`; its sections ``output`` and ``runner`` are not used.
        form: of the rows: ``row`` (with a Beam schema), ``dict`` or ``arrow``.
        steps: transforms in the place of heatbeam's own, by name: ``read`` (to ``main`` and ``dead_letters``),
            ``decode`` (to ``main`` and ``dead_letters``), ``explain`` (to ``main``, ``skipped`` and ``dead_letters``),
            ``localize`` (to ``main`` and ``evidence``), ``aggregate`` (to ``summary`` and ``curves``).
        sections: instead of `settings`, the sections ``input``, ``model``, ``explain`` and ``evaluate``, as mappings.

    Raises:
        config.ConfigError: the settings are wrong; when it is applied, also of data and model that do not fit them.
        ValueError: there is no such step, or both settings and sections are given.
    """

    _yaml_requires_inputs = False  # Beam YAML's word for what reads by itself

    def __init__(
        self,
        settings: str | os.PathLike[str] | config.RunConfig | None = None,
        *,
        form: to_rows.Form = "row",
        steps: Mapping[str, beam.PTransform] | None = None,
        **sections: Mapping[str, Any],
    ) -> None:
        super().__init__()
        unknown = [*(steps or {}).keys() - set(REPLACEABLE), *sections.keys() - set(SECTIONS)]
        if unknown:
            raise ValueError(
                f"there is no {', '.join(sorted(unknown))}; steps are {', '.join(REPLACEABLE)}, sections "
                f"{', '.join(SECTIONS)}"
            )
        if (settings is None) == (not sections):
            raise ValueError(f"give either settings or the sections {', '.join(SECTIONS)}")
        if form not in to_rows.FORMS:
            raise ValueError(f"form is {form!r}; expected one of {', '.join(to_rows.FORMS)}")
        self._settings = _settings(settings, sections)
        self._form: to_rows.Form = form
        self._steps = dict(steps or {})

    @property
    def schema(self) -> pa.Schema:
        """The table ``explanations`` as these settings give it: columns, types, descriptions."""
        return step_options.explanations_schema(self._settings, self._settings.input.stated_rank)

    def expand(self, pbegin: beam.pvalue.PBegin) -> dict[str, beam.PCollection]:
        steps = self._ready()
        encoded = pbegin | "Read" >> steps.read
        decoded = encoded[read.MAIN_TAG] | "Decode" >> steps.decode
        explained = decoded[decode.MAIN_TAG] | "Explain" >> steps.explain
        localized = explained[explain.MAIN_TAG] | "Localize" >> steps.localize
        numbers = localized[localize.EVIDENCE_TAG] | "Aggregate" >> steps.aggregate
        letters = tuple(step[records.DEAD_LETTER_TAG] for step in (encoded, decoded, explained))
        lost = letters | "Lost" >> beam.Flatten().with_output_types(records.DeadLetter)
        rows = to_rows.ToRows(self.schema, steps.class_names, self._form)
        return {
            "rows": localized[localize.MAIN_TAG] | "ToRows" >> rows,
            "summary": self._rows("summary", schemas.SUMMARY, numbers[aggregate.SUMMARY_TAG]),
            "curves": self._rows("curves", schemas.CURVES, numbers[aggregate.CURVES_TAG]),
            "dead_letters": self._rows("dead_letters", schemas.DEAD_LETTERS, lost),
            "skipped": explained[explain.SKIPPED_TAG],
            "localizations": localized[localize.MAIN_TAG],
        }

    def _rows(self, name: str, schema: Any, elements: beam.PCollection) -> beam.PCollection:
        return elements | f"ToRows_{name}" >> to_rows.ToRows(schema, form=self._form)

    def _ready(self) -> _Steps:
        """The steps, after the model was loaded."""
        planned, _held = unfit_methods.fitted(plan.make(self._settings), _LOG.warning)
        engine, _ = explain.acquire_engine(planned.engine_spec)
        planned, names = classes.resolved(planned, engine.description)
        for text in classes.model_warnings(planned, engine.description):
            _LOG.warning(text)
        settings = planned.settings
        own = {
            "read": step_options.read_step(planned),
            "decode": step_options.decode_step(settings, engine.description, planned.features),
            "explain": step_options.explain_step(planned, engine.description),
            "localize": step_options.localize_step(settings),
            "aggregate": step_options.aggregate_step(settings, names),
        }
        return _Steps(**{**own, **self._steps}, class_names=names)


@dataclasses.dataclass(frozen=True, eq=False)
class _Steps:
    """The transforms of `REPLACEABLE`, and what rows are made with."""

    read: beam.PTransform
    decode: beam.PTransform
    explain: beam.PTransform
    localize: beam.PTransform
    aggregate: beam.PTransform
    class_names: tuple[str, ...]


def _settings(
    given: str | os.PathLike[str] | config.RunConfig | None, sections: Mapping[str, Mapping[str, Any]]
) -> config.RunConfig:
    if isinstance(given, config.RunConfig):
        return given
    if given is not None:
        return config.load(given)
    return config.parse(yaml.safe_dump({**sections, "output": NOWHERE}, sort_keys=False))
