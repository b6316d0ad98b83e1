"""Every metric: what it is, in words and as a formula, and how to read it.

`METRICS` is what ``heatbeam metrics`` and the README print; `COLUMNS` and `SCORE_COLUMNS` are the per-image columns of
``explanations``, without and with a model.
A column is averaged over a slice into the metric of `dataset_name`; a column without an entry keeps its name.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

Direction = Literal["higher", "lower", "none"]
Needs = Literal["none", "boxes", "masks", "objects", "predictions"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of the summary.

    Attributes:
        name: in the column ``metric``; numbers per IoU limit or threshold add a suffix.
        definition: one sentence.
        formula: with the convention that changes the number.
        range: of the value. Proportions are fractions; publications often print 100 times them.
        better: which direction is better.
        needs: ``objects`` means masks or boxes; ``predictions`` means forward passes.
        paper: where it was defined; empty for our own.
        column: the per-image column it is the mean of; empty if it is no mean.
        proportion: whether the column is 0 or 1, so that the interval is Wilson's.
    """

    name: str
    definition: str
    formula: str
    range: str
    better: Direction
    needs: Needs
    paper: str = ""
    column: str = ""
    proportion: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """One per-image column: its name, description, unit and range."""

    name: str
    description: str
    unit: str = ""
    range: str = "[0, 1]"


_WSOL = "Choe et al., CVPR 2020, arXiv:2001.07437"
_POINTING = "Zhang et al., IJCV 2018, arXiv:1608.00507"
_SCORE_CAM = "Wang et al., CVPRW 2020, arXiv:1910.01279"
_GRAD_CAM_PP = "Chattopadhay et al., WACV 2018, arXiv:1710.11063"
_RISE = "Petsiuk et al., BMVC 2018, arXiv:1806.07421"
_ADCC = "Poppi et al., CVPRW 2021, arXiv:2104.10252"
_OPTI_CAM = "Zhang et al., 2023, arXiv:2301.07002"
_ROAD = "Rong, Leemann et al., ICML 2022, arXiv:2202.00449"
_SENSITIVITY = "Yeh et al., NeurIPS 2019, arXiv:1901.09392"
_SANITY = "Adebayo et al., NeurIPS 2018, arXiv:1810.03292"
_IMAGENET = "Russakovsky et al., IJCV 2015, arXiv:1409.0575"
_BHATT = "Bhatt et al., IJCAI 2020, arXiv:2005.00631"
_GINI = "Chalasani et al., ICML 2020, arXiv:1810.06583"

MODEL_METRICS: tuple[Metric, ...] = (
    Metric("average_drop", "Mean share of the probability lost when only the map is shown.",
           "mean(max(0, Y - O) / Y), O = probability of x * map", "[0, 1]", "lower", "predictions",
           _GRAD_CAM_PP, "confidence_drop"),
    Metric("average_increase", "Share of images whose probability rises when only the map is shown.",
           "mean(O > Y)", "[0, 1]", "higher", "predictions", _GRAD_CAM_PP, "confidence_increase", True),
    Metric("average_gain", "Mean share of the missing probability won when only the map is shown.",
           "mean(max(0, O - Y) / (1 - Y))", "[0, 1]", "higher", "predictions", _OPTI_CAM, "confidence_gain"),
    Metric("insertion", "Area under the probability while pixels appear, strongest first.",
           "trapezoid over the share of pixels put on the blurred image", "[0, 1]", "higher", "predictions",
           _RISE, "insertion_auc"),
    Metric("deletion", "Area under the probability while pixels vanish, strongest first.",
           "trapezoid over the share of pixels set to the baseline", "[0, 1]", "lower", "predictions",
           _RISE, "deletion_auc"),
    Metric("adcc", "Average DCC: agreement of drop, coherency and complexity.",
           "mean(3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)))", "[0, 1]", "higher",
           "predictions", _ADCC, "adcc"),
    Metric("coherency", "Likeness of the map and the map of the masked image.",
           "mean((Pearson(M, map of x * M) + 1) / 2)", "[0, 1]", "higher", "predictions", _ADCC, "coherency"),
    Metric("complexity", "Mean of the map.", "mean(M), M in [0, 1]", "[0, 1]", "lower", "none", _ADCC,
           "complexity"),
    Metric("road", "Half the difference of the two ROAD orders, averaged over percentiles.",
           "mean((lerf - morf) / 2)", "[-1, 1]", "higher", "predictions", _ROAD, "road"),
    Metric("road_morf", "Change of the probability when the most relevant pixels are filled in.",
           "mean over percentiles of (after - before)", "[-1, 1]", "lower", "predictions", _ROAD, "road_morf"),
    Metric("road_lerf", "Change of the probability when the least relevant pixels are filled in.",
           "mean over percentiles of (after - before)", "[-1, 1]", "higher", "predictions", _ROAD,
           "road_lerf"),
    Metric("complexity_entropy", "Entropy of the heatmap at the size of the input.",
           "-sum p ln p, p = M / sum M, nats", "[0, inf)", "lower", "none", _BHATT, "complexity_entropy"),
    Metric("sparseness_gini", "Gini index of the heatmap at the size of the input.",
           "2 sum i M_(i) / (n sum M) - (n + 1) / n, ascending", "[0, 1)", "higher", "none", _GINI,
           "sparseness_gini"),
    Metric("max_sensitivity", "Greatest relative change of the heatmap under small uniform noise.",
           "mean(max |M(x + e) - M(x)| / |M(x)|)", "[0, inf)", "lower", "predictions", _SENSITIVITY,
           "max_sensitivity"),
    Metric("average_sensitivity", "Mean relative change of the heatmap under small uniform noise.",
           "mean(mean |M(x + e) - M(x)| / |M(x)|)", "[0, inf)", "lower", "predictions", _SENSITIVITY,
           "average_sensitivity"),
    Metric("randomization_spearman", "Rank correlation with the map of a model with shuffled weights.",
           "mean(Spearman(M, M of the shuffled twin))", "[-1, 1]", "lower", "predictions", _SANITY,
           "randomization_spearman"),
    Metric("randomization_ssim", "Structural similarity with the map of a model with shuffled weights.",
           "mean(SSIM(M, M of the shuffled twin)), 11 x 11, sigma 1.5", "[-1, 1]", "lower", "predictions",
           _SANITY, "randomization_ssim"),
    Metric("other_class_spearman", "Rank correlation with the map of a random other class.",
           "mean(Spearman(M, M of another class))", "[-1, 1]", "lower", "predictions", "",
           "other_class_spearman"),
    Metric("other_class_overlap", "Overlap of the strongest 20 % with those of a random other class.",
           "mean(intersection / union); 1/9 by chance", "[0, 1]", "lower", "predictions", "",
           "other_class_overlap"),
)  # fmt: skip
"""The metrics that need more passes of the model; each is the mean of its column. See `model_metrics`."""

METRICS: tuple[Metric, ...] = (
    Metric("max_box_acc", "Share of images whose box is right, at the one best threshold of the slice.",
           "max over t of mean(IoU(box of the largest contour of map > t, truth) >= 0.5)", "[0, 1]", "higher", "boxes",
           _WSOL),
    Metric("max_box_acc_v2", "The same with the boxes of all contours, averaged over IoU limits with a threshold each.",
           "mean over IoU in .3 .5 .7 of max over t of mean(best IoU >= limit)", "[0, 1]", "higher", "boxes", _WSOL),
    Metric("box_acc_at_run_threshold", "Box accuracy of a slice at the best threshold of the whole run.",
           "as max_box_acc (single) and max_box_acc_v2 (multi), with t fixed", "[0, 1]", "higher", "boxes"),
    Metric("best_box_threshold", "The threshold at which box accuracy is best, the lowest of equals.",
           "argmax over t", "[0, 1)", "none", "boxes", _WSOL),
    Metric("gt_known_loc", "Share of images whose box at the fixed threshold is right, the class being given.",
           "mean(IoU >= 0.5), largest contour, box_threshold of the protocol", "[0, 1]", "higher", "boxes", _IMAGENET,
           "box_hit", True),
    Metric("top1_loc", "Share of images with the box right and the class the model's first choice.",
           "mean(box right and rank = 1)", "[0, 1]", "higher", "boxes", _IMAGENET, "top1_hit", True),
    Metric("top5_loc", "Share of images with the box right and the class among the first five.",
           "mean(box right and rank <= 5)", "[0, 1]", "higher", "boxes", _IMAGENET, "top5_hit", True),
    Metric("top1_accuracy", "Share of images whose label is the model's first choice.", "mean(rank of the label = 1)",
           "[0, 1]", "higher", "none", "", "label_top1", True),
    Metric("top5_accuracy", "Share of images whose label is among the model's first five.",
           "mean(rank of the label <= 5)", "[0, 1]", "higher", "none", "", "label_top5", True),
    Metric("mean_label_probability", "Mean probability that the model gives to the label.", "mean(p)", "[0, 1]",
           "higher", "none", "", "label_probability"),
    Metric("top1_gap", "What Top-1 localization loses to classification alone.",
           "gt_known_loc - top1_loc = mean(box right and rank > 1)", "[0, 1]", "lower", "boxes", "", "top1_gap", True),
    Metric("top5_gap", "What Top-5 localization loses to classification alone.",
           "gt_known_loc - top5_loc = mean(box right and rank > 5)", "[0, 1]", "lower", "boxes", "", "top5_gap", True),
    Metric("mean_box_iou", "Mean IoU of the box at the fixed threshold with the best true box.",
           "mean(IoU), largest contour", "[0, 1]", "higher", "boxes", "", "box_iou"),
    Metric("pxap", "Area under the precision-recall curve of pixels, pooled over all images.",
           "sum of P_i (R_i - R_(i-1)) from high to low scores; ignored pixels dropped", "[0, 1]", "higher", "masks",
           _WSOL),
    Metric("best_mask_iou", "IoU of thresholded maps and masks, pooled over pixels, at the best threshold.",
           "max over t of TP / (TP + FP + FN)", "[0, 1]", "higher", "masks"),
    Metric("best_mask_f1", "F1 of thresholded maps and masks, pooled over pixels, at the best threshold.",
           "max over t of 2 TP / (2 TP + FP + FN)", "[0, 1]", "higher", "masks"),
    Metric("mean_mask_iou", "Mean over images of the mask IoU at the protocol's fixed threshold.",
           "mean(|map >= t and mask| / |map >= t or mask|)", "[0, 1]", "higher", "masks", "", "mask_iou"),
    Metric("pointing_game", "Share of images whose strongest pixel lies on the object or near it.",
           "mean(any object pixel with dx^2 + dy^2 < 15^2), in original pixels; skipped if all boxes are difficult",
           "[0, 1]", "higher", "objects", _POINTING, "pointing_hit", True),
    Metric("pointing_game_per_class", "The pointing game, averaged over classes; n is the number of classes.",
           "mean over classes with examples of hits / examples (TorchRay counts a class without any as 0)", "[0, 1]",
           "higher", "objects", _POINTING),
    Metric("energy_pointing_game", "Mean share of the map's energy that lies on the object.",
           "mean(sum of max(map, 0) over the object / over the image); maps without energy left out", "[0, 1]",
           "higher", "objects", _SCORE_CAM, "energy_share"),
    Metric("object_area", "Mean share of the image that the object covers: what a uniform map scores for energy.",
           "mean(object pixels / pixels)", "[0, 1]", "none", "objects", "", "energy_area"),
    Metric("energy_gain", "How much of the room above a uniform map the energy fills.",
           "mean((energy - area) / (1 - area))", "(-inf, 1]", "higher", "objects", "", "energy_gain"),
    Metric("entropy", "Spread of the map's energy over its cells.", "-sum p ln p, nats", "[0, inf)", "none", "none", "",
           "entropy"),
    Metric("area", "Share of the cells at or above half of the maximum.", "mean(M >= max(M) / 2)", "[0, 1]", "none",
           "none", "", "area"),
    Metric("border_share", "Share of the energy in the outermost ring of cells.", "sum of M on the ring / sum of M",
           "[0, 1]", "none", "none", "", "border_share"),
    Metric("corner_share", "Share of the energy in the four corner blocks, a quarter of each side.",
           "sum of M in the blocks / sum of M", "[0, 1]", "none", "none", "", "corner_share"),
    *MODEL_METRICS,
)  # fmt: skip
"""Every metric, in the order in which it is listed."""

COLUMNS: tuple[Column, ...] = (
    Column("entropy", "spread of the energy max(map, 0) over the cells: -sum p ln p", "nats", "[0, inf)"),
    Column("area", "share of the cells at or above half of the maximum"),
    Column("centroid_x", "centre of the energy, 0 left to 1 right, in the model's view"),
    Column("centroid_y", "centre of the energy, 0 top to 1 bottom, in the model's view"),
    Column("peak_x", "centre of the strongest cell, 0 left to 1 right, in the model's view"),
    Column("peak_y", "centre of the strongest cell, 0 top to 1 bottom, in the model's view"),
    Column("peak", "greatest value of the raw map", "logit", ""),
    Column("positive_share", "sum of max(map, 0) over sum of |map|"),
    Column("border_share", "share of the energy in the outermost ring of cells"),
    Column("corner_share", "share of the energy in the four corner blocks, a quarter of each side"),
    Column("box_iou", "IoU of the box at the protocol's threshold with the best true box of the class"),
    Column("box_hit", "1 if that IoU is at least 0.5, else 0"),
    Column("pointing_hit", "1 if the strongest pixel lies on the object or within the tolerance, else 0"),
    Column("energy_share", "share of the energy that lies on the object (energy-based pointing game)"),
    Column("energy_area", "share of the image that the object covers: a uniform map's energy share"),
    Column("energy_gain", "(energy_share - energy_area) / (1 - energy_area)", "", "(-inf, 1]"),
    Column("mask_iou", "IoU of the map at the protocol's mask threshold with the mask of the class"),
)

SCORE_COLUMNS: tuple[Column, ...] = tuple(
    Column(metric.column, f"per image: {metric.formula}", range=metric.range) for metric in MODEL_METRICS
)
"""Columns of what is measured where the model is."""

_BY_COLUMN = {metric.column: metric for metric in METRICS if metric.column}


def dataset_name(column: str) -> str:
    """Name of the metric that is the mean of a per-image column; the column's own name if none is listed."""
    return _BY_COLUMN[column].name if column in _BY_COLUMN else column


def is_proportion(column: str) -> bool:
    """Whether the values of a column are 0 or 1."""
    return column in _BY_COLUMN and _BY_COLUMN[column].proportion
