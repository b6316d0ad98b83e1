"""Every family of KerasHub's image classifiers: the expert's layer is mapped, its Grad-CAM is a plain tape's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras_hub", reason="KerasHub is not installed; it needs Python 3.11 or later")
from tests.support.families import family, hub, table

# KerasHub's own Swin loses a mask that nothing made.
pytestmark = pytest.mark.filterwarnings("ignore:(.|\\n)*an input with a mask attached to it:UserWarning")


@pytest.mark.parametrize("one", hub.FAMILIES, ids=lambda one: one.name)
def test_the_experts_layer_is_mapped_as_by_hand(one: family.Family) -> None:
    proof = table.proof(one)
    assert (proof.layer, proof.prefix_tokens, proof.warnings) == (one.layer, one.prefix_tokens, ())
    largest = np.abs(proof.by_hand).max()
    assert largest > 0
    np.testing.assert_allclose(proof.maps, proof.by_hand, rtol=0, atol=1e-5 * largest)


def test_the_page_has_their_table() -> None:
    assert table.of(hub.TITLE, hub.FAMILIES) in table.PAGE.read_text(encoding="utf-8")
