"""Metrics that need the model, or no ground truth: each is the mean of its column. See the package `faithfulness`.

Symbols: x the preprocessed input, M the heatmap in [0, 1] at its size, Y and O the probability of the class for x and
for x * M.
"""

from __future__ import annotations

from heatbeam.transforms.metrics.catalogue.metric import Curve, Group, Metric, Passes

_GRAD_CAM_PP = "Chattopadhay et al., WACV 2018, arXiv:1710.11063"
_RISE = "Petsiuk et al., BMVC 2018, arXiv:1806.07421"
_ADCC = "Poppi et al., CVPRW 2021, arXiv:2104.10252"
_OPTI_CAM = "Zhang et al., 2023, arXiv:2301.07002"
_ROAD = "Rong, Leemann et al., ICML 2022, arXiv:2202.00449"
_SENSITIVITY = "Yeh et al., NeurIPS 2019, arXiv:1901.09392"
_SANITY = "Adebayo et al., NeurIPS 2018, arXiv:1810.03292"
_BHATT = "Bhatt et al., IJCAI 2020, arXiv:2005.00631"
_GINI = "Chalasani et al., ICML 2020, arXiv:1810.06583"

GROUPS = (
    Group(
        "drop",
        "faithfulness.average_drop.measure",
        masks=True,
        metrics=(
            Metric("average_drop", "Mean share of the probability lost when only the map is shown.",
                   "mean(max(0, Y - O) / Y), O = probability of x * map", "[0, 1]", "lower", "predictions",
                   _GRAD_CAM_PP, "confidence_drop", rank=420, shown=("methods", "cards"), title="Average drop",
                   plain="of the probability is lost if only the map is shown"),
            Metric("average_increase", "Share of images whose probability rises when only the map is shown.",
                   "mean(O > Y)", "[0, 1]", "higher", "predictions", _GRAD_CAM_PP, "confidence_increase", True,
                   rank=430, shown=("methods",), title="Average increase"),
            Metric("average_gain", "Mean share of the missing probability won when only the map is shown.",
                   "mean(max(0, O - Y) / (1 - Y))", "[0, 1]", "higher", "predictions", _OPTI_CAM, "confidence_gain"),
        ),
    ),
    Group(
        "insertion",
        "faithfulness.insertion_deletion.measure_insertion",
        passes=lambda settings: Passes(predictions=settings.steps + 1),
        curves=(Curve("insertion", "The mean probability of the class while pixels appear, strongest first; the number"
                      " is the area below."),),
        metrics=(
            Metric("insertion", "Area under the probability while pixels appear, strongest first.",
                   "trapezoid over the share of pixels put on the blurred image", "[0, 1]", "higher", "predictions",
                   _RISE, "insertion_auc", rank=400, shown=("methods", "classes", "cards", "history"),
                   plain="mean probability while the strongest pixels appear", distribution="Insertion"),
        ),
    ),
    Group(
        "deletion",
        "faithfulness.insertion_deletion.measure_deletion",
        passes=lambda settings: Passes(predictions=settings.steps + 1),
        curves=(Curve("deletion", "The mean probability of the class while pixels vanish, strongest first; the number"
                      " is the area below."),),
        metrics=(
            Metric("deletion", "Area under the probability while pixels vanish, strongest first.",
                   "trapezoid over the share of pixels set to the baseline", "[0, 1]", "lower", "predictions",
                   _RISE, "deletion_auc", rank=410, shown=("methods", "classes", "history"), distribution="Deletion"),
        ),
    ),
    Group(
        "adcc",
        "faithfulness.adcc.measure",
        masks=True,
        passes=lambda settings: Passes(explanations=1),
        metrics=(
            Metric("adcc", "Average DCC: agreement of drop, coherency and complexity.",
                   "mean(3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)))", "[0, 1]", "higher",
                   "predictions", _ADCC, "adcc", rank=440, shown=("methods",), title="ADCC"),
            Metric("coherency", "Likeness of the map and the map of the masked image.",
                   "mean((Pearson(M, map of x * M) + 1) / 2)", "[0, 1]", "higher", "predictions", _ADCC, "coherency"),
            Metric("complexity", "Mean of the map.", "mean(M), M in [0, 1]", "[0, 1]", "lower", "none", _ADCC,
                   "complexity"),
        ),
    ),
    Group(
        "road",
        "faithfulness.road.measure",
        passes=lambda settings: Passes(predictions=1 + 2 * len(settings.road_percentiles)),
        curves=(Curve("road_morf"), Curve("road_lerf")),
        metrics=(
            Metric("road", "Half the difference of the two ROAD orders, averaged over percentiles.",
                   "mean((lerf - morf) / 2)", "[-1, 1]", "higher", "predictions", _ROAD, "road", rank=450,
                   shown=("methods",), title="ROAD"),
            Metric("road_morf", "Change of the probability when the most relevant pixels are filled in.",
                   "mean over percentiles of (after - before)", "[-1, 1]", "lower", "predictions", _ROAD, "road_morf"),
            Metric("road_lerf", "Change of the probability when the least relevant pixels are filled in.",
                   "mean over percentiles of (after - before)", "[-1, 1]", "higher", "predictions", _ROAD,
                   "road_lerf"),
        ),
    ),
    Group(
        "complexity",
        "faithfulness.complexity.measure",
        metrics=(
            Metric("complexity_entropy", "Entropy of the heatmap at the size of the input.",
                   "-sum p ln p, p = M / sum M, nats", "[0, inf)", "lower", "none", _BHATT, "complexity_entropy"),
            Metric("sparseness_gini", "Gini index of the heatmap at the size of the input.",
                   "2 sum i M_(i) / (n sum M) - (n + 1) / n, ascending", "[0, 1)", "higher", "none", _GINI,
                   "sparseness_gini"),
        ),
    ),
    Group(
        "sensitivity",
        "faithfulness.stability.measure_sensitivity",
        passes=lambda settings: Passes(explanations=settings.sensitivity_samples),
        metrics=(
            Metric("max_sensitivity", "Greatest relative change of the heatmap under small uniform noise.",
                   "mean(max |M(x + e) - M(x)| / |M(x)|)", "[0, inf)", "lower", "predictions", _SENSITIVITY,
                   "max_sensitivity", rank=460, shown=("methods",), title="Max sensitivity"),
            Metric("average_sensitivity", "Mean relative change of the heatmap under small uniform noise.",
                   "mean(mean |M(x + e) - M(x)| / |M(x)|)", "[0, inf)", "lower", "predictions", _SENSITIVITY,
                   "average_sensitivity"),
        ),
    ),
    Group(
        "randomization",
        "faithfulness.stability.measure_randomization",
        passes=lambda settings: Passes(explanations=1),
        twin=True,
        metrics=(
            Metric("randomization_spearman", "Rank correlation with the map of a model with shuffled weights.",
                   "mean(Spearman(M, M of the shuffled twin))", "[-1, 1]", "lower", "predictions", _SANITY,
                   "randomization_spearman", rank=470, shown=("methods",), title="Randomized weights"),
            Metric("randomization_ssim", "Structural similarity with the map of a model with shuffled weights.",
                   "mean(SSIM(M, M of the shuffled twin)), 11 x 11, sigma 1.5", "[-1, 1]", "lower", "predictions",
                   _SANITY, "randomization_ssim"),
        ),
    ),
    Group(
        "class_independence",
        "faithfulness.stability.measure_class_independence",
        passes=lambda settings: Passes(explanations=1),
        metrics=(
            Metric("other_class_spearman", "Rank correlation with the map of a random other class.",
                   "mean(Spearman(M, M of another class))", "[-1, 1]", "lower", "predictions", "",
                   "other_class_spearman", rank=480, shown=("methods",), title="Other class"),
            Metric("other_class_overlap", "Overlap of the strongest 20 % with those of a random other class.",
                   "mean(intersection / union); 1/9 by chance", "[0, 1]", "lower", "predictions", "",
                   "other_class_overlap"),
        ),
    ),
)  # fmt: skip
"""By the names that a configuration gives them, in the order of their columns."""
