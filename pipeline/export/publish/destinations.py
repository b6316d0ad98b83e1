"""What goes wrong at a destination, whichever it is."""

from __future__ import annotations

from heatbeam.transforms import errors


class PublishError(errors.UserError, ValueError):
    """The run cannot be published there; the message says why."""
