"""A verdict for people, for CI systems and for the history of a schedule: text, JSON and JUnit XML."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import TextIO
from xml.etree import ElementTree

from heatbeam.audit import decided
from heatbeam.compare import compare, verdicts
from heatbeam.runs import decisions, remote_files, run_directory
from heatbeam.transforms import errors
from heatbeam.transforms.errors import harmless
from heatbeam.transforms.metrics import slicing

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUITE = "heatbeam gate"
_OPEN_OF_A_RULE = 8


def write_json(verdict: verdicts.Verdict, path: str | os.PathLike[str]) -> None:
    """The verdict as JSON."""
    text = json.dumps(verdicts.as_dict(verdict), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    remote_files.write(path, text.encode("utf-8", "replace"))


def write_junit(verdict: verdicts.Verdict, path: str | os.PathLike[str]) -> None:
    """The verdict as JUnit XML: one test case per check, a warning being a skipped one.

    The elements are those that Jenkins, GitLab and GitHub's report actions read: ``testsuites``, ``testsuite`` with
    its counts, ``testcase`` with ``classname`` and ``name``, ``failure`` and ``skipped`` with ``message``.
    """
    failures = sum(check.fails for check in verdict.checks)
    skipped = sum(check.outcome == "inconclusive" and not check.fails for check in verdict.checks)
    counts = {"tests": str(len(verdict.checks)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", {"name": _SUITE, **counts, "time": "0"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _SUITE, **counts, "time": "0"})
    for check in verdict.checks:
        case = ElementTree.SubElement(suite, "testcase", {
            "classname": _clean(f"{check.method}.{slicing.title(check.slice_name, check.slice_value)}"),
            "name": _clean(f"{check.metric} {check.kind} (rule {check.rule})"),
            "time": "0",
        })  # fmt: skip
        if check.fails:
            ElementTree.SubElement(case, "failure", {"message": _clean(check.message), "type": check.outcome})
        elif check.outcome == "inconclusive":
            ElementTree.SubElement(case, "skipped", {"message": _clean(check.message)})
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(check.message)
    ElementTree.indent(root)
    remote_files.write(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def keep(comparison: compare.Comparison, verdict: verdicts.Verdict | None, page: str | None = None) -> None:
    """Write what was decided beside the run, for the history of its schedule and the first lines of its report.

    Where that cannot be, a warning says so.

    Args:
        comparison: of the run with its baseline.
        verdict: of the gate; None without one.
        page: where the comparison is written as HTML; None if it is not.
    """
    local = page is not None and not any(map(remote_files.is_remote, (page, comparison.candidate)))
    drift = comparison.drift if comparison.drift is not None and not comparison.drift.why_not else None
    decision = decisions.Decision(
        baseline=comparison.baseline,
        gate=None if verdict is None else verdict.passed,
        failed=0 if verdict is None else sum(check.fails for check in verdict.checks),
        inconclusive=0 if verdict is None else verdict.count("inconclusive"),
        reasons_p=None if drift is None else drift.p_value,
        reasons_share=None if drift is None else drift.share,
        looks=() if verdict is None else verdict.looks,
        page=os.path.relpath(page, comparison.candidate) if page is not None and local else "",
    )
    run = run_directory.RunDirectory(comparison.candidate)
    what = f"the decision could not be kept in {comparison.candidate}, so that heatbeam history will not show it"
    try:
        decisions.write(run, decision)
        what = f"the report in {comparison.candidate} could not be brought up to what is decided now"
        decided.renew(run, run.read_manifest().run_id)
    except errors.PathError as error:
        sys.stderr.write(f"warning: {what}: {harmless.line(str(error))}\n")


def grouped(verdict: verdicts.Verdict) -> list[tuple[str, bool, int, str]]:
    """What did not pass, as ``(outcome, fails, rule, message)``; what is missing for one reason is one entry."""
    found: dict[tuple[int, str, str], list[verdicts.Check]] = {}
    for check in verdict.checks:
        if check.outcome != "pass":
            # Only the reason of what is missing is the same for many; every other message has its own numbers.
            key = check.message.partition(": ")[2] if check.kind == "missing" else check.message
            found.setdefault((check.rule, check.metric, key), []).append(check)
    rows: list[tuple[str, bool, int, str]] = []
    for (rule, metric, why), checks in found.items():
        message = checks[0].message
        if len(checks) > 1:
            methods = _some(dict.fromkeys(one.method for one in checks))
            places = _some(dict.fromkeys(slicing.title(one.slice_name, one.slice_value) for one in checks))
            message = f"{metric} of {methods}; {places}: {why} ({len(checks):,} checks)"
        rows.append((checks[0].outcome, checks[0].fails, rule, message))
    return rows


def _some(names: Iterable[str], limit: int = 4) -> str:
    listed = list(names)
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")


@dataclasses.dataclass(frozen=True)
class Told:
    """A verdict in the order in which it is read.

    Attributes:
        failures: ``(rule, message)`` of what fails, what is missing for one reason once.
        open: ``(rule, fails, message)`` of what cannot be told, at most a few a rule.
        more_open: ``(rule, count)`` of those left out.
        needed: ``(rule, metric, sentence)``: what each rule could have seen; of a gate with a promise, every rule.
        fine: checks that passed.
    """

    failures: list[tuple[int, str]]
    open: list[tuple[int, bool, str]]
    more_open: list[tuple[int, int]]
    needed: list[tuple[int, str, str]]
    fine: int


def told(verdict: verdicts.Verdict) -> Told:
    """What failed first, then what would have been needed to tell; what is fine is a number."""
    rows = grouped(verdict)
    undecided: dict[int, list[tuple[int, bool, str]]] = {}
    for outcome, fails, rule, message in rows:
        if outcome == "inconclusive":
            undecided.setdefault(rule, []).append((rule, fails, message))
    return Told(
        failures=[(rule, message) for outcome, _, rule, message in rows if outcome == "fail"],
        open=[one for rule in undecided.values() for one in rule[:_OPEN_OF_A_RULE]],
        more_open=[
            (number, len(rule) - _OPEN_OF_A_RULE) for number, rule in undecided.items() if len(rule) > _OPEN_OF_A_RULE
        ],
        needed=[
            (one.rule, one.metric, sentence)
            for one in verdict.reach
            if verdict.promise and (sentence := one.sentence())
        ],
        fine=verdict.count("pass"),
    )


def print_verdict(verdict: verdicts.Verdict, stream: TextIO) -> None:
    """What fails, what cannot be told and what that would have taken, then the verdict."""
    said = told(verdict)
    stream.writelines(f"  FAIL  {message}\n" for _, message in said.failures)
    more = dict(said.more_open)
    for rule, rows in itertools.groupby(said.open, lambda one: one[0]):
        stream.writelines(f"  {'FAIL' if fails else '?':<5} {message}\n" for _, fails, message in rows)
        if rule in more:
            stream.write(f"        and {more[rule]:,} more checks of rule {rule} that cannot be told\n")
    if said.needed:
        stream.write("\nwhat each rule could have seen (in four of five such audits)\n")
        stream.writelines(f"  rule {rule}  {metric}: {sentence}\n" for rule, metric, sentence in said.needed)
    stream.write(
        f"gate: {'pass' if verdict.passed else 'FAIL'} ({verdict.count('pass')} passed, {verdict.count('fail')} failed,"
        f" {verdict.count('inconclusive')} inconclusive)\n"
    )
    if verdict.promise is not None:
        stream.write(f"promise: {verdict.promise.sentence()}\n")


def _clean(text: str) -> str:
    """`text` without what XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
