"""How templates become pages: what is escaped, hidden and called what is the same for every page."""

from __future__ import annotations

import jinja2

from heatbeam.pages import report_text

_FILTERS = ("number", "share", "count", "breakable", "nice")
"""Functions of `report_text` that templates know by name."""


def environment(loader: jinja2.BaseLoader | None = None) -> jinja2.Environment:
    """The templates of `pages`, or those of `loader`; a name that a page does not give is an error."""
    made = jinja2.Environment(
        loader=loader or jinja2.PackageLoader("heatbeam.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=report_text.without_secrets,
    )
    made.filters |= {name: getattr(report_text, name) for name in _FILTERS}
    return made
