"""GT-known localization: is the box right, the class being given?

    GT-known loc. = mean(IoU of the box with the best true box >= 0.5)

The box is that of the largest contour at the protocol's fixed threshold. Russakovsky et al., IJCV 2015,
arXiv:1409.0575; the protocol of Choe et al., CVPR 2020, arXiv:2001.07437.
"""

from __future__ import annotations

from heatbeam.transforms.metrics.localization import scored_map

RIGHT_IOU = 0.5
"""A box at the fixed threshold is right at or above this IoU."""


def columns(one: scored_map.ScoredMap) -> dict[str, float]:
    """IoU of the box with the best true box of the class, and whether it is right; nothing where there are no boxes."""
    if one.box_scores is None:
        return {}
    iou = one.box_scores[0]
    return {"box_iou": iou, "box_hit": float(iou >= RIGHT_IOU)}
