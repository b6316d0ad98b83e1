"""The section ``output``: where the run directory goes and how it is written."""

from __future__ import annotations

from typing import Literal

import pydantic

from heatbeam.config import section
from heatbeam.transforms import records

NEWEST = "newest"
"""The value of `OutputConfig.reuse` that stands for the last run under the root."""


class OutputConfig(section.Section):
    """Where the run directory goes and how it is written."""

    directory: str | None = pydantic.Field(None, description="directory of the run")
    root: str | None = pydantic.Field(
        None, description="for scheduled runs: each makes a directory below, named by its time in UTC"
    )
    keep: section.Positive | None = pydantic.Field(
        None, description="with root: remove all but the newest so-many finished runs"
    )
    overwrite: bool = pydantic.Field(False, description="replace an existing run in this directory")
    reuse: str | None = pydantic.Field(
        None,
        description="a run, finished or not, whose rows are taken over where image, model and settings are the same; "
        "with root, newest is the last one there",
    )
    resume: bool = pydantic.Field(False, description="go on with the unfinished run in this directory, if there is one")
    journal: bool = pydantic.Field(
        True,
        description="keep what is explained in complete files until the run is finished, to resume from",
    )
    report: bool = pydantic.Field(
        True,
        description="heatbeam run ends with report.html, which takes seconds: it reads the tables and the images that "
        "it shows; without it, heatbeam report writes one at any time",
    )
    heatmap_dtype: Literal["int16", "float32"] = pydantic.Field(
        "int16", description="how maps are stored: 16-bit steps with a scale, or exactly"
    )
    volume_steps: int = pydantic.Field(
        records.VOLUME_STEPS,
        ge=1,
        le=records.INT16_STEPS,
        description="of maps of volumes stored as int16: steps either side of 0, so that a value is within half a step "
        "of 1 / volume_steps of the map's greatest; 32767 as for all other maps",
    )
    max_dead_letter_ratio: section.Fraction = pydantic.Field(
        0.05, description="the run fails above this share of records that are dead letters or lost behind damage"
    )

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> OutputConfig:
        section.refuse({
            "give exactly one of directory and root": (self.directory is None) == (self.root is None),
            "keep goes with root": self.keep is not None and self.root is None,
            "resume goes with directory; with root, reuse: newest goes on with an unfinished run": (
                self.resume and self.directory is None),
            "give either resume or overwrite: one keeps what is there, the other removes it": (
                self.resume and self.overwrite),
            "reuse: newest goes with root": self.reuse == NEWEST and self.root is None,
        })  # fmt: skip
        return self
