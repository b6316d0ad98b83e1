"""What the audit of a schedule decided about a run, kept beside it so that its history can be read later.

``decision.json`` is written by ``heatbeam compare --newest`` and ``heatbeam run --sequential``, over what an earlier
call wrote. It is no part of what the run found: without it, or with one that cannot be read, the run is the same.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

import pydantic

from heatbeam.runs import run_directory
from heatbeam.transforms import errors

FORMAT = "heatbeam-decision"

LEVEL = 0.05
"""Of the test whether the model's reasons moved: they did where its p-value is at most this."""


class Taken(NamedTuple):
    """A look at an audit that may stop early.

    Attributes:
        share: of the images that were read.
        images: explained by then.
        passed, failed, inconclusive: checks of the gate.
    """

    share: float
    images: int
    passed: int
    failed: int
    inconclusive: int


class Decision(NamedTuple):
    """What was decided about a run.

    Attributes:
        baseline: path of the run that it was held against.
        gate: whether the gate passed; None without one.
        failed: checks of it that failed.
        inconclusive: checks that could not tell.
        reasons_p: p-value of "the model's reasons did not move"; None where it was not tested.
        reasons_share: at least so much of the new images is explained as none of the baseline's; None likewise.
        looks: of an audit that may stop early, in order; the last one decided.
        page: where the comparison was written as HTML: its path from the folder of the run; empty if it was not.
    """

    baseline: str
    gate: bool | None = None
    failed: int = 0
    inconclusive: int = 0
    reasons_p: float | None = None
    reasons_share: float | None = None
    looks: tuple[Taken, ...] = ()
    page: str = ""

    @property
    def part(self) -> str:
        """`` on 10% of the images`` where the gate was certain before everything was read; else empty."""
        read = self.looks[-1].share if self.looks else 1.0
        return f" on {read:.0%} of the images" if read < 1 else ""


class _File(pydantic.BaseModel):
    format: Literal["heatbeam-decision"]
    baseline: str
    gate: bool | None
    failed: int
    inconclusive: int
    reasons_p: float | None
    reasons_share: float | None
    looks: tuple[Taken, ...] = ()
    page: str = ""


def write(run: run_directory.RunDirectory, decision: Decision) -> None:
    """Keep a decision beside a run.

    Raises:
        errors.PathError: it cannot be written.
    """
    fields = decision._asdict() | {"looks": [one._asdict() for one in decision.looks]}
    text = json.dumps({"format": FORMAT, **fields}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    run.write_file(run_directory.DECISION, text.encode("utf-8", errors="replace"))


def read(run: run_directory.RunDirectory) -> Decision | None:
    """The decision beside a run; None if there is none, or none that can be read."""
    try:
        content = run.read_file(run_directory.DECISION)
        found = None if content is None else _File.model_validate_json(content)
    except (errors.PathError, pydantic.ValidationError):
        return None
    return None if found is None else Decision(**{name: getattr(found, name) for name in Decision._fields})


def words(decision: Decision) -> str:
    """A decision in a few words; empty where nothing was decided."""
    said = []
    if decision.gate is not None:
        said.append(("gate passed" if decision.gate else f"gate failed ({decision.failed})") + decision.part)
    if decision.reasons_p is not None:
        said.append(f"reasons p {decision.reasons_p:.3g}")
    return ", ".join(said)
