"""``python -m tests.benchmarks.shortcuts``: planted shortcuts, and what three audits say of them, in one table.

Exit status 1 where a goal is missed over all worlds: recall at least 0.9 of the cues that the networks learnt, false
proofs at most 0.05 of the clean classes, and the interventions' cost at most 0.3 of the runs'.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.shortcuts import judged, worlds

RECALL, FALSE, COST = 0.9, 0.05, 0.3
AUDITS = ("proved", "without_boxes", "fixed_place", "clusters")


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the worlds; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shortcuts", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="build/shortcuts", help="where networks and runs are kept")
    parser.add_argument("--half", choices=("development", "held_out"), help="one half of the kinds only")
    parser.add_argument("--rounds", type=int, default=1, help="networks of each half and architecture")
    parser.add_argument("--json", default="build/shortcuts.json", metavar="FILE")
    given = parser.parse_args(arguments)
    found = {
        world.name: (world, judged.judge(world, pathlib.Path(given.folder)))
        for world in worlds.all_worlds(given.rounds)
        if given.half is None or world.name.startswith(given.half)
    }
    figures = {}
    for half in ("development", "held_out"):
        some = [pair for name, pair in found.items() if name.startswith(half)]
        if some:
            figures[half] = figures_of(some)
    figures["all"] = figures_of(list(found.values()))
    pathlib.Path(given.json).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(given.json).write_text(json.dumps(figures, indent=1))
    _print(found, figures)
    whole = figures["all"]
    proved = whole["audits"]["proved"]
    met = proved["recall"] >= RECALL and proved["false"] <= FALSE and whole["cost"] <= COST
    return 0 if met else 1


def figures_of(pairs: Sequence[tuple[worlds.World, judged.Judged]]) -> dict[str, Any]:
    """Recall and false accusations of each audit, and what the interventions cost."""
    learnt = [(j, c) for _, j in pairs for c, effect in j.effects.items() if effect >= worlds.LEAST_EFFECT]
    clean = [(j, c) for world, j in pairs for c in range(world.classes) if j.effects.get(c, 0.0) < worlds.LEAST_EFFECT]
    return {
        "learnt": len(learnt),
        "clean": len(clean),
        "audits": {
            name: {
                "recall": sum(c in getattr(j, name) for j, c in learnt) / max(len(learnt), 1),
                "false": sum(c in getattr(j, name) for j, c in clean) / max(len(clean), 1),
            }
            for name in AUDITS
        },
        "cost": sum(j.prove_s for _, j in pairs) / sum(j.run_s for _, j in pairs),
        "passes": sum(j.passes for _, j in pairs) / sum(j.run_images for _, j in pairs),
        "cost_without_boxes": sum(j.prove_blind_s for _, j in pairs) / sum(j.run_s for _, j in pairs),
        "passes_without_boxes": sum(j.passes_blind for _, j in pairs) / sum(j.run_images for _, j in pairs),
    }


def _print(found: dict[str, tuple[worlds.World, judged.Judged]], figures: dict[str, dict[str, Any]]) -> None:
    write = sys.stdout.write
    for name, (world, one) in found.items():
        write(f"{name}\n")
        for class_id, effect in sorted(one.effects.items()):
            cue = world.planted[class_id]
            learnt = "learnt" if effect >= worlds.LEAST_EFFECT else "not learnt"
            says = ", ".join(audit for audit in AUDITS if class_id in getattr(one, audit)) or "nothing"
            write(f"  {cue.kind:14} in {cue.share:4.0%}: effect {effect:+.2f}, {learnt:10} -> {says}\n")
    heads = ("kinds", "learnt", "clean", "audit", "recall", "false", "cost (time)", "cost (images)")
    write(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    for half, numbers in figures.items():
        for audit in AUDITS:
            one = numbers["audits"][audit]
            costs = {"proved": ("cost", "passes"), "without_boxes": ("cost_without_boxes", "passes_without_boxes")}
            cost = tuple(f"{numbers[name]:.2f}" for name in costs[audit]) if audit in costs else ("", "")
            cells = (half, numbers["learnt"], numbers["clean"], audit, f"{one['recall']:.2f}", f"{one['false']:.2f}")
            write(f"| {' | '.join(map(str, (*cells, *cost)))} |\n")


if __name__ == "__main__":
    sys.exit(main())
