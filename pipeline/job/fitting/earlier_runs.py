"""The runs whose rows a run may take over: where they are, what their rows were made with, and what computed them."""

from __future__ import annotations

import dataclasses

from heatbeam import config
from heatbeam.runs import history, manifests, run_directory

OWN = ("tensorflow", "xla")
"""What computes a model without further packages, and stood in the keys of rows before there were others."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A run whose rows may be taken over.

    Attributes:
        path: its directory.
        files: of its rows.
        facts: what its keys are digests of; None if its manifest does not say.
        unlike: why nothing can be taken from a run of another format; empty for one of today's.
        resumed: whether it is the unfinished one in the directory of the run that asks.
    """

    path: str
    files: tuple[str, ...]
    facts: manifests.KeyedBy | None
    unlike: str = ""
    resumed: bool = False

    @property
    def digest(self) -> str | None:
        """Of its model; None if its manifest does not say."""
        model = self.facts.all.get("model") if self.facts is not None else None
        digest = model.get("digest") if isinstance(model, dict) else None
        return digest if isinstance(digest, str) else None

    @property
    def precision(self) -> str:
        """That its rows were computed in, where it says how those were made."""
        return str((self.facts.all if self.facts is not None else {}).get("precision", "float32"))

    @property
    def backend(self) -> str:
        """What computed its rows, where it says how those were made."""
        facts = self.facts.all if self.facts is not None else {}
        return str(facts.get("compute") or ("xla" if facts.get("xla") else "tensorflow"))


def sources(output: config.OutputConfig, directory: run_directory.RunDirectory) -> list[Source]:
    """The runs to take from: the unfinished one in the same directory first, then the one that was named.

    Raises:
        run_directory.RunDirectoryError: the one that was named is none, or is in the directory of this run.
    """
    found = []
    if output.resume:
        files = directory.unfinished_files()
        if files:
            own = directory.read_any_manifest()
            known = own.keyed_by or (own.resumed.keyed_by if own.resumed is not None else None)
            found.append(Source(directory.path, tuple(files), known, resumed=True))
    if output.reuse is None:
        return found
    paths = [output.reuse] if output.reuse != config.NEWEST else _newest(output.root or "", directory.path)
    for path in paths:
        other = run_directory.RunDirectory(path)
        if other.path == directory.path:
            raise run_directory.RunDirectoryError(
                f"{path} is the directory of this run; a run reuses another one, or is resumed (--resume)"
            )
        found.append(_source(other))
    return found


def _source(other: run_directory.RunDirectory) -> Source:
    try:
        manifest = other.read_any_manifest()
    except run_directory.OtherFormatError as error:
        return Source(other.path, (), None, f"{error}")
    if manifest.format_version != manifests.FORMAT_VERSION:
        versions = f"format {manifest.format_version}, and this one writes {manifests.FORMAT_VERSION}"
        return Source(other.path, (), None, f"heatbeam {manifest.heatbeam} wrote it in {versions}")
    if not isinstance(manifest, manifests.Finished):
        return Source(other.path, tuple(other.unfinished_files()), manifest.keyed_by)
    files = tuple(other.path_of(file.path) for file in manifest.tables["explanations"].files)
    return Source(other.path, files, manifest.keyed_by)


def _newest(root: str, own: str) -> list[str]:
    """The newest finished run below `root` and the unfinished ones after it; none in the first run of a schedule."""
    found = history.history(root, ())
    finished = found.runs[-1] if found.runs else None
    later = [
        name for name, status in found.unfinished
        if status in manifests.STATUSES and (finished is None or name > finished.name)
    ]  # fmt: skip
    paths = [run_directory.RunDirectory(root).path_of(name) for name in sorted(later)]
    return [*([finished.path] if finished else []), *(path for path in paths if path != own)]
