from __future__ import annotations

from heatbeam.export.publish import bigquery


def test_a_statement_for_each_table_with_a_uri_for_each_run_that_has_it():
    runs = [("gs://b/a'b", ("explanations", "localizations")), ("gs://b/two", ("explanations",))]
    assert bigquery.of_tables(runs, "project.audits") == (
        "CREATE OR REPLACE EXTERNAL TABLE `project.audits.explanations`\n"
        "OPTIONS (\n"
        "  format = 'PARQUET',\n"
        "  enable_list_inference = TRUE,\n"
        "  uris = [\n"
        "    'gs://b/a\\'b/explanations/part-*.parquet',\n"
        "    'gs://b/two/explanations/part-*.parquet'\n"
        "  ]\n"
        ");\n"
        "\n"
        "CREATE OR REPLACE EXTERNAL TABLE `project.audits.localizations`\n"
        "OPTIONS (\n"
        "  format = 'PARQUET',\n"
        "  enable_list_inference = TRUE,\n"
        "  uris = [\n"
        "    'gs://b/a\\'b/localizations/part-*.parquet'\n"
        "  ]\n"
        ");\n"
    )
