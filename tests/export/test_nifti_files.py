"""NIfTI files read back by nibabel: values in their places, the affine, units and orientation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from heatbeam.export import nifti_files
from heatbeam.transforms import records

AXES = (records.Axis("", "mm", 2.5, -10.0), records.Axis("", "mm", 0.5), records.Axis("", "mm", 1.0))

AFFINE = np.array([[1.0, 0, 0, 0.5], [0, 0.5, 0, 0.25], [0, 0, 2.5, -8.75], [0, 0, 0, 1]])


def read(path):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (heatbeam[nifti])")
    return nibabel.load(path)


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("nibabel", reason="nibabel is not installed (heatbeam[nifti])")
    return tmp_path / "one.nii.gz"


def test_a_volume_comes_back_with_its_axes_turned_and_its_steps(path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    nifti_files.write_values(path, values, AXES)
    image = read(path)
    assert image.shape == (4, 3, 2) and image.get_data_dtype() == np.int16
    data = np.asarray(image.dataobj)
    for z, y, x in ((0, 0, 0), (1, 2, 3), (1, 0, 2)):
        assert data[x, y, z] == values[z, y, x, 0]
    # The step of x is 1.0, of y 0.5 and of z 2.5 mm; z starts at -10 mm. Sample 3 of x reaches from 3.0 to 4.0 mm.
    np.testing.assert_allclose(image.affine @ [3, 2, 1, 1], [3.5, 1.25, -10 + 1.5 * 2.5, 1])
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header.get_zooms() == (1.0, 0.5, 2.5)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (2, 2)


def test_the_axes_of_the_array_are_those_of_the_world(path):
    import nibabel

    nifti_files.write_values(path, np.zeros((2, 3, 4, 1), np.uint8), AXES)
    assert nibabel.aff2axcodes(read(path).affine) == ("R", "A", "S")  # none is flipped


def test_heat_lies_over_the_volume(path):
    heat = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    nifti_files.write_heat(path, heat, AXES)
    image = read(path)
    data = image.get_fdata()
    assert data.shape == (4, 3, 2) and image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(data, heat.transpose(2, 1, 0), atol=0.5 / 255 + 1e-6)
    assert (data[0, 0, 0], data[3, 2, 1]) == (0, pytest.approx(1))
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_boxes_are_labels_of_the_samples_inside(path):
    boxes = ((1.0, 0.0, 0.0, 3.0, 2.0, 1.0), (3.4, 2.0, 1.0, 4.0, 3.0, 2.0))
    nifti_files.write_boxes(path, boxes, (2, 3, 4), AXES)
    data = np.asarray(read(path).dataobj)
    expected = np.zeros((4, 3, 2), np.uint8)
    expected[1:3, 0:2, 0] = 1
    expected[3, 2, 1] = 2  # the middle of sample 3 is at 3.5
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        ("bool", True, "uint8"), ("float16", 0.5, "float32"), ("int64", -7, "int32"), ("int64", 2**40, "float64"),
        ("uint16", 65535, "uint16"), ("float32", 0.1, "float32"),
    ],
)  # fmt: skip
def test_numbers_of_every_type_are_kept(path, dtype, value, stored):
    nifti_files.write_values(path, np.full((1, 1, 2, 1), value, dtype), AXES)
    image = read(path)
    assert image.get_data_dtype() == np.dtype(stored)
    assert np.asarray(image.dataobj)[0, 0, 0] == np.array(value, dtype)


def test_channels_are_a_fourth_axis(path):
    values = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
    nifti_files.write_values(path, values, AXES)
    np.testing.assert_array_equal(np.asarray(read(path).dataobj), values.transpose(2, 1, 0, 3))


@pytest.mark.parametrize(
    ("units", "named", "step"),
    [
        (("mm",) * 3, "mm", 2.5), (("cm",) * 3, "mm", 25.0), (("µm",) * 3, "micron", 2.5),
        (("", "mm", "mm"), "unknown", 2.5),
    ],
    ids=["mm", "cm", "micron", "mixed"],
)  # fmt: skip
def test_units(path, units, named, step):
    axes = tuple(records.Axis("", unit, 2.5) for unit in units)
    nifti_files.write_values(path, np.zeros((1, 1, 1, 1), np.uint8), axes)
    image = read(path)
    assert image.header.get_xyzt_units()[0] == named and image.affine[2, 2] == step


def test_without_nibabel_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(nifti_files.MissingNibabel, match=r"pip install 'heatbeam\[nifti\]'"):
        nifti_files.check_installed()
