"""What the steps give, as rows that other steps and sinks understand: with a Beam schema, as dicts, or as Arrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints import arrow_type_compatibility, row_type
from apache_beam.typehints import schemas as beam_schemas

from heatbeam.transforms import records
from heatbeam.transforms.tables import rows, schemas

Form = Literal["row", "dict", "arrow"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclasses.dataclass
class ToRows(beam.PTransform):
    """`records.Localization`, `records.DeadLetter` or Arrow tables to rows.

    Example::

        localized["main"] | heatbeam.ToRows(schema, class_names) | beam.Map(print)

    Attributes:
        schema: of the table: `schemas.explanations`, `schemas.SUMMARY`, `schemas.CURVES` or `schemas.DEAD_LETTERS`.
        class_names: one for each class of the model; for `records.Localization`.
        form: ``row`` gives `beam.Row` with a Beam schema, which SQL, Beam YAML and schema-aware sinks see as columns;
            ``dict`` a dict of plain Python values, missing ones None, as sinks of JSON take them; ``arrow`` a
            `pyarrow.Table` for each element that comes in.

    Raises:
        ValueError: there is no such form.
    """

    schema: pa.Schema
    class_names: tuple[str, ...] = ()
    form: Form = "row"

    def __post_init__(self) -> None:
        super().__init__()
        if self.form not in FORMS:
            raise ValueError(f"form is {self.form!r}; expected one of {', '.join(FORMS)}")

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        step = beam.ParDo(_ToRowsFn(self.schema, self.class_names, self.form))
        types = {"row": row_of(self.schema), "dict": dict[str, Any], "arrow": pa.Table}
        return elements | "Rows" >> step.with_output_types(types[self.form])


def row_of(schema: pa.Schema) -> row_type.RowTypeConstraint:
    """The Beam schema of a row of a table: the names and types of its columns, nullable where the table's are."""
    described = arrow_type_compatibility.beam_schema_from_arrow_schema(schema.remove_metadata())
    named = beam_schemas.named_tuple_from_schema(described)
    return row_type.RowTypeConstraint.from_fields(list(named.__annotations__.items()))


class _ToRowsFn(beam.DoFn):
    def __init__(self, schema: pa.Schema, class_names: tuple[str, ...], form: Form) -> None:
        super().__init__()
        self._schema = schema
        self._class_names = class_names
        self._form = form

    def process(self, element: records.Localization | records.DeadLetter | pa.Table) -> Iterator[Any]:
        table = self._table(element)
        if self._form == "arrow":
            yield table
            return
        for row in table.to_pylist():
            yield row if self._form == "dict" else beam.Row(**row)

    def _table(self, element: records.Localization | records.DeadLetter | pa.Table) -> pa.Table:
        if isinstance(element, records.Localization):
            return rows.explanation_table([element], self._schema, self._class_names)
        if isinstance(element, records.DeadLetter):
            return schemas.dead_letter_table([element], self._schema)
        return element


_BIGQUERY: Mapping[Callable[[pa.DataType], bool], str] = {
    pa.types.is_string: "STRING",
    pa.types.is_integer: "INTEGER",
    pa.types.is_floating: "FLOAT",
    pa.types.is_boolean: "BOOLEAN",
}


def bigquery_schema(schema: pa.Schema) -> dict[str, list[dict[str, str]]]:
    """The schema of a table as `beam.io.WriteToBigQuery` takes it, for the rows of ``ToRows(form="dict")``.

    BigQuery has no null lists: `bigquery_row` makes them empty.
    """
    return {"fields": [_bigquery_field(field) for field in schema]}


def _bigquery_field(field: pa.Field) -> dict[str, str]:
    is_list = pa.types.is_list(field.type)
    value = field.type.value_type if is_list else field.type
    kind = next(name for is_of, name in _BIGQUERY.items() if is_of(value))
    mode = "REPEATED" if is_list else "NULLABLE" if field.nullable else "REQUIRED"
    about = (field.metadata or {}).get(b"description", b"").decode()
    return {"name": field.name, "type": kind, "mode": mode, "description": about}


def bigquery_row(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A row of ``ToRows(form="dict")`` as BigQuery takes it: lists that are null are empty."""
    return {
        name: [] if value is None and pa.types.is_list(schema.field(name).type) else value
        for name, value in row.items()
    }
