"""An audit that reads its images in random order and stops as soon as the gate's verdict is certain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from heatbeam import config
from heatbeam.compare import compare, gate, gate_looks, gate_rules, verdicts
from heatbeam.runs import decisions, manifests, run_directory
from heatbeam.transforms.metrics import registry, slicing
from heatbeam.transforms.metrics.alarms import looks

Explain = Callable[[float], str]
"""Brings the run to a share of the images, 1 being all; its directory."""


class Sequential:
    """An audit of a model against a baseline, which may stop early.

    Args:
        rules: of the gate.
        baseline: path of the finished run to hold it against.

    Attributes:
        looks: at which shares of the images it may stop.

    Raises:
        config.ConfigError: the gate asks for something that a part of the images cannot tell, or the baseline is a part
            itself.
        run_directory.RunDirectoryError: the baseline is not a finished run.
    """

    def __init__(self, rules: gate_rules.Gate, baseline: str) -> None:
        before = run_directory.RunDirectory(baseline).read_manifest()
        problems = [*_problems(rules), *_of_baseline(before, baseline)]
        if problems:
            raise config.ConfigError(problems, "--sequential")
        self._rules, self._baseline = rules, baseline
        least = max(rules.min_n if rule.min_n is None else rule.min_n for rule in rules.rules)
        self.looks = looks.planned(before.counts.images_explained, least)

    def audit(
        self, explain: Explain, tell: Callable[[str], object], start: float = 0.0
    ) -> tuple[compare.Comparison, verdicts.Verdict]:
        """Explain and judge share by share until the verdict is certain; what was found by then.

        Args:
            explain: see `Explain`; asked for greater and greater shares.
            tell: is told of each look in a line.
            start: share that is explained already: smaller ones are left out.

        Raises:
            config.ConfigError: the baseline is over other images.
        """
        taken: list[decisions.Taken] = []
        ahead = [one for one in self.looks if one.share >= start]
        for look, following in zip(ahead, [*ahead[1:], None], strict=True):
            comparison = compare.compare(self._baseline, explain(look.share))
            _check_same_images(comparison)
            # What cannot be compared at all is not comparable in any other image either; bounds ask for no comparison.
            hopeless = bool(comparison.incomparable) and any(rule.change is not None for rule in self._rules.rules)
            asked = look._replace(share=1.0) if hopeless else look
            verdict = gate.judge(self._rules, comparison.candidate, comparison, asked)
            done = asked.is_last or gate_looks.is_decided(verdict.checks)
            images = run_directory.RunDirectory(comparison.candidate).read_manifest().counts.images_explained
            counts = [verdict.count(outcome) for outcome in ("pass", "fail", "inconclusive")]
            taken.append(decisions.Taken(look.share, images, *counts))
            tell(_in_words(taken[-1], done, following))
            if done:
                break
        return comparison, dataclasses.replace(verdict, looks=tuple(taken))


def _in_words(taken: decisions.Taken, done: bool, following: looks.Look | None) -> str:
    checks = taken.passed + taken.failed + taken.inconclusive
    found = f"of {checks} checks {taken.passed} within their limits, {taken.failed} beyond, "
    if not done and following is not None:
        end = f"{taken.inconclusive} not certain yet; reading on to {following.share:.0%}"
    elif taken.share < 1:
        end = f"{taken.inconclusive} not certain yet; stopped: the verdict is certain"
    else:
        end = f"{taken.inconclusive} inconclusive; everything is read"
    return f"look at {taken.share:.0%} of the images ({taken.images:,}): {found}{end}"


def _problems(rules: gate_rules.Gate) -> Iterator[str]:
    if rules.false_alarms is None:
        yield (
            "false_alarms: missing; an audit that may stop early divides what it promises among its looks: give"
            " {rate: 0.05, audits: 52} or the like"
        )
    for number, rule in enumerate(rules.rules):
        where = f"rules.{number}"
        if rule.slice != (slicing.ALL,):
            yield f"{where}.slice: {', '.join(rule.slice)}; only rules over everything (all) may stop an audit early"
        if rule.judge == "value":
            yield f"{where}.judge: value; a value alone does not say how far a part of the images is from the whole"
        if not _is_mean(rule.metric):
            yield (
                f"{where}.metric: {rule.metric} is no mean over images, and of a part of them it is another number;"
                " judge it in an audit that reads everything"
            )


def _is_mean(metric: str) -> bool:
    if metric in compare.MEASURES:
        return True
    known = registry.described(metric)
    if known is None:
        return True
    return known.name == metric and bool(known.column) and not registry.is_root(known.column)


def _of_baseline(before: manifests.Manifest, path: str) -> Iterator[str]:
    if before.drawn is not None:
        yield (
            f"baseline: {path} explained {before.drawn.share:.0%} of its images; go on with it first"
            " (heatbeam run CONFIG --resume)"
        )


def _check_same_images(comparison: compare.Comparison) -> None:
    if comparison.different_images:
        both = comparison.counts["images_in_both"]
        problem = (
            f"baseline: {comparison.baseline} is over other images ({both:,} are in both); an audit stops early by"
            " pairs of the same images: hold such runs against each other when everything is read"
        )
        raise config.ConfigError([problem], "--sequential")
