"""A weekly audit as an Airflow 3 DAG: run, keep the newest twelve, compare with the run before it."""

from __future__ import annotations

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag

AUDIT = "/srv/audit"  # audit.yaml with output.root, and gate.yaml
ROOT = "/data/audits"  # output.root


@dag(
    schedule="0 6 * * 1",
    start_date=datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,  # two audits at once would compare the wrong runs
)
def heatbeam_audit() -> None:
    """Exit status 1, the gate failed, and 2, a mistake in a file, both fail a task; the gate is the last."""
    run = BashOperator(task_id="run", bash_command=f"heatbeam run {AUDIT}/audit.yaml")
    prune = BashOperator(task_id="prune", bash_command=f"heatbeam history {ROOT} --keep 12")
    gate = BashOperator(
        task_id="gate",
        bash_command=f"heatbeam compare --newest {ROOT} --gate {AUDIT}/gate.yaml --html {AUDIT}/{{{{ ds }}}}.html",
    )
    run >> prune >> gate


heatbeam_audit()
