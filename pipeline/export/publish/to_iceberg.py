"""The tables of a finished run in an Iceberg catalogue: its Parquet files are registered as they are.

A table of the catalogue for each table of a run, partitioned by ``run_id``, so that a run is one partition: a query of
one run opens its files alone, and taking a run out is a change of metadata.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from heatbeam.export.publish import destinations
from heatbeam.runs import manifests, registrations, remote_files, run_directory
from heatbeam.transforms import errors

RUN_ID = "run_id"
_TRIES = 5

PublishError = destinations.PublishError


@dataclasses.dataclass(frozen=True)
class Registered:
    """What became of a table.

    Attributes:
        table: its name in the catalogue.
        files: of the run, that are registered now.
        added: of these, those that were not before; less than 0 for those that are no longer.
    """

    table: str
    files: int
    added: int


def publish(run_path: str, catalog_name: str, namespace: str, properties: Mapping[str, str]) -> list[Registered]:
    """Register every table of a run; what is registered already is left as it is.

    Columns that earlier runs did not have are added to the table. A run that took the place of another in the same
    directory takes it in the table too: files of that path belong to it now.

    Args:
        run_path: a finished run.
        catalog_name: as pyiceberg knows it, from its own configuration or from `properties`.
        namespace: of the tables; made if it is not there.
        properties: of the catalogue, on top of its configuration: ``uri``, ``warehouse``, ...

    Raises:
        PublishError: pyiceberg is not installed; the catalogue cannot be reached or refuses; the run is of a version
            that has no column ``run_id``; a column has another type than in earlier runs.
        run_directory.RunDirectoryError: the run is not finished.
    """
    run = run_directory.RunDirectory(run_path)
    manifest = run.read_manifest()
    if manifest.run_id is None:
        raise PublishError(
            f"{run_path} was written by heatbeam {manifest.heatbeam}, without run_id; make the run again"
        )
    with _catalogue(catalog_name, properties, f"register {run_path} in") as known:
        known.create_namespace_if_not_exists(namespace)
        # Before the first file is: whatever happens then, the run stays for as long as a table may name it.
        run.register(registrations.Registration(catalog_name, namespace))
        return [
            _register(known, f"{namespace}.{name}", run, name, manifest)
            for name, table in manifest.tables.items()
            if table.files
        ]


def withdraw(run_path: str, catalog_name: str, namespace: str, properties: Mapping[str, str]) -> list[Registered]:
    """Take every table of a run out of the catalogue; the files stay, and the run can be removed then.

    Earlier snapshots of the tables still name the files, until the catalogue's own maintenance expires them.

    Args:
        run_path, catalog_name, namespace, properties: as of `publish`.

    Raises:
        PublishError: as of `publish`.
        run_directory.RunDirectoryError: the run is not finished.
    """
    run = run_directory.RunDirectory(run_path)
    manifest = run.read_manifest()
    found = []
    with _catalogue(catalog_name, properties, f"withdraw {run_path} from") as known:
        for name in manifest.tables:
            identifier = f"{namespace}.{name}"
            if not known.table_exists(identifier):
                continue
            table = known.load_table(identifier)
            files = sum(run_id == manifest.run_id for _, run_id in _files(table))
            if files:
                table.delete(f"{RUN_ID} = '{manifest.run_id}'")
            found.append(Registered(identifier, 0, -files))
    run.withdraw(registrations.Registration(catalog_name, namespace))
    return found


@contextlib.contextmanager
def _catalogue(name: str, properties: Mapping[str, str], what: str) -> Iterator[Any]:
    """The catalogue; what goes wrong with it inside is told in one line."""
    try:
        from pyiceberg import catalog, exceptions
    except ImportError as error:
        raise PublishError("--iceberg needs pyiceberg: pip install 'heatbeam[iceberg]'") from error
    # It warns of columns of lists, which have no statistics.
    logging.getLogger("pyiceberg.io.pyarrow").setLevel(logging.ERROR)
    refused = (exceptions.RESTError, exceptions.NoSuchTableError, *_of_databases(), ValueError, KeyError, OSError)
    try:
        yield catalog.load_catalog(name, **properties)
    except errors.UserError:  # some are ValueErrors, and say what is wrong already
        raise
    except refused as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise PublishError(f"cannot {what} the catalogue {name}: {said[0]}") from error


def _of_databases() -> tuple[type[Exception], ...]:
    """What catalogues in a database raise, if the library for them is here."""
    try:
        from sqlalchemy import exc
    except ImportError:
        return ()
    return (exc.SQLAlchemyError,)


def _register(
    catalog: Any, identifier: str, run: run_directory.RunDirectory, name: str, manifest: manifests.Finished
) -> Registered:
    from pyiceberg import exceptions

    schema, run_id = _nullable(run.open_table(name).schema), manifest.run_id
    if RUN_ID not in schema.names:
        raise PublishError(f"the table {name} of {run.path} has no column {RUN_ID}")
    # A file without rows has no run_id in it, and so no partition.
    paths = [_location(run.path_of(file.path)) for file in manifest.tables[name].files if file.rows]
    for left in reversed(range(_TRIES)):
        table = _table(catalog, identifier, schema)
        known = dict(_files(table))
        missing = [path for path in paths if known.get(path) != run_id]
        stale = {known[path] for path in missing if path in known}
        if not missing:
            return Registered(identifier, len(paths), 0)
        try:
            with table.transaction() as change:
                _evolve(change, table, schema)
                for old in sorted(stale):
                    change.delete(f"{RUN_ID} = '{old}'")
                # Looked at above, and its own check still sees the files that were just deleted.
                change.add_files(missing, check_duplicate_files=False)
        except exceptions.CommitFailedException:  # somebody else has changed the table in between
            if not left:
                raise
        else:
            return Registered(identifier, len(paths), len(missing))
    raise AssertionError("unreachable")


def _table(catalog: Any, identifier: str, schema: pa.Schema) -> Any:
    """The table, made with the run's columns and a partition for each run if it is not there."""
    from pyiceberg import exceptions
    from pyiceberg.transforms import IdentityTransform

    try:
        return catalog.load_table(identifier)
    except exceptions.NoSuchTableError:
        table = catalog.create_table_if_not_exists(identifier, schema, properties={"format-version": "2"})
        if table.spec().is_unpartitioned():
            with table.update_spec() as spec:
                spec.add_field(RUN_ID, IdentityTransform(), RUN_ID)
        return catalog.load_table(identifier)


def _evolve(change: Any, table: Any, schema: pa.Schema) -> None:
    """Add the columns that the table does not have yet."""
    if set(schema.names) - set(table.schema().column_names):
        with change.update_schema() as update:
            update.union_by_name(schema)


def _files(table: Any) -> Iterator[tuple[str, str]]:
    """Path and run of every file of the table."""
    for task in table.scan().plan_files():
        yield task.file.file_path, task.file.partition[0]


def _nullable(schema: pa.Schema) -> pa.Schema:
    """The schema as a table of many runs has it: any column may be missing in some run."""
    fields = [pa.field(field.name, field.type, nullable=True) for field in schema]
    return pa.schema(fields)


def _location(path: str) -> str:
    """A file as Iceberg writes it: a URI, on this machine too."""
    return path if remote_files.is_remote(path) else f"file://{path}"
