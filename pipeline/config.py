"""Every setting of a run, its default, and its checks.

A default that a public specification has too is read from there (`specs.EngineSpec`, `model_source.ModelSource`,
`feature_map.FeatureMap`, `decode_options.ImageOptions`), so that a file and a program that set nothing do the same;
every other default stands here and nowhere else.

A configuration is a YAML file with the sections ``input``, ``model``, ``explain``, ``evaluate``, ``output`` and
``runner``. Unknown keys and wrong values are all reported together, each with its path in the file.
"""

from __future__ import annotations

import difflib
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml

from heatbeam.transforms import errors
from heatbeam.transforms.engine import specs
from heatbeam.transforms.metrics import registry, slicing
from heatbeam.transforms.models import model_source
from heatbeam.transforms.sources import decode_options, feature_map, source, tfds_source, tfrecord_source
from heatbeam.transforms.sources import tfrecord as framing


class ConfigError(errors.UserError):
    """The configuration is wrong, or the use of a command.

    Attributes:
        problems: one line per problem: the path in the file, what came, what was expected.
    """

    def __init__(self, problems: Sequence[str], source: str = "configuration"):
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"{source}: {count}", *self.problems]))


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[int, pydantic.Field(ge=1)]


class TfdsConfig(_Section):
    """A TensorFlow Datasets source: a prepared dataset by name, or by the directory it lies in."""

    name: str | None = pydantic.Field(
        None, description="dataset name, with config and version if wanted: coco/2017:1.1.0"
    )
    directory: str | None = pydantic.Field(None, description="directory of a prepared dataset (builder_from_directory)")
    data_dir: str | None = pydantic.Field(None, description="where TFDS keeps prepared datasets; for `name`")
    split: str = pydantic.Field(
        tfds_source.TFDSSource.split, description="split expression: validation, train[:10%], train+test"
    )

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> TfdsConfig:
        if (self.name is None) == (self.directory is None):
            raise ValueError("give exactly one of name and directory")
        return self


class FeaturesConfig(_Section):
    """Names of the features in a record. Unset names take the source's usual ones; null means not there."""

    image: str | None = pydantic.Field(None, description="encoded image, or raw uint8 pixels")
    image_id: str | None = pydantic.Field(None, description="text or integer; without it shard and index")
    label: str | None = pydantic.Field(None, description="one class, as id or name")
    labels: str | None = pydantic.Field(None, description="any number of classes")
    boxes: str | None = pydantic.Field(None, description="one feature of ymin, xmin, ymax, xmax rows (TFDS)")
    box_xmin: str | None = pydantic.Field(None, description="left edges, fractions of the width")
    box_ymin: str | None = pydantic.Field(None, description="upper edges, fractions of the height")
    box_xmax: str | None = pydantic.Field(None, description="right edges, exclusive")
    box_ymax: str | None = pydantic.Field(None, description="lower edges, exclusive")
    box_class: str | None = pydantic.Field(None, description="class of each box")
    box_difficult: str | None = pydantic.Field(None, description="nonzero for a difficult box (Pascal VOC)")
    instance_masks: str | None = pydantic.Field(None, description="one PNG per object")
    mask_class: str | None = pydantic.Field(None, description="class of each instance mask")
    semantic_mask: str | None = pydantic.Field(None, description="one PNG whose grey value is the class")
    ignore_mask: str | None = pydantic.Field(None, description="one PNG, nonzero where pixels must not be scored")
    format: str | None = pydantic.Field(None, description="text; raw means that the image is pixels")
    height: str | None = pydantic.Field(None, description="of raw images, in pixels")
    width: str | None = pydantic.Field(None, description="of raw images, in pixels")
    channels: str | None = pydantic.Field(None, description="of raw images")


class InputConfig(_Section):
    """Where the records are and what is in them."""

    tfrecord: tuple[str, ...] | None = pydantic.Field(None, description="glob or list of globs of TFRecord shards")
    compression: framing.Compression = pydantic.Field(
        tfrecord_source.TFRecordSource.compression,
        description="of the shards; auto looks at the first bytes of each",
    )
    tfds: TfdsConfig | None = pydantic.Field(None, description="a prepared TFDS dataset, instead of tfrecord")
    features: FeaturesConfig = pydantic.Field(FeaturesConfig(), description="names of the features of a record")
    required: tuple[str, ...] = pydantic.Field(
        feature_map.FeatureMap.required,
        description="features every record must have; a record without one becomes a dead letter",
    )
    raw_shape: tuple[Positive, Positive, Positive] | None = pydantic.Field(
        feature_map.FeatureMap.raw_shape,
        description="height, width, channels, where every image is raw uint8 pixels",
    )
    label_offset: int = pydantic.Field(
        feature_map.FeatureMap.label_offset, description="subtracted from every class id of the records"
    )
    semantic_background: int | None = pydantic.Field(
        decode_options.MaskOptions.background, description="grey value of a semantic mask that is no class"
    )
    semantic_ignore: int | None = pydantic.Field(
        decode_options.MaskOptions.ignore, description="grey value of a semantic mask not to be scored"
    )
    semantic_offset: int | None = pydantic.Field(
        None, description="subtracted from the grey values of a semantic mask (default: label_offset)"
    )
    resize: decode_options.Resize = pydantic.Field(
        decode_options.ImageOptions.resize,
        description="to the model's input: change the aspect ratio, cut the longer side, or add borders",
    )
    interpolation: decode_options.Interpolation = pydantic.Field(
        decode_options.ImageOptions.interpolation, description="filter that resizes images"
    )
    crop_fraction: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        decode_options.ImageOptions.crop_fraction,
        description="for crop: share of the largest centred rectangle to show",
    )
    pad_value: Annotated[int, pydantic.Field(ge=0, le=255)] = pydantic.Field(
        decode_options.ImageOptions.pad_value, description="for pad: the border's grey"
    )
    exif: bool = pydantic.Field(
        decode_options.ImageOptions.exif,
        description="apply the EXIF orientation; boxes must then fit the turned image",
    )
    draft: bool = pydantic.Field(
        decode_options.ImageOptions.draft,
        description="decode much larger JPEGs at reduced size: faster, slightly other pixels",
    )
    max_pixels: Positive = pydantic.Field(
        decode_options.ImageOptions.max_pixels, description="larger images become dead letters before decoding"
    )
    reshuffle_records: bool = pydantic.Field(False, description="spread the records of few big shards over the workers")

    @pydantic.field_validator("tfrecord", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> InputConfig:
        if sum(getattr(self, key) is not None for key in SOURCES) != 1:
            raise ValueError(f"give exactly one of {' and '.join(SOURCES)}")
        if self.tfrecord is not None and not self.tfrecord:
            raise ValueError("tfrecord names no files")
        return self

    @pydantic.model_validator(mode="after")
    def _usual_features(self) -> InputConfig:
        """The source's usual feature names, with what the file sets in their place: as the manifest records them."""
        usual = {name: getattr(self.as_source().usual_features, name) for name in FeaturesConfig.model_fields}
        given = {name: getattr(self.features, name) for name in self.features.model_fields_set}
        object.__setattr__(self, "features", FeaturesConfig(**{**usual, **given}))
        return self

    def as_source(self) -> source.Source:
        """Where the records are, as the steps know it."""
        return next(make(self) for key, make in SOURCES.items() if getattr(self, key) is not None)

    def as_feature_map(self, **more: Any) -> feature_map.FeatureMap:
        """What the features hold, as the steps know it, with the fields `more` of a `feature_map.FeatureMap`.

        Raises:
            ValueError: as `feature_map.FeatureMap` says.
        """
        return feature_map.FeatureMap(
            **self.features.model_dump(),
            raw_shape=self.raw_shape,
            label_offset=self.label_offset,
            required=self.required,
            **more,
        )


SOURCES: Mapping[str, Callable[[InputConfig], source.Source]] = {
    "tfrecord": lambda given: tfrecord_source.TFRecordSource(given.tfrecord or (), given.compression),
    "tfds": lambda given: tfds_source.TFDSSource(**dict(given.tfds or ())),
}
"""The formats of input: the key of each in the section ``input``, and what reads it."""


class PreprocessingConfig(_Section):
    """From pixels 0..255 to what the model was trained with."""

    mode: str = pydantic.Field(
        model_source.Preprocessing.mode,
        description="auto (application models), none, tf, caffe, torch, an application's name, or module:function",
    )
    scale: tuple[float, ...] | None = pydantic.Field(
        model_source.Preprocessing.scale, description="pixel * scale + offset: one number, or one for each channel"
    )
    offset: tuple[float, ...] | None = pydantic.Field(model_source.Preprocessing.offset, description="see scale")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value

    @pydantic.field_validator("scale", "offset", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value

    @pydantic.model_validator(mode="after")
    def _mode_or_scale(self) -> PreprocessingConfig:
        # A manifest holds the default too, beside scale and offset.
        if self.mode != "auto" and (self.scale is not None or self.offset is not None):
            raise ValueError("give either a mode or scale and offset, not both")
        return self


class ModelConfig(_Section):
    """The model, the layer to map and the scores to explain."""

    path: str | None = pydantic.Field(model_source.ModelSource.path, description=".keras or .h5 file, local or remote")
    application: str | None = pydantic.Field(
        model_source.ModelSource.application,
        description="a name in keras.applications, with weights or with arguments: {weights: imagenet}",
    )
    factory: str | None = pydantic.Field(
        model_source.ModelSource.factory, description="module:function that returns a Keras model"
    )
    weights: str | None = pydantic.Field(
        model_source.ModelSource.weights, description="weights file for application or factory"
    )
    arguments: dict[str, Any] = pydantic.Field(
        dict(model_source.ModelSource.arguments), description="keyword arguments of the application or factory"
    )
    safe_mode: bool = pydantic.Field(
        model_source.ModelSource.safe_mode, description="refuse model files that carry code"
    )
    imports: tuple[str, ...] = pydantic.Field(
        model_source.ModelSource.imports, description="modules with custom layers, imported before the model is loaded"
    )
    search_path: str | None = pydantic.Field(
        model_source.ModelSource.search_path,
        description="folder in which the modules of factory, imports and preprocessing are looked for first (default: "
        "that of the configuration file)",
    )
    preprocessing: PreprocessingConfig = pydantic.Field(
        PreprocessingConfig(), description="from pixels 0..255 to what the model was trained with"
    )
    target_layer: str = pydantic.Field(specs.EngineSpec.target_layer, description="name or path of the layer to map")
    scores: specs.Scores = pydantic.Field(
        specs.EngineSpec.scores,
        description="how probabilities follow from logits; as_is explains the model's own output",
    )
    output: str | None = pydantic.Field(specs.EngineSpec.output, description="which output of a model of several")
    input_size: tuple[Positive, Positive, Positive] | None = pydantic.Field(
        specs.EngineSpec.input_size, description="height, width and channels, where the model leaves them open"
    )
    class_names: tuple[str, ...] | str | None = pydantic.Field(
        None, description="list of names, or a text file with one a line; TFDS brings its own"
    )

    @pydantic.field_validator("imports", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def names_modules(self) -> bool:
        """Whether code of the user's is to be imported."""
        return self.factory is not None or bool(self.imports) or ":" in self.preprocessing.mode

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> ModelConfig:
        given = [n for n in ("path", "application", "factory") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, application and factory (given: {', '.join(given) or 'none'})")
        if self.path is not None and (self.weights is not None or self.arguments):
            raise ValueError("weights and arguments go with application or factory; a model file has its own")
        return self


class MethodConfig(_Section):
    """One method of the run: a name, or a mapping with options."""

    method: str = pydantic.Field(description="one of those that `heatbeam methods` lists")
    name: str | None = pydantic.Field(None, description="name in the tables; the method's own by default")
    options: dict[str, Any] = pydantic.Field({}, description="of the method; `heatbeam methods` lists them")
    layer: str | None = pydantic.Field(None, description="another target layer for this method")
    layers: tuple[str, ...] | None = pydantic.Field(None, description="layers to fuse, for methods that do")
    target: specs.GradientOf = pydantic.Field(specs.MethodSpec.target, description="whose gradient is taken")
    wrapper: Literal["smooth", "tta"] | None = pydantic.Field(
        None, description="average the method over noisy copies of the image, or over scaled and mirrored ones"
    )
    wrapper_options: dict[str, Any] = pydantic.Field({}, description="of the wrapper")
    sample: Fraction = pydantic.Field(
        specs.MethodSpec.sample, description="share of the images, chosen by hash of the image id"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """The name under which the method stands in the tables."""
        return self.name if self.name is not None else specs.default_label(self.method, self.wrapper)


class ExplainConfig(_Section):
    """Which methods explain which classes, and how the model runs."""

    methods: Annotated[tuple[MethodConfig, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        tuple(MethodConfig(method=one.method) for one in specs.EngineSpec.methods),
        description="a name each, or a mapping with options",
    )
    targets: Annotated[tuple[specs.Target, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        specs.EngineSpec.targets,
        description="which classes of an image are explained: label, labels, predicted, runner_up, top_N or a class id",
    )
    unfit: Literal["error", "skip"] = pydantic.Field(
        "error",
        description="what a method that does not fit the model does: end the run, or be left out with a warning",
    )
    batch_size: int | Literal["auto"] = pydantic.Field(
        specs.EngineSpec.batch_size,
        description="images explained at once, in several passes where each core has a batch of its own; auto: each "
        "worker measures which size is fastest",
    )
    pass_batch_size: Positive | None = pydantic.Field(
        None,
        description="images per forward pass of many-pass methods; bounds their memory (default: batch_size, or "
        f"{specs.EngineSpec.pass_batch_size})",
    )
    precision: specs.Precision = pydantic.Field(
        specs.EngineSpec.precision, description="what the model computes in; half precision is for accelerators"
    )
    xla: bool = pydantic.Field(specs.EngineSpec.xla, description="compile the shared pass with XLA, for accelerators")
    constant_weights: bool | Literal["auto"] = pydantic.Field(
        "auto",
        description="compile the weights into the graph: faster, for several times their memory; auto: on CPUs without "
        "XLA, weights up to 40 MiB",
    )
    seed: int = pydantic.Field(
        specs.EngineSpec.seed, description="of every random choice that names no seed of its own"
    )

    @pydantic.field_validator("batch_size", mode="before")
    @classmethod
    def _known_size(cls, size: Any) -> Any:
        if size != "auto" and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"expected a number of images from 1, or auto; it is {size!r}")
        return size

    @property
    def largest_pass(self) -> int:
        """Images per forward pass of many-pass methods."""
        alike = specs.EngineSpec.pass_batch_size if self.batch_size == "auto" else self.batch_size
        return self.pass_batch_size or alike

    @pydantic.field_validator("targets")
    @classmethod
    def _known_targets(cls, targets: tuple[str | int, ...]) -> tuple[str | int, ...]:
        for target in targets:
            if isinstance(target, int):
                if target < 0:
                    raise ValueError(f"class id {target} is negative")
            elif target not in ("label", "labels", "predicted", "runner_up") and not re.fullmatch(
                r"top_[1-9]\d*", target
            ):
                raise ValueError(
                    f"unknown target {target!r}; expected label, labels, predicted, runner_up, top_N or a class id"
                )
        return targets

    @pydantic.model_validator(mode="after")
    def _unique_names(self) -> ExplainConfig:
        labels = [m.label for m in self.methods]
        twice = sorted({n for n in labels if labels.count(n) > 1})
        if twice:
            raise ValueError(f"two methods are called {', '.join(twice)}; give them different names (name: ...)")
        return self


def _known_metric(name: str) -> str:
    registry.faithfulness([name])
    return name


FaithfulnessMetric = Annotated[
    str, pydantic.AfterValidator(_known_metric), pydantic.Field(json_schema_extra={"enum": list(registry.FAITHFULNESS)})
]
PixelBaseline = Literal["mean", "blur"] | float


class FaithfulnessConfig(_Section):
    """Metrics that need no ground truth, and more passes of the model."""

    metrics: tuple[FaithfulnessMetric, ...] = pydantic.Field((), description="which to measure")
    sample: Fraction = pydantic.Field(0.1, description="share of the images, chosen by hash of the image id")
    seed: int = pydantic.Field(0, description="of the noise, the shuffled weights and the choice of other classes")
    steps: Positive = pydantic.Field(16, description="steps of insertion and deletion curves")
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
    sensitivity_samples: Positive = pydantic.Field(10, description="noisy copies of an image")
    randomized_share: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        1.0, description="share of the weight arrays that the randomized twin has shuffled, from the output back"
    )


class EvaluateConfig(_Section):
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


NEWEST = "newest"
"""The value of `OutputConfig.reuse` that stands for the last run under the root."""


class OutputConfig(_Section):
    """Where the run directory goes and how it is written."""

    directory: str | None = pydantic.Field(None, description="directory of the run")
    root: str | None = pydantic.Field(
        None, description="for scheduled runs: each makes a directory below, named by its time in UTC"
    )
    keep: Positive | None = pydantic.Field(
        None, description="with root: remove all but the newest so-many finished runs"
    )
    overwrite: bool = pydantic.Field(False, description="replace an existing run in this directory")
    reuse: str | None = pydantic.Field(
        None,
        description="a run, finished or not, whose rows are taken over where image, model and settings are the same; "
        "with root, newest is the last one there",
    )
    resume: bool = pydantic.Field(False, description="go on with the unfinished run in this directory, if there is one")
    journal: bool = pydantic.Field(
        True,
        description="keep what is explained in complete files until the run is finished, to resume from",
    )
    heatmap_dtype: Literal["int16", "float32"] = pydantic.Field(
        "int16", description="how maps are stored: 16-bit steps with a scale, or exactly"
    )
    max_dead_letter_ratio: Fraction = pydantic.Field(0.05, description="the run fails above this share of lost records")

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> OutputConfig:
        if (self.directory is None) == (self.root is None):
            raise ValueError("give exactly one of directory and root")
        if self.keep is not None and self.root is None:
            raise ValueError("keep goes with root")
        if self.resume and self.directory is None:
            raise ValueError("resume goes with directory; with root, reuse: newest goes on with an unfinished run")
        if self.resume and self.overwrite:
            raise ValueError("give either resume or overwrite: one keeps what is there, the other removes it")
        if self.reuse == NEWEST and self.root is None:
            raise ValueError("reuse: newest goes with root")
        return self


class RunnerConfig(_Section):
    """Where the pipeline runs. Further Beam options go after ``--`` on the command line or in `options`."""

    name: Literal["direct", "flink", "dataflow", "spark", "prism", "portable"] = pydantic.Field(
        "direct", description="which runner"
    )
    workers: Positive | None = pydantic.Field(
        None, description="direct runner: worker threads, of all processes (default: cores)"
    )
    processes: Annotated[int, pydantic.Field(ge=1, strict=True)] = pydantic.Field(
        1, description="direct runner: processes that share the worker threads, each with its own model"
    )
    intra_op_threads: Annotated[int, pydantic.Field(ge=0)] | None = pydantic.Field(
        None, description="TensorFlow threads inside an operation; 0 is TensorFlow's choice (default: 1 on a CPU)"
    )
    resource_hints: dict[str, str] = pydantic.Field({}, description="of the explaining stage: accelerator, min_ram")
    options: tuple[str, ...] = pydantic.Field((), description="Beam options, such as --flink_master=localhost:8081")

    @property
    def worker_count(self) -> int:
        """Worker threads of the direct runner, in all processes."""
        return self.workers if self.workers is not None else max(self.processes, len(os.sched_getaffinity(0)))

    @pydantic.field_validator("processes", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"got {str(value).lower()}; give the number of processes, 1 for threads of one process")
        return value

    @pydantic.model_validator(mode="after")
    def _a_worker_for_each_process(self) -> RunnerConfig:
        if self.processes > self.worker_count:
            raise ValueError(f"{self.processes} processes cannot share {self.workers} workers; each needs one")
        if self.processes > 1 and self.name != "direct":
            raise ValueError(f"processes is for the direct runner; how many {self.name} has, its own options say")
        return self


class RunConfig(_Section):
    """A whole run."""

    input: InputConfig
    model: ModelConfig
    explain: ExplainConfig = ExplainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    output: OutputConfig
    runner: RunnerConfig = RunnerConfig()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, every default written out: what the manifest records."""
        return self.model_dump(mode="json")


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a YAML file.

    Args:
        path: the file.
        overrides: ``section.key=value`` strings, values in YAML, applied on top of the file.

    Raises:
        ConfigError: the file cannot be read, or anything in it is wrong; all problems at once.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"cannot read {path}: {errors.reason(error)}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"cannot read {path}: it is not UTF-8 text ({error})"]) from error
    settings = parse(text, overrides, str(path))
    if not settings.model.names_modules or settings.model.search_path is not None:
        return settings
    beside = {"search_path": str(pathlib.Path(path).absolute().parent)}
    return settings.model_copy(update={"model": settings.model.model_copy(update=beside)})


def parse(text: str, overrides: Sequence[str] = (), source: str = "configuration") -> RunConfig:
    """The configuration in a YAML text; see `load`."""
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError([f"not YAML: {' '.join(str(error).split())}"], source) from error
    if not isinstance(settings, dict):
        raise ConfigError([f"is a {type(settings).__name__}, expected sections input, model, explain, ..."], source)
    problems = [problem for override in overrides for problem in _override(settings, override)]
    try:
        config = RunConfig.model_validate(settings)
    except pydantic.ValidationError as error:
        raise ConfigError([*problems, *describe_problems(error, RunConfig)], source) from None
    if problems:
        raise ConfigError(problems, source)
    return config


def _override(settings: dict[str, Any], override: str) -> Iterator[str]:
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        yield f"--set {override!r}: expected section.key=value"
        return
    place: Any = settings
    for key in keys[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            yield f"--set {override!r}: {key} is not a section"
            return
    try:
        place[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:
        yield f"--set {override!r}: the value is not YAML"


def describe_problems(error: pydantic.ValidationError, root: type[pydantic.BaseModel]) -> Iterator[str]:
    """One line per problem of a file that `root` was to be made from: its path, what came, what was expected."""
    for problem in error.errors():
        path = ".".join(str(p) for p in problem["loc"]) or "the whole file"
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"], root)
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(known)}" if known else ""
            yield f"{path}: unknown key{hint}"
        elif problem["type"] == "missing":
            yield f"{path}: is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            shown = repr(problem["input"])
            came = (
                f" (it is {shown if len(shown) <= 60 else shown[:57] + '...'})"
                if problem["type"] != "value_error"
                else ""
            )
            yield f"{path}: {message}{came}"


def _known_keys(location: tuple[int | str, ...], root: type[pydantic.BaseModel]) -> list[str]:
    """The keys of the section in which an unknown key stands."""
    section = root
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        inner = next(_sections(field.annotation), None) if field is not None else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    inside = get_args(annotation)
    # On Python 3.10 tuple[int, ...] is a type also, which issubclass refuses.
    if not inside and isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in inside:
        yield from _sections(inner)
