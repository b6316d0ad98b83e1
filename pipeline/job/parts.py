"""A run that grows: its records explained part by part, in an order drawn at random, in one directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from heatbeam import config
from heatbeam.job import run
from heatbeam.runs import run_directory
from heatbeam.transforms import sampling


class Growing:
    """A run that `explain` brings from share to share.

    Each part is a job of its own over all shards. It takes over what the ones before have explained, and what is not in
    it is read, counted and left.

    Args:
        settings: of the run.
        beam_options: Beam's own options.
        stream: where progress goes.
        baseline: path of a run that must not be the one to be written.

    Attributes:
        result: of the last part.
        start: share that a run in the same directory has come to, or was interrupted at, if it is gone on with; else 0.

    Raises:
        config.ConfigError: the directory is that of the baseline, or settings do not go with this.
    """

    result: run.Result

    def __init__(self, settings: config.RunConfig, beam_options: Sequence[str], stream: TextIO, baseline: str) -> None:
        output = settings.output
        directory = run.directory_of(output)
        problems = []
        if directory.path == run_directory.RunDirectory(baseline).path:
            problems.append(f"output.directory: {directory.path} is the baseline; give another directory")
        if output.reuse == config.NEWEST:
            problems.append("output.reuse: newest; give the path of a run, since this one has a directory by then")
        if problems:
            raise config.ConfigError(problems, "--sequential")
        self._settings, self._beam_options, self._stream = settings, tuple(beam_options), stream
        self._given = output
        self._output = output.model_copy(update={"directory": directory.path, "root": None, "keep": None})
        self._seed = settings.explain.seed
        self.start = 0.0
        if output.resume and directory.has_manifest():
            drawn = directory.read_any_manifest().drawn
            # What is not in a smaller part would be thrown away, and had to be explained again.
            self.start = 1.0 if drawn is None else drawn.share if drawn.seed == self._seed else 0.0

    def explain(self, share: float) -> str:
        """Explain the images up to a share of them, 1 being all; the directory.

        Raises:
            what `run.run` raises.
        """
        part = None if share >= 1 else sampling.Part(share, self._seed)
        settings = self._settings.model_copy(update={"output": self._output})
        self.result = run.run(settings, self._beam_options, self._stream, part, self._given)
        self._output = self._output.model_copy(update={"overwrite": False, "resume": True})
        return self.result.directory.path

    def tell(self, text: str) -> None:
        """Say something where the progress is said."""
        self._stream.write(f"{text}\n")
