from __future__ import annotations

import re

import pytest

from heatbeam import config, listing
from tests.support import keras_models, paths, small_runs

MOST_LINES = 200


def text_of(name: str) -> str:
    return (paths.ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("transforms/methods/README.md", "methods"),
        ("transforms/metrics/README.md", "metrics"),
        ("configs/README.md", "settings"),
    ],
)
def test_tables_are_what_the_program_prints(name, command):
    table = getattr(listing, f"{command}_markdown")()
    assert table in text_of(name), f"{name} is out of date: put in what `heatbeam {command} --markdown` prints"


def test_the_configuration_it_shows_is_valid():
    (shown,) = (
        block for block in re.findall(r"```yaml\n(.*?)```", text_of("README.md"), re.DOTALL) if "\ninput:" in block
    )
    settings = config.parse(shown)
    assert [m.label for m in settings.explain.methods] == ["cam", "grad_cam", "score_cam"]


def test_the_first_page_is_read_to_its_end():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", paths.READMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(name)):
        if "://" not in target:
            assert ((paths.ROOT / name).parent / target).exists(), target


def test_every_setting_says_what_it_is():
    silent = [path for path, _, _, text in listing.every_setting() if not text]
    assert not silent


def test_the_pipeline_it_shows_runs(tmp_path, monkeypatch, capsys):
    """As it stands there: over three images and one that is none, with an untrained model of the demo's size."""
    (shown,) = re.findall(r"```python\n(.*?)```", text_of("transforms/README.md"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "runs" / "demo_data"
    broken = small_runs.record(3, **{"image/encoded": [b"no image"]})
    small_runs.write(data, [*(small_runs.record(i) for i in range(3)), broken], 1)
    (data / "data-00000-of-00001.tfrecord").rename(data / "validation-0.tfrecord")
    keras_models.classifier(classes=5, size=96).save(data / "model.keras")
    exec(compile(shown, "README.md", "exec"), {"__name__": "shown"})  # noqa: S102 - our own page
    written = "".join(path.read_text() for path in (tmp_path / "runs").glob("least_sure-*"))
    assert {line.split("'")[1] for line in written.splitlines()} == {"image0000", "image0001", "image0002"}
    assert "corrupt_image" in capsys.readouterr().out
