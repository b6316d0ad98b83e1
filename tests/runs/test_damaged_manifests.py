"""A manifest that was damaged or tampered with is refused in one line that names it; it leads to no other file."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
from typing import Any

import pytest

from heatbeam.report import report
from heatbeam.runs import history, run_directory
from heatbeam.transforms import errors
from tests.support import paths

OLD = paths.ROOT / "tests" / "runs" / "old" / "runs" / "2026-11-29T22-04-27Z"
SEEDS = int(os.environ.get("HEATBEAM_FUZZ", "1")) * 150
"""How many damages are tried; `make fuzz` tries more."""

JUNK: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e308, "", "x" * 5000, "../../etc/passwd", "\x1b[2J\n\u202e", [], {}, [[]], {"a": {"b": 1}},
    ["../x"], "\ud800",
)  # fmt: skip


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    shutil.copytree(OLD, tmp_path / "root" / OLD.name)
    return tmp_path / "root" / OLD.name


def document() -> dict[str, Any]:
    return json.loads((OLD / "manifest.json").read_text())


def refused(run: pathlib.Path, content: str) -> str:
    (run / "manifest.json").write_text(content)
    with pytest.raises(run_directory.RunDirectoryError) as caught:
        run_directory.RunDirectory(str(run)).open_table("summary")
    message = str(caught.value)
    assert "\n" not in message and "manifest.json" in message and len(message) < 1500
    return message


@pytest.mark.parametrize(
    "path",
    ["../other/summary/part-00000-of-00001.parquet", "/etc/passwd", "summary/../../x/part-00000-of-00001.parquet",
     "explanations/part-00000-of-00001.parquet", "summary/x.parquet", "summary/part-00000-of-00001.parquet\n", "",
     "s3://bucket/summary/part-00000-of-00001.parquet"],
)  # fmt: skip
def test_a_table_is_read_from_its_own_folder_alone(run, path):
    changed = document()
    changed["tables"]["summary"]["files"][0]["path"] = path
    assert "tables" in refused(run, json.dumps(changed))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("\x00\x01", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 10_000, "is not JSON"),
        (json.dumps(document())[:2000], "is not JSON"),
        ("[]", "is not the manifest of a heatbeam run"),
        (json.dumps(document() | {"status": ["succeeded"]}), "is not the manifest of a heatbeam run"),
        (json.dumps(document() | {"format_version": 1e99}), "has format version"),
        (json.dumps(document() | {"config": 3}), "config"),
        (json.dumps(document() | {"model": None}), "model"),
        (json.dumps(document() | {"heatbeam": "\x1b[2J" * 1000, "tables": 3}), "tables"),
        (json.dumps(document() | {"counts": document()["counts"] | {"records_read": 10**30}}), "counts.records_read"),
        (json.dumps(document() | {"counts": document()["counts"] | {"dead_letters": -1}}), "counts.dead_letters"),
        (json.dumps(document() | {"conventions": document()["conventions"] | {"protocol": {}}}), "protocol"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, content, said):
    assert said in refused(run, content)


def places(value: Any, place: tuple = ()) -> list[tuple]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] * bool(place) + [deeper for key, one in inside for deeper in places(one, (*place, key))]


def damaged(seed: int) -> str:
    """The manifest with one to three places replaced or removed, or cut off, or with other bytes."""
    choice = random.Random(seed)  # noqa: S311 - the same damage every time
    changed = document()
    for _ in range(choice.randint(1, 3)):
        *above, last = choice.choice(places(changed))
        inside: Any = changed
        for key in above:
            inside = inside[key]
        if choice.random() < 0.3:
            del inside[last]
        else:
            inside[last] = choice.choice(JUNK)
    text = json.dumps(changed)
    if choice.random() < 0.1:
        text = text[: choice.randrange(len(text))]
    if choice.random() < 0.1:
        place = choice.randrange(len(text))
        text = text[:place] + chr(choice.randrange(256)) + text[place + 1 :]
    return text


def test_whatever_is_damaged_nothing_but_an_error_of_the_users_comes_of_it(run):
    reports, said = 0, []
    for seed in range(SEEDS):
        (run / "manifest.json").write_bytes(damaged(seed).encode("utf-8", "replace"))
        directory = run_directory.RunDirectory(str(run))
        try:
            history.history(str(run.parent), ())
            manifest = directory.read_manifest()
            for name in manifest.tables:
                directory.open_table(name)
            manifest.as_dict()
            if reports < SEEDS // 15:
                reports += 1
                report.write_report(str(run))
        except errors.UserError as error:
            said.append(str(error))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert reports > 5 and not [one for one in said if "\n" in one]
