"""Metrics of a map alone, and of a map against boxes and masks; and the model's own numbers."""

from __future__ import annotations

from heatbeam.transforms.metrics.catalogue.metric import Column, Group, Metric

_WSOL = "Choe et al., CVPR 2020, arXiv:2001.07437"
_POINTING = "Zhang et al., IJCV 2018, arXiv:1608.00507"
_SCORE_CAM = "Wang et al., CVPRW 2020, arXiv:1910.01279"
_IMAGENET = "Russakovsky et al., IJCV 2015, arXiv:1409.0575"

STATISTICS = Group(
    "statistics",
    "map_statistics.statistics",
    own_columns=(
        Column("entropy", "spread of the energy max(map, 0) over the cells: -sum p ln p", "nats", "[0, inf)"),
        Column("area", "share of the cells at or above half of the maximum"),
        Column("centroid_x", "centre of the energy, 0 left to 1 right, in the model's view"),
        Column("centroid_y", "centre of the energy, 0 top to 1 bottom, in the model's view", least_rank=2),
        Column("centroid_z", "centre of the energy, 0 first to 1 last, in the model's view", least_rank=3),
        Column("peak_x", "centre of the strongest cell, 0 left to 1 right, in the model's view"),
        Column("peak_y", "centre of the strongest cell, 0 top to 1 bottom, in the model's view", least_rank=2),
        Column("peak_z", "centre of the strongest cell, 0 first to 1 last, in the model's view", least_rank=3),
        Column("peak", "greatest value of the raw map", "logit", ""),
        Column("positive_share", "sum of max(map, 0) over sum of |map|"),
        Column("border_share", "share of the energy in the outermost ring of cells"),
        Column("corner_share", "share of the energy in the four corner blocks, a quarter of each side"),
    ),
    metrics=(
        Metric("entropy", "Spread of the map's energy over its cells.", "-sum p ln p, nats", "[0, inf)", "none", "none",
               "", "entropy", rank=500, shown=("methods",)),
        Metric("area", "Share of the cells at or above half of the maximum.", "mean(M >= max(M) / 2)", "[0, 1]", "none",
               "none", "", "area", rank=530, distribution="Area of the map"),
        Metric("border_share", "Share of the energy in the outermost ring of cells.", "sum of M on the ring / sum of M",
               "[0, 1]", "none", "none", "", "border_share", rank=510, shown=("methods", "classes"),
               title="Border energy", distribution="Border energy"),
        Metric("corner_share", "Share of the energy in the four corner blocks, a quarter of each side.",
               "sum of M in the blocks / sum of M", "[0, 1]", "none", "none", "", "corner_share", rank=520,
               shown=("classes",), title="Corner energy"),
    ),
)  # fmt: skip

PADDING = Group(
    "padding",
    "localization.padding.columns",
    own_columns=(
        Column("padding_energy", "share of the energy max(map, 0) that lies on padding; null where the view has none"),
    ),
    metrics=(
        Metric("padding_energy", "Mean share of the map's energy that lies on padding, of the images that have some.",
               "mean(sum of max(map, 0) times the part of each cell outside the image / sum of max(map, 0))", "[0, 1]",
               "lower", "none", "", "padding_energy", rank=505, shown=("methods",), title="Energy on padding"),
    ),
)  # fmt: skip

BOXES = Group(
    "boxes",
    "localization.gt_known.columns",
    own_columns=(
        Column("box_iou", "IoU of the box at the protocol's threshold with the best true box of the class"),
        Column("box_hit", "1 if that IoU is at least 0.5, else 0"),
    ),
    metrics=(
        Metric("max_box_acc", "Share of images whose box is right, at the one best threshold of the slice.",
               "max over t of mean(IoU(box of the largest contour of map > t, truth) >= 0.5)", "[0, 1]", "higher",
               "boxes", _WSOL, rank=210, shown=("methods",), title="MaxBoxAcc"),
        Metric("max_box_acc_v2",
               "The same with the boxes of all contours, averaged over IoU limits with a threshold each.",
               "mean over IoU in .3 .5 .7 of max over t of mean(best IoU >= limit)", "[0, 1]", "higher", "boxes", _WSOL,
               rank=200, shown=("methods", "cards", "findings", "history"), title="MaxBoxAccV2",
               plain="of the boxes drawn from the maps are right, at their best threshold"),
        Metric("box_acc_at_run_threshold", "Box accuracy of a slice at the best threshold of the whole run.",
               "as max_box_acc (single) and max_box_acc_v2 (multi), with t fixed", "[0, 1]", "higher", "boxes",
               rank=240, shown=("classes",), suffix="_single_50", title="Box accuracy"),
        Metric("best_box_threshold", "The threshold at which box accuracy is best, the lowest of equals.",
               "argmax over t", "[0, 1)", "none", "boxes", _WSOL),
        Metric("gt_known_loc", "Share of images whose box at the fixed threshold is right, the class being given.",
               "mean(IoU >= 0.5), largest contour, box_threshold of the protocol", "[0, 1]", "higher", "boxes",
               _IMAGENET, "box_hit", True, rank=220, shown=("methods",), title="GT-known loc."),
        Metric("top1_loc", "Share of images with the box right and the class the model's first choice.",
               "mean(box right and rank = 1)", "[0, 1]", "higher", "boxes", _IMAGENET, "top1_hit", True, rank=230,
               shown=("methods",), title="Top-1 loc."),
        Metric("top5_loc", "Share of images with the box right and the class among the first five.",
               "mean(box right and rank <= 5)", "[0, 1]", "higher", "boxes", _IMAGENET, "top5_hit", True),
        Metric("top1_gap", "What Top-1 localization loses to classification alone.",
               "gt_known_loc - top1_loc = mean(box right and rank > 1)", "[0, 1]", "lower", "boxes", "", "top1_gap",
               True),
        Metric("top5_gap", "What Top-5 localization loses to classification alone.",
               "gt_known_loc - top5_loc = mean(box right and rank > 5)", "[0, 1]", "lower", "boxes", "", "top5_gap",
               True),
        Metric("mean_box_iou", "Mean IoU of the box at the fixed threshold with the best true box.",
               "mean(IoU), largest contour", "[0, 1]", "higher", "boxes", "", "box_iou", rank=250,
               shown=("methods", "classes"), title="Mean box IoU", distribution="Box IoU"),
    ),
)  # fmt: skip

POINTING = Group(
    "pointing",
    "localization.pointing_game.columns",
    own_columns=(
        Column("pointing_hit", "1 if the strongest pixel lies on the object or within the tolerance, else 0"),
    ),
    metrics=(
        Metric("pointing_game", "Share of images whose strongest pixel lies on the object or near it.",
               "mean(any object pixel with dx^2 + dy^2 < 15^2), in original pixels; skipped if all boxes are difficult",
               "[0, 1]", "higher", "objects", _POINTING, "pointing_hit", True, rank=120,
               shown=("methods", "classes", "cards", "history"), title="Pointing game",
               plain="of the images: the strongest point is on the object"),
        Metric("pointing_game_per_class", "The pointing game, averaged over classes; n is the number of classes.",
               "mean over classes with examples of hits / examples (TorchRay counts a class without any as 0)",
               "[0, 1]", "higher", "objects", _POINTING),
    ),
)  # fmt: skip

ENERGY = Group(
    "energy",
    "localization.energy.columns",
    own_columns=(
        Column("energy_share", "share of the energy that lies on the object (energy-based pointing game)"),
        Column("energy_area", "share of the image that the object covers: a uniform map's energy share"),
        Column("energy_gain", "(energy_share - energy_area) / (1 - energy_area)", "", "(-inf, 1]"),
    ),
    metrics=(
        Metric("energy_pointing_game", "Mean share of the map's energy that lies on the object.",
               "mean(sum of max(map, 0) over the object / over the image); maps without energy left out", "[0, 1]",
               "higher", "objects", _SCORE_CAM, "energy_share", rank=100,
               shown=("methods", "classes", "cards", "findings", "history"), title="Energy on object",
               plain="of the evidence in the maps lies on the object", distribution="Energy on object"),
        Metric("object_area",
               "Mean share of the image that the object covers: what a uniform map scores for energy.",
               "mean(object pixels / pixels)", "[0, 1]", "none", "objects", "", "energy_area"),
        Metric("energy_gain", "How much of the room above a uniform map the energy fills.",
               "mean((energy - area) / (1 - area))", "(-inf, 1]", "higher", "objects", "", "energy_gain", rank=110,
               shown=("methods", "history"), title="Energy gain"),
    ),
)  # fmt: skip

MASKS = Group(
    "masks",
    "localization.pixel_precision_recall.columns",
    own_columns=(Column("mask_iou", "IoU of the map at the protocol's mask threshold with the mask of the class"),),
    metrics=(
        Metric("pxap", "Area under the precision-recall curve of pixels, pooled over all images.",
               "sum of P_i (R_i - R_(i-1)) from high to low scores; ignored pixels dropped", "[0, 1]", "higher",
               "masks", _WSOL, rank=300, shown=("methods", "classes", "cards", "findings", "history"), title="PxAP",
               plain="area under precision and recall of the pixels of the object"),
        Metric("best_mask_iou", "IoU of thresholded maps and masks, pooled over pixels, at the best threshold.",
               "max over t of TP / (TP + FP + FN)", "[0, 1]", "higher", "masks"),
        Metric("best_mask_f1", "F1 of thresholded maps and masks, pooled over pixels, at the best threshold.",
               "max over t of 2 TP / (2 TP + FP + FN)", "[0, 1]", "higher", "masks"),
        Metric("mean_mask_iou", "Mean over images of the mask IoU at the protocol's fixed threshold.",
               "mean(|map >= t and mask| / |map >= t or mask|)", "[0, 1]", "higher", "masks", "", "mask_iou", rank=310,
               shown=("methods",), title="Mean mask IoU", distribution="Mask IoU"),
    ),
)  # fmt: skip

LABELS = Group(
    "labels",
    "",
    metrics=(
        Metric("top1_accuracy", "Share of images whose label is the model's first choice.",
               "mean(rank of the label = 1)", "[0, 1]", "higher", "none", "", "label_top1", True, rank=10,
               shown=("classes", "cards", "history"), title="Top-1 accuracy",
               plain="of the images: the label is the model's first choice"),
        Metric("top5_accuracy", "Share of images whose label is among the model's first five.",
               "mean(rank of the label <= 5)", "[0, 1]", "higher", "none", "", "label_top5", True,
               title="Top-5 accuracy"),
        Metric("mean_label_probability", "Mean probability that the model gives to the label.", "mean(p)", "[0, 1]",
               "higher", "none", "", "label_probability", rank=20, shown=("classes",), title="Label prob."),
    ),
)  # fmt: skip
"""The model's own numbers, which concern no map."""

VALUES = Group(
    "values",
    "",
    metrics=(
        Metric("mean_absolute_error", "Mean distance of the model's value from the true one.",
               "mean(|predicted - true|)", "[0, inf)", "lower", "none", "", "value_error_size", rank=11,
               shown=("classes", "cards", "history"), title="MAE", plain="mean distance from the true value"),
        Metric("root_mean_squared_error", "Root of the mean squared difference of the model's value and the true one.",
               "sqrt(mean((predicted - true)^2))", "[0, inf)", "lower", "none", "", "value_error_squared", rank=12,
               shown=("classes", "cards", "history"), title="RMSE", root=True,
               plain="root of the mean squared error: large errors count more"),
        Metric("mean_error", "Mean difference of the model's value and the true one: its bias.",
               "mean(predicted - true)", "(-inf, inf)", "none", "none", "", "value_error", rank=13, shown=("classes",),
               title="Bias"),
    ),
)  # fmt: skip
"""The same of a model that gives values."""

OF_A_MAP = (STATISTICS,)
"""Groups whose function takes the raw maps of an image, ``(L, h, w)``, and gives a number for each, float64 (L,)."""

OF_A_VIEW = (PADDING,)
"""Groups whose function takes the `scored_map.Framed` maps of an image, and gives a number for each likewise."""

OF_AN_OBJECT = (BOXES, POINTING, ENERGY, MASKS)
"""Groups whose function takes a `scored_map.ScoredMap`. All in the order of their columns."""
