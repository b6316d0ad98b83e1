"""A run whose images were moved, or that is looked at from another folder, still finds them."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from heatbeam.export import render
from heatbeam.runs import moved_images
from tests.support import manifests, paths

OLD = paths.ROOT / "tests" / "runs" / "old"
RUN = "runs/2026-11-29T22-04-27Z"


def of(started_in: str | None = None, **settings):
    return manifests.manifest(config={"input": settings}, started_in=started_in)


def test_a_relative_path_leads_from_the_folder_in_which_the_run_was_started(tmp_path, monkeypatch):
    (tmp_path / "there" / "data").mkdir(parents=True)
    (tmp_path / "there" / "data" / "a-1").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    manifest = of(str(tmp_path / "there"), tfrecord=["data/a-*", "gone/b-*", "/c-*", "gs://b/d-*"])
    found = moved_images.located(manifest)
    assert found.config.input.tfrecord == (f"{tmp_path}/there/data/a-*", "gone/b-*", "/c-*", "gs://b/d-*")
    assert moved_images.located(found) == found
    assert moved_images.located(of(None, tfrecord=["data/a-*"])).config.input.tfrecord == ("data/a-*",)


@pytest.mark.parametrize(
    ("images", "expected"),
    [("new", "{here}/new/a-*"), ("/new/", "/new/a-*"), ("/new/x-*.tfrecord", "/new/x-*.tfrecord"), ("gs://b/n", "gs://b/n/a-*")],
)  # fmt: skip
def test_shards_are_where_it_is_said(tmp_path, monkeypatch, images, expected):
    monkeypatch.chdir(tmp_path)
    found = moved_images.located(of(tfrecord=["old/data/a-*"]), images)
    assert found.config.input.tfrecord == (expected.format(here=tmp_path),)


def test_a_dataset_of_tfds_is_where_it_is_said(tmp_path):
    by_name = of(tfrecord=None, tfds={"name": "coco", "data_dir": "old"})
    several = moved_images.located(by_name, str(tmp_path)).config.input.tfds
    assert (several.name, several.data_dir, several.directory) == ("coco", str(tmp_path), None)
    (tmp_path / "dataset_info.json").write_text("{}")
    one = moved_images.located(by_name, str(tmp_path)).config.input.tfds
    assert (one.name, one.data_dir, one.directory) == (None, None, str(tmp_path))


def test_pictures_are_drawn_over_images_that_were_moved(tmp_path, monkeypatch):
    shutil.copytree(OLD / "runs", tmp_path / "runs")
    shutil.copytree(OLD / "shards", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)

    def with_image(images: str | None) -> int:
        target = str(tmp_path / f"pictures{images}".replace("/", "-"))
        return render.render(RUN, "", target, limit=3, longest_px=64, images=images).with_image

    assert (with_image(None), with_image("elsewhere"), with_image("nowhere")) == (0, 3, 0)
    assert pathlib.Path(RUN).exists()
