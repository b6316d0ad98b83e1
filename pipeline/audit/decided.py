"""What was decided about a run, in the first lines of its report: the gate, whether reasons moved, proved shortcuts.

Decisions come after the report: `heatbeam compare --newest` and `heatbeam prove` renew the lines of a report that is
there, between its marks, and leave the rest as it is.
"""

from __future__ import annotations

import urllib.parse
from typing import Any, NamedTuple

from heatbeam.audit.evidence import proofs, shown
from heatbeam.pages import page_templates
from heatbeam.runs import decisions, run_directory
from heatbeam.transforms.errors import harmless

REPORT = "report.html"

_TEMPLATES = {"decided": "decided.html", "proofs": "proofs.html"}
"""What is renewed, each between its marks."""

_MOST_NAMED = 3


class Line(NamedTuple):
    """A decision.

    Attributes:
        level: ``alert``, ``note`` or ``good``.
        text: a sentence.
        href: where the evidence is: an anchor of the report, or the path of a page; empty where there is none.
        link: what the link is called.
    """

    level: str
    text: str
    href: str = ""
    link: str = ""


def context(run: run_directory.RunDirectory, run_id: str | None) -> dict[str, Any]:
    """What the templates take: the lines, and the section of the proofs.

    Args:
        run: a finished run.
        run_id: of its manifest; proofs of another run do not count.
    """
    return {"decided": lines(run, run_id), "proofs": shown.section(run, run_id)}


def lines(run: run_directory.RunDirectory, run_id: str | None) -> list[Line]:
    """What was decided about a run, the gate first; none where nothing was."""
    decision = decisions.read(run)
    found = [] if decision is None else [*_gate(decision), *_reasons(decision)]
    table = proofs.read(run, run_id)
    return found if table is None else [*found, _shortcuts(table.drop_columns(["pictures"]).to_pylist())]


def _gate(decision: decisions.Decision) -> list[Line]:
    if decision.gate is None:
        return []
    open_checks = f"{decision.inconclusive:,} cannot be told"
    against = f"against {decision.baseline}" + (f"{decision.part}, drawn at random" if decision.part else "")
    if decision.gate:
        text = f"The gate passed {against}" + (f"; {open_checks}." if decision.inconclusive else ".")
        return [Line("good", text, *_page(decision, "gate"))]
    failed = f"{decision.failed:,} {'check' if decision.failed == 1 else 'checks'} failed, {open_checks}"
    return [Line("alert", f"The gate failed {against}: {failed}.", *_page(decision, "gate"))]


def _reasons(decision: decisions.Decision) -> list[Line]:
    if decision.reasons_p is None:
        return []
    tested = f"p = {decision.reasons_p:.3g}, over other images than those of {decision.baseline}"
    if decision.reasons_p > decisions.LEVEL:
        return [Line("good", f"No sign that the model's reasons moved ({tested}).", *_page(decision, "reasons"))]
    share = decision.reasons_share or 0.0
    part = f"at least {share:.1%}" if share > 0 else "some"
    text = f"The model's reasons moved ({tested}): {part} of the images are explained as none of the baseline's were."
    return [Line("alert", text, *_page(decision, "reasons"))]


def _page(decision: decisions.Decision, anchor: str) -> tuple[str, str]:
    # Quoted, a path leads nowhere but to a file, whoever wrote it.
    return (f"{urllib.parse.quote(decision.page)}#{anchor}", "the comparison") if decision.page else ("", "")


def _shortcuts(rows: list[dict[str, Any]]) -> Line:
    proved = list(dict.fromkeys(row["class_name"] for row in rows if row["verdict"] == proofs.PROVED))
    tried = f"{len(rows):,} {'suspect was' if len(rows) == 1 else 'suspects were'} tried"
    if proved:
        names = ", ".join(proved[:_MOST_NAMED])
        names += f" and {len(proved) - _MOST_NAMED:,} more classes" if len(proved) > _MOST_NAMED else ""
        text = f"Shortcuts are proved of {names}: {tried} by changing images, {shown.summary(rows)}."
        return Line("alert", text, "#proofs", "the interventions")
    undecided = any(row["verdict"] == proofs.UNDECIDED for row in rows)
    how = f" by changing images, {shown.summary(rows)}" if rows else ""
    return Line(
        "note" if undecided else "good", f"No shortcut is proved: {tried}{how}.", "#proofs", "the interventions"
    )


def renew(run: run_directory.RunDirectory, run_id: str | None) -> bool:
    """Bring the report that lies in a run up to what is decided now; whether there was one.

    Raises:
        errors.PathError: it cannot be read or written.
    """
    content = run.read_file(REPORT)
    if content is None:
        return False
    page, environment, given = content.decode(), page_templates.environment(), context(run, run_id)
    for name, template in _TEMPLATES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if found and ended:  # older reports have no marks
            page = before + begin + harmless.lines(environment.get_template(template).render(given)) + end + after
    run.write_file(REPORT, page.encode())
    return True
