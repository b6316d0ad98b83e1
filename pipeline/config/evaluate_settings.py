"""The section ``evaluate``: what is measured of the maps."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from heatbeam.config import section
from heatbeam.transforms.metrics import registry, slicing


def _known_metric(name: str) -> str:
    registry.faithfulness([name])
    return name


FaithfulnessMetric = Annotated[
    str, pydantic.AfterValidator(_known_metric), pydantic.Field(json_schema_extra={"enum": list(registry.FAITHFULNESS)})
]
PixelBaseline = Literal["mean", "blur"] | float


class FaithfulnessConfig(section.Section):
    """Metrics that need no ground truth, and more passes of the model."""

    metrics: tuple[FaithfulnessMetric, ...] = pydantic.Field((), description="which to measure")
    sample: section.Fraction = pydantic.Field(0.1, description="share of the images, chosen by hash of the image id")
    seed: int = pydantic.Field(0, description="of the noise, the shuffled weights and the choice of other classes")
    steps: section.Positive = pydantic.Field(16, description="steps of insertion and deletion curves")
    deletion_baseline: PixelBaseline = pydantic.Field(0.0, description="what stands for a removed pixel")
    insertion_baseline: PixelBaseline = pydantic.Field("blur", description="what pixels are inserted into")
    mask_baseline: float = pydantic.Field(0.0, description="preprocessed value that a heatmap of 0 leaves")
    road_percentiles: tuple[Annotated[float, pydantic.Field(gt=0, lt=100)], ...] = pydantic.Field(
        (20.0, 40.0, 60.0, 80.0), description="shares of the pixels that ROAD fills in, in percent"
    )
    road_noise: Annotated[float, pydantic.Field(ge=0)] = pydantic.Field(
        0.01, description="deviation of the noise on filled pixels, of the preprocessed image"
    )
    sensitivity_radius: Annotated[float, pydantic.Field(gt=0)] = pydantic.Field(
        0.02, description="noise of the sensitivity, relative to the image's range"
    )
    sensitivity_samples: section.Positive = pydantic.Field(10, description="noisy copies of an image")
    randomized_share: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        1.0, description="share of the weight arrays that the randomized twin has shuffled, from the output back"
    )


class EvaluateConfig(section.Section):
    """Localization metrics and how results are broken down."""

    protocol: Literal["default", "wsolevaluation", "torchray"] = pydantic.Field(
        "default", description="every convention of the metrics together"
    )
    localization: bool = pydantic.Field(True, description="score heatmaps against boxes and masks")
    baselines: bool = pydantic.Field(True, description="score centre, uniform and Gaussian maps beside the methods")
    slices: tuple[str, ...] = pydantic.Field((), description="features of the records by which results are broken down")
    per_class: bool = pydantic.Field(
        True, description="numbers for each class, beside those over everything and over slices"
    )
    replicates: Annotated[int, pydantic.Field(ge=0)] = pydantic.Field(
        200, description="of the bootstrap behind the 95 % intervals of means; 0 for Student's intervals"
    )
    faithfulness: FaithfulnessConfig = pydantic.Field(
        FaithfulnessConfig(), description="metrics that need no ground truth"
    )

    @pydantic.field_validator("slices")
    @classmethod
    def _not_reserved(cls, slices: tuple[str, ...]) -> tuple[str, ...]:
        taken = sorted(slicing.RESERVED & set(slices))
        if taken:
            raise ValueError(f"{', '.join(taken)} stand for slices that every run has; rename the feature")
        return slices
