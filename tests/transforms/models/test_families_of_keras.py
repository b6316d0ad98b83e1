"""Every family of keras.applications: the expert's layer is mapped, and its Grad-CAM is a plain gradient tape's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.families import applications, family, table

QUICK = ("MobileNetV2", "VGG16")
"""A residual and a plain network, which take seconds."""


def _marked(one: family.Family):
    return pytest.param(one, id=one.name, marks=() if one.name in QUICK else pytest.mark.families)


@pytest.mark.parametrize("one", [_marked(one) for one in applications.FAMILIES])
def test_the_experts_layer_is_mapped_as_by_hand(one: family.Family) -> None:
    proof = table.proof(one)
    assert (proof.layer, proof.prefix_tokens, proof.warnings) == (one.layer, one.prefix_tokens, ())
    largest = np.abs(proof.by_hand).max()
    assert largest > 0
    np.testing.assert_allclose(proof.maps, proof.by_hand, rtol=0, atol=1e-5 * largest)


def test_the_page_has_their_table() -> None:
    assert table.of(applications.TITLE, applications.FAMILIES) in table.PAGE.read_text(encoding="utf-8")
