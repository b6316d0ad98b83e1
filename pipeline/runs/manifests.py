"""``manifest.json`` of a run: everything that was set, found and counted, as one typed record.

Settings are the config model, so a reader asks ``manifest.config.input.tfrecord``. A part is None while the run has not
come so far, and is then left out of the file; a null in the file is a value. Facts that only a step of the job
understands (how pixels are decoded, what a protocol does, what keys are digests of) are plain JSON here.

Files of older formats are brought to this model by `heatbeam.runs.formats`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from heatbeam import config
from heatbeam.transforms import records
from heatbeam.transforms.errors import redaction
from heatbeam.transforms.sources.classes import class_maps

FORMAT = "heatbeam-run"
FORMAT_VERSION = 2
"""Raised with every change that an older reader would stumble over: see `heatbeam.runs.formats`."""

Status = Literal["running", "succeeded", "failed"]
STATUSES: tuple[Status, ...] = ("running", "succeeded", "failed")

Json = dict[str, pydantic.JsonValue]

Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
"""Of records, rows or bytes."""


class _Part(pydantic.BaseModel):
    """A part of the manifest; what a later program of the same format has added to one is kept as it came."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="allow",
        protected_namespaces=(),
        ser_json_inf_nan="constants",  # else written as null, not refused
    )

    @pydantic.model_serializer(mode="wrap")
    def _without_unknown(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if value is not None or name not in fields or fields[name].is_required()
        }


_DATA = ("model", "tables", "shards", "counts", "metrics", "timings")
"""Parts that hold no settings."""


class Process(_Part):
    """The process that launched the run."""

    host: str
    pid: int


class Model(_Part):
    """The model as it was explained.

    Attributes:
        digest: SHA-256 of its weights, hexadecimal.
        target_layer: whose activations are mapped.
        target_layer_choice: how it was chosen.
        target_layer_shape: of its output, without the batch.
        target_layer_evidence: why it, in words; empty in runs of older versions.
        target_layer_warnings: what speaks against it, a sentence each.
        scores: how the explained logits follow from what the model returns, in words.
        probability: how scores and probabilities follow from the model's numbers: ``softmax``, ``sigmoid``, ...
            (`readings.Rule`).
        pixels: rows and columns of the pixels that it classifies; None for one that classifies images.
        classes: how many there are.
        class_names: one for each.
        input_size: height, width, channels.
    """

    digest: str
    target_layer: str
    target_layer_choice: str
    target_layer_shape: tuple[int, ...]
    scores: str
    probability: str
    classes: int
    class_names: tuple[str, ...]
    input_size: tuple[int, ...]
    target_layer_evidence: str = ""
    target_layer_warnings: tuple[str, ...] = ()
    pixels: tuple[int, int] | None = None


Pairs = tuple[tuple[int, int | None], ...]
NamePairs = tuple[tuple[str, int | None], ...]


class Classes(_Part):
    """Which class of the model each class of the data is, as it was resolved when the run started.

    Attributes:
        words: how, and an example.
        digest: SHA-256 of the tables below, hexadecimal.
        ids: ``(id in the data, class id of the model)``, null for a class that is left out; None: they are the same.
        names: the same for names in records.
        others_left_out: whether any other class is left out.
        box_ids, box_names: of boxes and masks, where the data has other classes for them.
    """

    words: str
    digest: str
    ids: Pairs | None = None
    names: NamePairs = ()
    others_left_out: bool = False
    box_ids: Pairs | None = None
    box_names: NamePairs | None = None


class Conventions(_Part):
    """What the numbers mean.

    Attributes:
        decode: how images and masks become arrays.
        protocol: of the localization metrics; its ``name`` and options.
        primary_target: whose maps the summary is about.
        heatmap: what decodes the column ``heatmap``.
        axes: the position axes of the inputs, in the order of the array; runs that do not say it are of pictures.
        classes: which class of the model each class of the data is; None if ids are the model's.
        label_form: how label features were read, where settings, format or records say it; None if each record did.
    """

    decode: Json
    protocol: Json
    primary_target: str
    heatmap: str
    axes: tuple[records.Axis, ...] = records.plain_axes(2)
    classes: Classes | None = None
    label_form: str | None = None

    @pydantic.field_validator("protocol")
    @classmethod
    def _has_a_name(cls, protocol: Json) -> Json:
        if not isinstance(protocol.get("name"), str):
            raise ValueError("expected the protocol's name in it")
        return protocol


class ComputeTrial(_Part):
    """What a trial found of a backend on the machine that launched the run.

    Attributes:
        backend: its name, as ``explain.compute`` takes it.
        images_per_second: explained by it; None for one that was not measured.
        agreement: the greatest difference from TensorFlow's scores and activations in float32, over the largest value;
            None where nothing was compared.
        why_not: why it could not be taken; empty if it could.
    """

    backend: str
    images_per_second: float | None = None
    agreement: float | None = None
    why_not: str = ""


class ComputeAgreement(_Part):
    """How near what computes the model is to TensorFlow in float32, on the same images where the job was launched.

    Attributes:
        images: how many were looked at; 0 where none could be.
        of: which images, or why there are none, in words.
        difference: the greatest difference of class scores and activations, over the largest value of each; None where
            some were not finite, and where nothing was measured.
        limit: what the precision allows.
        same_class: share of the images with the same first choice of the model.
        map_correlation: of raw maps of an image and class (Pearson), averaged for each method, the least of these; None
            where maps were not compared.
    """

    images: int
    of: str
    difference: float | None = None
    limit: float | None = None
    same_class: float | None = None
    map_correlation: float | None = None

    @property
    def is_bad(self) -> bool:
        """Whether it is beyond what the precision allows."""
        limit = self.limit
        return bool(self.images) and limit is not None and (self.difference is None or self.difference > limit)

    def in_words(self, precision: str) -> str:
        """The agreement of what computes in a precision, on one line.

        >>> ComputeAgreement(images=0, of="no memory").in_words("mixed_float16")
        'mixed_float16: agreement with float32 not measured: no memory'
        """
        what = "TensorFlow's numbers" if precision == "float32" else "float32"
        if not self.images:
            return f"{precision}: agreement with {what} not measured: {self.of}"
        near = f"not as finite as {what}"
        if self.difference is not None:
            near = f"within {self.difference:.2g} of the largest value of {what}"
        if self.is_bad:
            near += f" (expected {self.limit:g})"
        same = round((self.same_class or 0.0) * self.images)
        maps = f", maps correlate by {self.map_correlation:.4f}" if self.map_correlation is not None else ""
        return f"{precision}: {near}, the same first class for {same} of {self.images} images ({self.of}){maps}"


class Compute(_Part):
    """What computes the model in the run.

    Attributes:
        backend: its name, as ``explain.compute`` takes it.
        reason: why this one, in words.
        version: of its packages; empty for TensorFlow and XLA, whose version is among those of the run.
        trials: of each backend, where any was made.
        seconds, allowed: that the trials took, and that they might have taken; None without.
        decided: the day of the trials in UTC, ISO 8601; None without.
        agreement: with float32, where `explain.precision` is another one, and with TensorFlow, where a backend was not
            tried but set or taken over from another run; else None.
    """

    backend: str
    reason: str
    version: str = ""
    trials: tuple[ComputeTrial, ...] = ()
    seconds: float | None = None
    allowed: float | None = None
    decided: str | None = None
    agreement: ComputeAgreement | None = None


class KeyedBy(_Part):
    """What the keys are digests of by which rows are reused.

    Attributes:
        all: what holds for every method.
        scores: how the metrics are measured that ask the model; None if none is.
        methods: by label, what holds for one method.
    """

    all: Json
    scores: Json | None
    methods: dict[str, Json]


class Reused(_Part):
    """What was found in earlier runs.

    Attributes:
        runs: where they are.
        files: with rows that may be taken.
        damaged_files: what is wrong with those that were left out.
        images_indexed: images that have rows there.
        index_bytes: size of the index of them.
        methods: labels of the methods whose rows may be taken.
    """

    runs: tuple[str, ...]
    files: int
    damaged_files: tuple[str, ...]
    images_indexed: int
    index_bytes: int
    methods: tuple[str, ...]


class Resumed(_Part):
    """The unfinished run in the same directory that this one goes on with.

    Attributes:
        started: when it did; None if it does not say.
        keyed_by, compute: of that run, until this run has looked at its rows.
    """

    started: str | None
    keyed_by: KeyedBy | None = None
    compute: Compute | None = None


class Drawn(_Part):
    """The part of the records that was explained, drawn at random by the ids of their images.

    Attributes:
        share: of the records.
        seed: of the order in which they are drawn (`heatbeam.transforms.sampling.Part`).
    """

    share: Annotated[float, pydantic.Field(gt=0, le=1)]
    seed: int


class Counts(_Part):
    """Where the records went: read = explained + skipped + dead letters + not needed; in the shards = read + lost.

    Attributes:
        images_reused: of `images_explained`, those taken from an earlier run; None in one that reuses nothing.
        records_read: that came out of the shards, as records or as dead letters.
        images_explained, images_skipped: with and without a target.
        dead_letters: rows of that table.
        lost: records that did not come out of damaged or vanished shards, without those that are dead letters.
        lost_is_estimate: whether some of them follow from bytes, where the format does not know its count.
        dropped_boxes: of decoded images, which could not be used; the images were.
        not_needed: records that are not in the part which the run explains; None in one that explains all.
    """

    images_reused: Count | None = None
    records_read: Count
    images_explained: Count
    images_skipped: Count
    dead_letters: Count
    lost: Count = 0
    lost_is_estimate: bool = False
    dropped_boxes: int = 0
    not_needed: Count | None = None


class Shard(_Part):
    """What was read of a shard.

    Attributes:
        name: as the rows call it.
        bytes: as it was stored when the run began.
        records_read: that came out of it, dead letters among them.
        lost: records that did not.
        lost_is_estimate: as of the `Counts`.
        damage: why it was not read to its end, as an error type of the dead letters; None if it was.
    """

    name: str
    bytes: int
    records_read: int
    lost: int
    lost_is_estimate: bool = False
    damage: str | None = None


class Timings(_Part):
    """Seconds until the model was there, and of the pipeline."""

    load_s: float
    pipeline_s: float


class TableFile(_Part):
    """A file of a table; its path is relative to the run, and leads nowhere but into the folder of a table."""

    path: Annotated[str, pydantic.Field(pattern=r"\A[a-z_]+/part-\d{5,9}-of-\d{5,9}\.parquet\z")]
    rows: Count
    bytes: Count


class Table(_Part):
    """A table: its rows and bytes in all files."""

    rows: Count
    bytes: Count
    files: tuple[TableFile, ...]


class Manifest(_Part):
    """What a run says of itself.

    Attributes:
        heatbeam: version of the program that wrote it.
        config: the settings, with every default.
        beam_options: further options of Beam.
        versions: of Python and libraries.
        run_id: the value of the column ``run_id`` in every table; None in runs of older versions.
        started_in: the folder from which the relative paths of the settings lead; None in runs of older versions.
        started, finished: ISO 8601, in UTC.
        process: that launched it.
        resumed, reused: what it took over from earlier runs.
        drawn: the part of the records that it explains; None for all.
        model: as it was explained.
        conventions: what the numbers mean.
        compute: what computed the model; None in runs of older versions, which had no choice but `explain.xla`.
        keyed_by: what decides whether a later run may reuse its rows.
        counts: where the records went.
        shards: what was read of each, by name; None in runs of older versions.
        warnings: what looks wrong with the input, or with the precision that the model computes in, a sentence each.
        metrics: counters of the job, as the runner reports them.
        timings: of the job.
        error: why it failed.
        tables: by name.
        format, format_version: of the directory.
        status: ``running`` until everything is written and counted.
    """

    heatbeam: str
    config: config.RunConfig
    beam_options: tuple[str, ...]
    versions: dict[str, str]
    started: str
    run_id: str | None = None
    started_in: str | None = None
    process: Process | None = None
    resumed: Resumed | None = None
    model: Model | None = None
    conventions: Conventions | None = None
    compute: Compute | None = None
    keyed_by: KeyedBy | None = None
    reused: Reused | None = None
    drawn: Drawn | None = None
    counts: Counts | None = None
    shards: tuple[Shard, ...] | None = None
    warnings: tuple[str, ...] = ()
    metrics: Json | None = None
    timings: Timings | None = None
    error: str | None = None
    finished: str | None = None
    tables: dict[str, Table] | None = None
    format: Literal["heatbeam-run"] = "heatbeam-run"
    format_version: int = FORMAT_VERSION
    status: Status = "running"

    @pydantic.field_validator("tables")
    @classmethod
    def _of_their_tables(cls, tables: dict[str, Table] | None) -> dict[str, Table] | None:
        for name, table in (tables or {}).items():
            wrong = [file.path for file in table.files if not file.path.startswith(f"{name}/")]
            if wrong:
                raise ValueError(f"{wrong[0]} is no file of the table {name}")
        return tables

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by id; empty while the model is not known."""
        return self.model.class_names if self.model is not None else ()

    def maps_of_classes(self) -> class_maps.Maps:
        """What the classes of labels are in the model, and those of boxes and masks where they differ."""
        found = self.conventions.classes if self.conventions is not None else None
        if found is None:
            return class_maps.ClassMap.of_names(self.class_names), None
        count = len(self.class_names)
        whole = class_maps.ClassMap(found.ids, found.names, count, found.others_left_out)
        if found.box_names is None:
            return whole, None
        return whole, class_maps.ClassMap(found.box_ids, found.box_names, count, found.others_left_out)

    @property
    def primary_target(self) -> str:
        """Whose maps the summary is about."""
        return self.conventions.primary_target if self.conventions is not None else "label"

    @property
    def backend(self) -> str:
        """What computed the model."""
        if self.compute is not None:
            return self.compute.backend
        return self.config.explain.backend or "tensorflow"

    def having(self, **parts: Any) -> Manifest:
        """A copy with other parts, given by the names of the attributes.

        Raises:
            TypeError: for a name that is no part.
            pydantic.ValidationError: for a value that is not one of its part.
        """
        unknown = parts.keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"a manifest has no {', '.join(sorted(unknown))}")
        return Manifest.model_validate({**dict(self), **parts})

    def as_dict(self) -> dict[str, Any]:
        """Plain values in the order of the file, as they are written and shown: without the secrets in settings.

        Names of classes stay as they are: they are data.
        """
        document = self.model_dump(mode="json")
        return {name: value if name in _DATA else redaction.document(value) for name, value in document.items()}


class Finished(Manifest):
    """The manifest of a run that succeeded: nothing is missing that a reader of its tables asks for."""

    model: Model
    conventions: Conventions
    counts: Counts
    finished: str
    tables: dict[str, Table]
    status: Literal["succeeded"] = "succeeded"
