"""A verdict for people and for CI systems: text, JSON and JUnit XML."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import TextIO
from xml.etree import ElementTree

from heatbeam.compare import gate
from heatbeam.runs import remote_files
from heatbeam.transforms.metrics import slicing

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUITE = "heatbeam gate"


def write_json(verdict: gate.Verdict, path: str | os.PathLike[str]) -> None:
    """The verdict as JSON."""
    text = json.dumps(gate.as_dict(verdict), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    remote_files.write(path, text.encode("utf-8", "replace"))


def write_junit(verdict: gate.Verdict, path: str | os.PathLike[str]) -> None:
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


def grouped(verdict: gate.Verdict) -> list[tuple[str, bool, int, str]]:
    """What did not pass, as ``(outcome, fails, rule, message)``; what is missing for one reason is one entry."""
    found: dict[tuple[int, str, str], list[gate.Check]] = {}
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


def print_verdict(verdict: gate.Verdict, stream: TextIO) -> None:
    """What fails and what cannot be told, then the verdict."""
    stream.writelines(
        f"  {'FAIL' if fails else '?':<5} {message}\n"
        for _, fails, _, message in sorted(grouped(verdict), key=lambda row: not row[1])
    )
    stream.write(
        f"gate: {'pass' if verdict.passed else 'FAIL'} ({verdict.count('pass')} passed, {verdict.count('fail')} failed,"
        f" {verdict.count('inconclusive')} inconclusive)\n"
    )


def _clean(text: str) -> str:
    """`text` without what XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
