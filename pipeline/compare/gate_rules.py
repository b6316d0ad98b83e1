"""The file of a gate: rules, and what the gate promises of its alarms."""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, Literal

import pydantic

from heatbeam import config
from heatbeam.config import yaml_text
from heatbeam.transforms.metrics.alarms import corrections


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


_Allowed = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
_Above = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
_Bound = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Count = Annotated[int, pydantic.Field(ge=0)]
_Names = Annotated[
    tuple[Annotated[str, pydantic.Field(min_length=1)], ...],
    pydantic.BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    pydantic.Field(min_length=1),
]


class ChangeRule(_Section):
    """How much worse than in the baseline a number may be."""

    absolute: _Allowed | None = pydantic.Field(None, description="in units of the metric")
    relative: _Allowed | None = pydantic.Field(None, description="as a share of the baseline's value")
    direction: Literal["auto", "higher", "lower", "either"] = pydantic.Field(
        "auto", description="which is better; auto asks the metric, either allows no change in any direction"
    )

    @pydantic.model_validator(mode="after")
    def _one(self) -> ChangeRule:
        if self.absolute is None and self.relative is None:
            raise ValueError("give absolute, relative or both")
        return self


class Rule(_Section):
    """What one metric must keep, for some methods and slices."""

    metric: str
    method: _Names = pydantic.Field(
        ("*",), description="names; * is every method that has the metric, baseline maps and random_cam left out"
    )
    slice: _Names = pydantic.Field(
        ("all",), description="all, a slice with its value (class=cat), or a slice (class) for every value"
    )
    lower: _Bound | None = pydantic.Field(None, description="the number must not be below")
    upper: _Bound | None = pydantic.Field(None, description="the number must not be above")
    change: ChangeRule | None = None
    judge: Literal["interval", "value"] = pydantic.Field("interval", description="value looks at no interval")
    min_n: _Count | None = pydantic.Field(None, description="instead of the gate's")
    inconclusive: Literal["warn", "fail"] | None = pydantic.Field(None, description="instead of the gate's")
    see: _Above | None = pydantic.Field(
        None,
        description="the loss that an audit should see: the verdict says how many images it takes; without it twice the"
        " allowed change, and none for a bound, from which it counts",
    )

    @pydantic.model_validator(mode="after")
    def _something(self) -> Rule:
        if self.lower is None and self.upper is None and self.change is None:
            raise ValueError("give lower, upper or change")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower is {self.lower} and upper is {self.upper}; nothing can be between")
        return self


class FalseAlarms(_Section):
    """What a gate promises of runs that are as good as their baseline."""

    rate: Annotated[float, pydantic.Field(gt=0, lt=1)] = pydantic.Field(
        description="chance that any audit of the schedule fails though nothing is worse"
    )
    audits: Annotated[int, pydantic.Field(gt=0)] = pydantic.Field(
        1, description="of the schedule, 52 for a year of weeks; each may spend its part of the rate"
    )
    correct: corrections.Correction = pydantic.Field(
        "holm",
        description="for all checks of an audit together. holm: any false alarm; benjamini_hochberg: the share of false"
        " ones among the alarms, which finds more where much is worse",
    )


class Gate(_Section):
    """A whole gate file."""

    min_n: _Count = pydantic.Field(30, description="with fewer measurements a number is inconclusive")
    inconclusive: Literal["warn", "fail"] = "warn"
    false_alarms: FalseAlarms | None = pydantic.Field(
        None, description="without it every check is judged alone, by its 95 % interval"
    )
    rules: Annotated[tuple[Rule, ...], pydantic.Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _keeps_its_promise(self) -> Gate:
        strict = self.inconclusive == "fail" or any(rule.inconclusive == "fail" for rule in self.rules)
        if self.false_alarms is not None and strict:
            raise ValueError(
                "false_alarms cannot be kept where inconclusive is fail: noise fails such a gate; leave one of them out"
            )
        return self


def load(path: str | os.PathLike[str]) -> Gate:
    """The gate in a YAML file.

    Raises:
        config.ConfigError: the file cannot be read, or anything in it is wrong; all problems at once.
    """
    try:
        content, wrong = yaml_text.read(pathlib.Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise config.ConfigError([f"it is not UTF-8 text ({error})"], str(path)) from None
    except (OSError, ValueError) as error:
        raise config.ConfigError([" ".join(str(error).split())], str(path)) from None
    if wrong:
        raise config.ConfigError(wrong, str(path))
    if not isinstance(content, dict):
        problem = f"the whole file: expected a mapping with rules, got {type(content).__name__}"
        raise config.ConfigError([problem], str(path))
    try:
        return Gate.model_validate(content)
    except pydantic.ValidationError as error:
        problems = list(config.describe_problems(error, Gate))
        # A rule with a mistake is left out and may leave none; that there is none then is no mistake of its own.
        own = [one for one in problems if not one.startswith("rules: ")]
        raise config.ConfigError(own or problems, str(path)) from None
