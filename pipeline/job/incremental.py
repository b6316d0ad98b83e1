"""What a run takes over from earlier ones: when a map is the same, where the rows lie, and what to say about it.

A method's rows are the same where everything that can change its map, its scores or its numbers is the same: the model,
the reading of pixels, targets, precision, options, and the versions of the libraries that compute. These facts have a
digest, the method's key, which stands in the metadata of every file of ``explanations``. Ground truth, protocol,
slices, names, shards, batches and workers are not part of it: what follows from them is computed anew from the stored
map. Metrics that ask the model (faithfulness, stability) have a key of their own; where it differs, maps and scores are
both made anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import socket
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from heatbeam import config
from heatbeam.job import plan, step_options
from heatbeam.job.fitting import earlier_runs
from heatbeam.runs import manifests, run_directory, settings_diff
from heatbeam.transforms import decode, reuse
from heatbeam.transforms.engine import assess, specs
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.errors import redaction
from heatbeam.transforms.metrics import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.backends import packages
from heatbeam.transforms.models.files import user_modules
from heatbeam.transforms.sources import installed
from heatbeam.transforms.tables import earlier, schemas

METADATA = "heatbeam_keys"

NUMBERS_VERSION = 1
"""To be raised by a change of the code that changes a map or a score; rows of before are then not taken over."""

_COMPUTING = ("tensorflow", "keras", "numpy", "pillow", "opencv-python-headless")


@dataclasses.dataclass(frozen=True)
class Incremental:
    """What a run takes over.

    Attributes:
        facts: what the keys are digests of, for the manifest.
        keys: the keys, as the files' metadata.
        lookup: the step that finds earlier rows, or None for a run that takes over nothing.
        taken: what was found where, for the manifest; None without `lookup`.
        lines: the same in words.
    """

    facts: manifests.KeyedBy
    keys: str
    lookup: reuse.Reuse | None
    taken: manifests.Reused | None
    lines: tuple[str, ...]


def prepare(
    planned: plan.Plan,
    engine: engines.Engine,
    directory: run_directory.RunDirectory,
    every: Sequence[earlier_runs.Source],
) -> Incremental:
    """Find out what can be taken over, and write the index of it to `directory`.

    Args:
        planned: the run.
        engine: its model.
        directory: of the run, created.
        every: the runs to take from, as `earlier_runs.sources` gives them.
    """
    facts = content_facts(planned, engine)
    own = _keys(facts)
    sources = [source for source in every if not source.unlike]
    unlike = tuple(
        f"reuse: nothing of {source.path}: {source.unlike}; everything is explained anew"
        for source in every
        if source.unlike
    )
    if not sources:
        return Incremental(facts, json.dumps(own), None, None, unlike)
    choose = _Choice(own)
    paths = {path: source.path for source in sources for path in source.files}
    index, damaged = earlier.build_index(list(paths), choose)
    path = directory.path_of(f"{run_directory.UNFINISHED}/index-{uuid.uuid4().hex}.npz")
    index.save(path)
    wanted = _wanted(planned)
    found = [label for label, _ in wanted.methods if any(label in file.methods.values() for file in index.files)]
    taken = manifests.Reused(
        runs=tuple(source.path for source in sources),
        files=len(index.files),
        damaged_files=tuple(message[:300] for message in damaged[:100]),
        images_indexed=len(index.entries),
        index_bytes=int(index.entries.nbytes),
        methods=tuple(found),
    )
    anew = [label for label, _ in wanted.methods if label not in found]
    lines = (*unlike, *choose.unlike, *_lines(sources, taken, anew, facts))
    return Incremental(facts, json.dumps(own), reuse.Reuse(path, wanted), taken, lines)


def this_process() -> manifests.Process:
    """The process that launches the run."""
    return manifests.Process(host=socket.gethostname(), pid=os.getpid())


def check_sources(output: config.OutputConfig, directory: run_directory.RunDirectory) -> manifests.Resumed | None:
    """Check that the run to reuse is one, before anything starts.

    Returns:
        Of the unfinished run that this one goes on with, when that started and what its keys were made of.

    Raises:
        run_directory.RunDirectoryError: it is not, or is the directory of this run; or the run to resume or to replace
            still goes on.
    """
    sources = earlier_runs.sources(output, directory)
    if not (output.resume or output.overwrite) or not directory.has_manifest():
        return None
    stopped = directory.read_any_manifest()
    _refuse_live(stopped, directory.path)
    if not output.resume or not any(source.path == directory.path for source in sources):
        return None
    known = stopped if stopped.keyed_by is not None or stopped.resumed is None else stopped.resumed
    return manifests.Resumed(started=stopped.started, keyed_by=known.keyed_by, compute=known.compute)


def _refuse_live(manifest: manifests.Manifest, path: str) -> None:
    """Two runs in one directory would remove one another's files; seen only where both are on this machine."""
    process = manifest.process
    if manifest.status != "running" or process is None or process.host != socket.gethostname():
        return
    pid = process.pid
    if pid == os.getpid():
        return
    try:
        os.kill(pid, 0)  # sends nothing: asks whether there is such a process
    except ProcessLookupError:
        return
    except PermissionError:
        pass  # there is, of another user
    raise run_directory.RunDirectoryError(
        f"{path} is still being written by process {pid}; wait for it or end it. If that is another program by now,"
        " give another directory (--reuse takes over what is in this one)"
    )


# What the keys are made of.


def content_facts(planned: plan.Plan, engine: engines.Engine) -> manifests.KeyedBy:
    """Everything that can change a map, a score of the model or a number of it; JSON types only."""
    settings, spec, description = planned.settings, planned.engine_spec, engine.description
    decoding = step_options.decode_step(settings, description)
    image = decode.input_recipe(decoding.image)
    # zlib unpacks every PNG to the same pixels, and which zlib a process has depends on what it imported first.
    image.pop("png_library", None)
    shared = {
        "heatbeam": importlib.metadata.version("heatbeam"),
        "numbers_version": NUMBERS_VERSION,
        "versions": {package: installed.version_of(package) for package in _COMPUTING},
        "model": {
            "digest": description.digest,
            "architecture": architecture_digest(engine.model.keras_model, spec.fed),
            "scores": description.scores,
            "probability": description.probability,
            "output": spec.output,
            "preprocessing": _pixels(spec.preprocessing),
            "application": spec.model.application,
            **user_modules.facts(spec.model, spec.preprocessing),
        },
        "image": image,
        **decode.inputs_recipe(decoding.inputs),
        "targets": list(spec.targets),
        "precision": spec.precision,
        "evidence": description.layer.name if spec.evidence else None,
        **_backend_facts(spec.compute),
        "heatmap_dtype": settings.output.heatmap_dtype,
        **({"volume_steps": settings.output.volume_steps} if description.rank == 3 else {}),
    }
    methods = {
        one.label: {
            "method": one.method,
            "options": dict(one.options),
            "layers": list(one.layers) or [description.layer.name],
            "target": one.target,
            "wrapper": one.wrapper,
            "wrapper_options": dict(one.wrapper_options),
            **({} if one.fusion is None else {"fusion": one.fusion}),
        }
        for one in spec.methods
    }
    facts = {"all": shared, "scores": _score_facts(step_options.assessment(settings)), "methods": methods}
    return manifests.KeyedBy.model_validate_json(json.dumps(facts))


def _backend_facts(backend: specs.Compute) -> dict[str, Any]:
    """What computes, with its version; in the words of earlier versions where those knew it, so that keys stay."""
    facts: dict[str, Any] = {"xla": backend == "xla"}
    return (
        facts
        if backend in earlier_runs.OWN
        else {**facts, "compute": backend, "compute_version": packages.installed()[backend]}
    )


def _pixels(preprocessing: model_source.Preprocessing) -> dict[str, Any]:
    """What is made of pixels; what earlier versions did not know only where it is given, so that keys stay."""
    later = ("mean", "std")
    return {name: v for name, v in dataclasses.asdict(preprocessing).items() if name not in later or v is not None}


def _score_facts(assessment: assess.Assessment | None) -> dict[str, Any] | None:
    if assessment is None:
        return None
    measured = dataclasses.asdict(assessment.settings)
    del measured["batch_size"]  # changes no number
    return {
        "metrics": sorted(assessment.metrics),
        "sample": assessment.sample,
        "randomized_share": assessment.randomized_share,
        "protocol": assessment.protocol.as_dict(),
        "settings": measured,
    }


def architecture_digest(model: Any, fed: Collection[str] = ()) -> str:
    """Digest of a Keras model's configuration, in which layers are numbered and not named.

    What stands in for the inputs `fed`, which come with each image, is no part of it.

    Keras names the layers that a function makes by how many it made before, so names may differ for equal models.
    """
    try:
        described = json.loads(model.to_json())
    except NotImplementedError:  # a subclass that cannot be saved as JSON: its weights' digest has to do
        return f"{type(model).__module__}.{type(model).__qualname__}"
    described.pop("compile_config", None)
    for name in fed:
        described["constants"].pop(name)
    names: dict[str, str] = {}
    for name in _values_of(described, "name"):
        names.setdefault(name, f"#{len(names)}")
    return _digest(_renamed(described, names))


def _values_of(tree: Any, key: str) -> Iterator[str]:
    """Every string under `key`, at any depth, in order."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key and isinstance(value, str):
                yield value
            yield from _values_of(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values_of(value, key)


def _renamed(tree: Any, names: Mapping[str, str]) -> Any:
    if isinstance(tree, dict):
        return {key: _renamed(value, names) for key, value in tree.items() if key != "shared_object_id"}
    if isinstance(tree, list):
        return [_renamed(value, names) for value in tree]
    return names.get(tree, tree) if isinstance(tree, str) else tree


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _keys(facts: manifests.KeyedBy) -> dict[str, Any]:
    """``methods``: name to key; ``scores``: the key of what is measured with the model, or None."""
    return {
        "methods": {label: _digest([facts.all, one]) for label, one in facts.methods.items()},
        "scores": _digest(facts.scores) if facts.scores is not None else None,
    }


def _wanted(planned: plan.Plan) -> earlier.Wanted:
    measured = registry.faithfulness(planned.settings.evaluate.faithfulness.metrics)
    return earlier.Wanted(
        methods=tuple((one.label, one.sample) for one in planned.engine_spec.methods),
        sample_seed=planned.settings.explain.seed,
        scores=registry.columns(measured),
        curves=registry.curves(measured),
        same_id=bool(measured),
    )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Which methods of a file are the same as methods of this run.

    Attributes:
        own: keys of this run.
        unlike: what to say of files whose rows another version of heatbeam wrote in another way.
    """

    own: Mapping[str, Any]
    unlike: dict[str, None] = dataclasses.field(default_factory=dict)

    def __call__(self, path: str, schema: pa.Schema) -> dict[str, str]:
        metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        version = metadata.get("heatbeam_schema_version")
        if version != schemas.SCHEMA_VERSION:
            self._add(path, f"its rows have schema version {version}, and this heatbeam's {schemas.SCHEMA_VERSION}")
            return {}
        if METADATA not in metadata:
            self._add(path, "it does not say how its maps were made, as an older heatbeam wrote it")
            return {}
        keys = json.loads(metadata[METADATA])
        if self.own["scores"] not in (None, keys["scores"]):
            return {}
        labels = {key: label for label, key in self.own["methods"].items()}
        return {stored: labels[key] for stored, key in keys["methods"].items() if key in labels}

    def _add(self, path: str, why: str) -> None:
        """Say it once for the files of a run, which lie side by side."""
        self.unlike[f"reuse: nothing of {path.rpartition('/')[0]}: {why}"] = None


# What to say.


def _lines(
    sources: Sequence[earlier_runs.Source], taken: manifests.Reused, anew: Sequence[str], facts: manifests.KeyedBy
) -> Iterator[str]:
    names = ", ".join(source.path for source in sources)
    if taken.methods:
        yield f"reuse: {taken.images_indexed:,} images of {names}: {', '.join(taken.methods)}"
    else:
        yield f"reuse: nothing of {names} is as this run would make it"
    if taken.damaged_files:
        yield f"reuse: {len(taken.damaged_files)} incomplete files were left out; their images are explained anew"
    differing = list(_differences(sources[-1].facts, facts, anew)) if anew else []
    if anew:
        yield f"reuse: anew: {', '.join(anew)}{' because of ' if differing else ''}{'; '.join(differing[:5])}"


def _differences(before: manifests.KeyedBy | None, now: manifests.KeyedBy, anew: Sequence[str]) -> Iterator[str]:
    """What differs in the facts behind the keys of the methods that are made anew."""
    if before is None:
        return
    sections = [("", before.all, now.all)]
    if now.scores is not None:
        sections.append(("evaluate.faithfulness.", before.scores or {}, now.scores))
    for label in anew:
        if label in before.methods:
            sections.append((f"{label}.", before.methods[label], now.methods[label]))
    for prefix, one, other in sections:
        first, second = (dict(settings_diff.leaves("", redaction.document(facts))) for facts in (one, other))
        for path in dict.fromkeys([*first, *second]):
            if first.get(path) != second.get(path):
                was, now_is = settings_diff.shown(first.get(path)), settings_diff.shown(second.get(path))
                yield f"{prefix}{path.lstrip('.')} ({was} before, now {now_is})"
