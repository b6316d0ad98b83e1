"""What was decided stands in the first lines of a report, and is brought up to date in one that is there."""

from __future__ import annotations

import pathlib

import pytest

from heatbeam.audit import decided
from heatbeam.audit.evidence import proofs
from heatbeam.runs import decisions, run_directory
from heatbeam.transforms.metrics import effects
from tests.support.audit_runs import Row, write_run

MARKED = "<h1>r</h1><!-- decided --><p>old</p><!-- /decided --><p>kept</p><!-- proofs --><!-- /proofs --><p>end</p>"


@pytest.fixture
def run(tmp_path) -> run_directory.RunDirectory:
    return run_directory.RunDirectory(write_run(tmp_path / "run", [Row("i1")]))


def tried(name: str, *differences: float, fresh: bool = True) -> proofs.Tried:
    facts = {
        "class_id": 0, "class_name": name, "source": "off_object", "component": -1, "suspicion": 0.5, "reason": "why",
        "against_controls": fresh, "on_object_known": True, "area": 0.1, "tried": [], "carriers": [], "passes": 1,
        "unread": 0, "pictures": [],
    }  # fmt: skip
    return proofs.Tried(facts, effects.paired(differences), effects.paired([]), effects.paired([]))


def keep_proofs(run: run_directory.RunDirectory, *some: proofs.Tried) -> None:
    path = pathlib.Path(run.path_of(proofs.FILE))
    path.parent.mkdir()
    path.write_bytes(proofs.parquet(proofs.table(some), run.read_manifest().run_id))


def lines(run: run_directory.RunDirectory) -> list[decided.Line]:
    return decided.lines(run, run.read_manifest().run_id)


def test_nothing_decided_is_no_line(run):
    assert lines(run) == []


def test_a_gate_and_moved_reasons_lead_to_the_comparison(run):
    kept = decisions.Decision("runs/old", False, 2, 1, 0.004, 0.031, page="../pages/a b.html")
    decisions.write(run, kept)
    gate, reasons = lines(run)
    text = "The gate failed against runs/old: 2 checks failed, 1 cannot be told."
    assert gate == ("alert", text, "../pages/a%20b.html#gate", "the comparison")
    assert (reasons.level, reasons.href) == ("alert", "../pages/a%20b.html#reasons")
    assert "reasons moved (p = 0.004, over other images than those of runs/old): at least 3.1% of" in reasons.text


@pytest.mark.parametrize(("p_value", "level"), [(0.05, "alert"), (0.051, "good")])
def test_reasons_moved_where_the_comparison_says_so(run, p_value, level):
    decisions.write(run, decisions.Decision("b", None, 0, 0, p_value, 0.0))
    assert [(one.level, one.href) for one in lines(run)] == [(level, "")]


def test_a_gate_that_passed_says_what_it_could_not_tell(run):
    decisions.write(run, decisions.Decision("b", True, 0, 3))
    assert lines(run) == [("good", "The gate passed against b; 3 cannot be told.", "", "")]


def test_a_gate_that_was_certain_early_says_of_how_much(run):
    taken = (decisions.Taken(0.05, 20, 0, 0, 1), decisions.Taken(0.1, 48, 0, 1, 0))
    decisions.write(run, decisions.Decision("b", False, 1, looks=taken))
    text = "The gate failed against b on 10% of the images, drawn at random: 1 check failed, 0 cannot be told."
    assert [one.text for one in lines(run)] == [text]
    decisions.write(run, decisions.Decision("b", True, looks=(*taken, decisions.Taken(1.0, 400, 1, 0, 0))))
    assert [one.text for one in lines(run)] == ["The gate passed against b."]


def test_no_path_leads_to_a_script(run):
    decisions.write(run, decisions.Decision("b", True, page="javascript:alert(1)"))
    assert lines(run)[0].href == "javascript%3Aalert%281%29#gate"


@pytest.mark.parametrize(
    ("some", "level", "text"),
    [
        ([tried("cat", 0.3, 0.31, 0.29), tried("owl", 0.0, 0.01, 0.0)], "alert",
         "Shortcuts are proved of cat: 2 suspects were tried by changing images, 1 proved, 0 undecided, 1 refuted."),
        ([tried("cat", 0.4, -0.3, 0.1)], "note",
         "No shortcut is proved: 1 suspect was tried by changing images, 0 proved, 1 undecided, 0 refuted."),
        ([tried("owl", 0.0, 0.01, 0.0)], "good",
         "No shortcut is proved: 1 suspect was tried by changing images, 0 proved, 0 undecided, 1 refuted."),
        ([], "good", "No shortcut is proved: 0 suspects were tried."),
        ([tried(f"c{n}", 0.5, 0.51, 0.49) for n in range(5)], "alert",
         ("Shortcuts are proved of c0, c1, c2 and 2 more classes: 5 suspects were tried by changing images, 5 proved, "
          "0 undecided, 0 refuted.")),
    ],
    ids=["proved", "undecided", "refuted", "none_tried", "many"],
)  # fmt: skip
def test_proofs_in_a_line(run, some, level, text):
    keep_proofs(run, *some)
    assert lines(run) == [(level, text, "#proofs", "the interventions")]


def test_a_report_that_is_there_is_brought_up_to_date_and_nothing_else_of_it(run):
    assert not decided.renew(run, run.read_manifest().run_id)
    run.write_file(decided.REPORT, MARKED.encode())
    decisions.write(run, decisions.Decision("<b>", True, page="c.html"))
    keep_proofs(run, tried("cat", 0.3, 0.31, 0.29))
    for _ in range(2):  # the same again
        assert decided.renew(run, run.read_manifest().run_id)
        page = pathlib.Path(run.path_of(decided.REPORT)).read_text()
        first, _, rest = page.partition("<p>kept</p>")
        assert "old" not in page and page.endswith("<!-- /proofs --><p>end</p>")
        assert 'The gate passed against &lt;b&gt;. <a href="c.html#gate">the comparison</a>' in first
        assert "Shortcuts are proved of cat" in first and '<a href="#proofs">' in first
        assert rest.count('id="proofs"') == 1 and first.count("<h2>Decided</h2>") == 1


def test_a_report_of_before_has_no_marks_and_stays_as_it_is(run):
    run.write_file(decided.REPORT, b"<h1>r</h1>")
    decisions.write(run, decisions.Decision("b", True))
    decided.renew(run, run.read_manifest().run_id)
    assert pathlib.Path(run.path_of(decided.REPORT)).read_text() == "<h1>r</h1>"
