"""What every section of the settings is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pydantic


class Section(pydantic.BaseModel):
    """A section of the settings: frozen, without unknown keys, and without numbers that are none (NaN, infinite)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def refuse(wrong: Mapping[str, bool]) -> None:
    """Refuse a section for everything that is wrong between its fields, a line each.

    Raises:
        ValueError: if any is.
    """
    said = [message for message, is_wrong in wrong.items() if is_wrong]
    if said:
        raise ValueError("\n".join(said))


Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[int, pydantic.Field(ge=1)]
