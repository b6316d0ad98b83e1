"""The model card of a small run, by value."""

from __future__ import annotations

import yaml

from heatbeam import cli
from heatbeam.export.publish import model_card
from heatbeam.runs import run_directory
from tests.support import audit_runs

SUMMARY = [
    audit_runs.summary_row("pointing_game", 0.75, 0.5, 0.875, n=40),
    audit_runs.summary_row("pointing_game", 0.5, method="baseline_centre"),
    audit_runs.summary_row("pointing_game", 0.25, slice_name="class", slice_value="cat"),
    audit_runs.summary_row("top1_accuracy", 0.875, method="model", n=40),
    audit_runs.summary_row("pxap", float("nan")),
]


def card_of(path, **changes) -> tuple[dict, str]:
    """The metadata block and the text below it."""
    run = run_directory.RunDirectory(audit_runs.write_run(path, [audit_runs.Row("a")], SUMMARY, **changes))
    empty, block, body = model_card.text(run).split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(block), body


def test_the_metadata_block_has_the_results_by_task_data_and_metric(tmp_path):
    block, _ = card_of(tmp_path / "run", config={"model": {"path": "models/flowers.keras"}})
    assert block == {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["class-activation-maps", "explainability", "heatbeam"],
        "model-index": [
            {
                "name": "flowers",
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Image Classification"},
                        "dataset": {"type": "shards", "name": "shards-*"},
                        "metrics": [
                            {"type": "accuracy", "value": 0.875, "name": "Top-1 accuracy"},
                            {"type": "pointing_game", "value": 0.75, "name": "Pointing game of cam"},
                        ],
                    }
                ],
            }
        ],
    }


def test_the_text_has_the_numbers_their_intervals_and_what_decides_them(tmp_path):
    _, body = card_of(tmp_path / "run", warnings=("2 shards | of 4 are missing",), counts={"dead_letters": 2})
    assert "| Top-1 accuracy | the model | 0.8750 | – | 40 | higher |\n" in body
    assert "| Pointing game | cam | 0.7500 | 0.5000 to 0.8750 | 40 | higher |\n" in body
    assert "over 3 images of shards-\\* on 2026-01-02; 2 records were lost." in body
    assert "- model digest (SHA-256 of the weights): `d1`\n" in body and "- target layer: last, 2x2x4\n" in body
    assert "- 2 shards \\| of 4 are missing\n" in body
    assert "0.2500" not in body and "baseline" not in body and "gate" not in body


def test_tasks_of_values_and_of_pixels(tmp_path):
    block, _ = card_of(tmp_path / "values", model={"probability": "value"})
    assert "pipeline_tag" not in block
    assert block["model-index"][0]["results"][0]["task"]["type"] == "image-regression"
    block, _ = card_of(tmp_path / "pixels", model={"pixels": [8, 8]})
    assert block["pipeline_tag"] == "image-segmentation"


def test_a_data_set_of_tfds_is_named_with_its_split(tmp_path):
    data = {"tfrecord": None, "tfds": {"name": "coco/2017", "split": "validation[:10%]"}}
    block, _ = card_of(tmp_path / "run", config={"input": data})
    dataset = block["model-index"][0]["results"][0]["dataset"]
    assert dataset == {"type": "coco-2017-validation-10", "name": "coco/2017 validation[:10%]"}


def test_the_command_writes_the_card_with_the_verdict(tmp_path, capsys):
    path = audit_runs.write_run(tmp_path / "run", [audit_runs.Row("a")], SUMMARY)
    (tmp_path / "verdict.json").write_text('{"format": "heatbeam-verdict", "verdict": "pass", "counts": {"pass": 1}}')
    card = tmp_path / "card.md"
    arguments = ["publish", path, "--model-card", str(card), "--verdict", str(tmp_path / "verdict.json")]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == f"{card}\n"
    assert "- gate: passed\n" in card.read_text(encoding="utf-8")
