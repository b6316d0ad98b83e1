"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

import pydantic


class Section(pydantic.BaseModel):
    """A section of the settings: frozen, and without unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[int, pydantic.Field(ge=1)]
