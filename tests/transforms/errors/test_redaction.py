from __future__ import annotations

import pytest

from heatbeam.transforms.errors import redaction

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
TOKEN = "ghp_" + "a1" * 18

HIDDEN = {
    # names
    "--password=HUSH": "--password=...",
    "--db-passwd=HUSH": "--db-passwd=...",
    "--s3_secret_access_key=HUSH": "--s3_secret_access_key=...",
    "--s3_access_key_id=HUSH": "--s3_access_key_id=...",
    "--s3_session_token=HUSH": "--s3_session_token=...",
    "--azure_connection_string=AccountName=me;AccountKey=HUSH==": "--azure_connection_string=...;AccountKey=...",
    "--apiKey=HUSH": "--apiKey=...",
    "--auth=me:HUSH": "--auth=...",
    "-token=HUSH": "-token=...",
    "--password HUSH --region=eu": "--password ... --region=eu",
    "AWS_SECRET_ACCESS_KEY=HUSH": "AWS_SECRET_ACCESS_KEY=...",
    "DB_PASS=HUSH": "DB_PASS=...",
    "GITHUB_PAT=HUSH": "GITHUB_PAT=...",
    "--environment_options=process_variables=AWS_SECRET_ACCESS_KEY=HUSH,ZONE=b":
        "--environment_options=process_variables=AWS_SECRET_ACCESS_KEY=...,ZONE=b",
    "unknown option --passwrd, given {'client_secret': 'HUSH', 'zone': 'b'}":
        "unknown option --passwrd, given {'client_secret': '...', 'zone': 'b'}",
    '--pipeline_options={"api_key": "HUSH HUSH"}': '--pipeline_options={"api_key": "..."}',
    "password: HUSH": "password: ...",
    '{"password": 1234, "pass": "HUSH"}': '{"password": ..., "pass": "..."}',
    "Authorization: Bearer HUSHHUSH12": "Authorization: ...",
    # places
    "https://me:HUSH@host/a": "https://...@host/a",
    "https://me:HU@SH@host/a": "https://...@host/a",
    "https://HUSH@host:8080/a": "https://...@host:8080/a",
    "s3://KEY:HU/SH+x@bucket/a-*.tfrecord": "s3://...@bucket/a-*.tfrecord",
    "cannot read s3://u:HUSH@b/x: Access Denied": "cannot read s3://...@b/x: Access Denied",
    "postgresql://me:HUSH@host:5432/db": "postgresql://...@host:5432/db",
    "https://x.blob.core.windows.net/c/b?sv=2022&se=2030&sig=HUSH%3D": (
        "https://x.blob.core.windows.net/c/b?sv=2022&se=2030&sig=..."),
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=HUSH&X-Amz-Date=20260101&X-Amz-Signature=HUSH": (
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=...&X-Amz-Date=20260101&X-Amz-Signature=..."),
    "https://b/k?AWSAccessKeyId=HUSH&Expires=1&Signature=HUSH": (
        "https://b/k?AWSAccessKeyId=...&Expires=1&Signature=..."),
    "https://h/p?access_token=HUSH#id_token=HUSH": "https://h/p?access_token=...#id_token=...",
    "https://h/p?alt=media&key=HUSH": "https://h/p?alt=media&key=...",
    "https://h/p?X-Goog-Signature=HUSH": "https://h/p?X-Goog-Signature=...",
    # forms
    f"cannot sign with {KEY} here": "cannot sign with ... here",
    f"git clone with {TOKEN}": "git clone with ...",
    "-----BEGIN RSA PRIVATE KEY-----\nHUSH\n-----END RSA PRIVATE KEY-----": "...",
}  # fmt: skip

KEPT = [
    '{"counts": {"pass": 3, "fail": 0}}',
    "--project=my-project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/tmp",
    "--service_account_email=worker@my-project.iam.gserviceaccount.com",
    "--dataflow_kms_key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
    "--flink_master=localhost:8081",
    "--experiments=use_runner_v2",
    "--labels=team=vision",
    "abfss://container@account.dfs.core.windows.net/data",
    "ssh://git@host/repository",
    "http://localhost:9000/a@v1",
    "s3://bucket/a:b@c",
    "gs://bucket/photos/**-of-00010.tfrecord",
    "https://host/list?prefix=a&page=2",
    "explain.target_layer: unknown token: expected a name",
    "num_tokens=196",
    "password_file=/etc/heatbeam",
    "token_grid: 14",
    "class 'author=smith'",
    "C:\\data\\key.txt",
    "2026-01-02T03:04:05+00:00",
    "key=value",
    "tokenizer=bpe",
    "one pass: 8 images",
]


@pytest.mark.parametrize(("given", "shown"), HIDDEN.items())
def test_a_secret_is_hidden_and_what_stands_around_it_is_not(given, shown):
    assert redaction.text(given) == shown
    assert "HUSH" not in redaction.text(redaction.text(given))


@pytest.mark.parametrize("given", KEPT)
def test_what_a_reader_needs_stays(given):
    assert redaction.text(given) == given
    assert redaction.options([given]) == [given]


def test_an_option_and_its_value_may_be_two():
    given = ["--runner=x", "--s3_secret_access_key", "HUSH", "--token", "--region", "eu", "--password", "-HUSH"]
    shown = ["--runner=x", "--s3_secret_access_key", "...", "--token", "--region", "eu", "--password", "..."]
    assert redaction.options(given) == shown


def test_settings_keep_their_form():
    given = {
        "input": {"tfrecord": ["s3://K:HUSH@bucket/a-*"], "compression": "auto"},
        "model": {
            "path": "https://h/m.keras?token=HUSH",
            "arguments": {"api_key": "HUSH", "num_tokens": 196, "class_token": True, "token_size": 16, "pin": 4},
        },
        "runner": {
            "options": ["--password", "HUSH", "--project=p"],
            "resource_hints": {"min_ram": "4GB"},
            "environment": {"DB_PASSWORD": 123456, "credentials": {"user": "HUSH", "n": ["HUSH"]}, "tokens": None},
        },
    }
    assert redaction.document(given) == {
        "input": {"tfrecord": ["s3://...@bucket/a-*"], "compression": "auto"},
        "model": {
            "path": "https://h/m.keras?token=...",
            "arguments": {"api_key": "...", "num_tokens": 196, "class_token": True, "token_size": 16, "pin": 4},
        },
        "runner": {
            "options": ["--password", "...", "--project=p"],
            "resource_hints": {"min_ram": "4GB"},
            "environment": {"DB_PASSWORD": "...", "credentials": {"user": "...", "n": "..."}, "tokens": None},
        },
    }
