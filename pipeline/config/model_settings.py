"""The section ``model``: the model, the layer to map and the scores to explain."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from heatbeam.config import section
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import model_source
from heatbeam.transforms.sources.arrays import array_options, input_forms


class PreprocessingConfig(section.Section):
    """From pixels 0..255 to what the model was trained with."""

    mode: str = pydantic.Field(
        model_source.Preprocessing.mode,
        description="auto (application models), none, tf, caffe, torch, an application's name, or module:function",
    )
    scale: tuple[float, ...] | None = pydantic.Field(
        model_source.Preprocessing.scale, description="pixel * scale + offset: one number, or one for each channel"
    )
    offset: tuple[float, ...] | None = pydantic.Field(model_source.Preprocessing.offset, description="see scale")
    mean: tuple[float, ...] | None = pydantic.Field(
        model_source.Preprocessing.mean,
        description="(value - mean) / std, behind scale and offset where these are given: one number, or one for each "
        "channel",
    )
    std: tuple[Annotated[float, pydantic.Field(gt=0)], ...] | None = pydantic.Field(
        model_source.Preprocessing.std, description="see mean"
    )
    statistics: str | None = pydantic.Field(
        None,
        description="file of mean and std of each channel, instead: JSON or .npz that name them (variance, and "
        "preprocessor_config.json, too), or .npy of two rows",
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value

    @pydantic.field_validator("scale", "offset", "mean", "std", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value

    @pydantic.model_validator(mode="after")
    def _mode_or_scale(self) -> PreprocessingConfig:
        # A manifest holds the default too, beside scale and offset.
        numbers = (self.scale, self.offset, self.mean, self.std, self.statistics)
        if self.mode != "auto" and any(one is not None for one in numbers):
            raise ValueError("give either a mode or scale and offset (or mean and std, or statistics), not both")
        if self.statistics is not None and (self.mean is not None or self.std is not None):
            raise ValueError("give either statistics or mean and std, not both")
        return self


class OtherInputConfig(section.Section):
    """An input of the model beside the explained one, and the feature of the records that each image brings for it."""

    feature: str = pydantic.Field(description="of the records; every record must have it")
    format: input_forms.Format = pydantic.Field(
        input_forms.InputForm.format,
        description="a list of numbers or texts (values), raw bytes, tf.io.serialize_tensor (tensor), an npy file or "
        "an encoded image; auto tells them apart",
    )
    dtype: array_options.Dtype | None = pydantic.Field(input_forms.InputForm.dtype, description="of raw bytes")
    shape: tuple[section.Positive, ...] | None = pydantic.Field(
        input_forms.InputForm.shape, description="of the input, without the batch, where the model leaves it open"
    )
    categories: tuple[int | str, ...] | None = pydantic.Field(
        input_forms.InputForm.categories,
        description="the values that there are, in the order of the ids that the model was trained with",
    )
    one_hot: bool = pydantic.Field(
        input_forms.InputForm.one_hot,
        description="each value is an id, and the model takes a row with a 1 at its place",
    )
    scale: tuple[float, ...] = pydantic.Field(
        input_forms.InputForm.scale, description="number * scale + offset: one number, or one for each of the last axis"
    )
    offset: tuple[float, ...] = pydantic.Field(input_forms.InputForm.offset, description="see scale")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"feature": value} if isinstance(value, str) else value

    @pydantic.field_validator("scale", "offset", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> OtherInputConfig:
        known = [str(category) for category in self.categories or ()]
        section.refuse({
            "raw bytes need dtype": self.format == "raw" and self.dtype is None,
            "dtype goes with format raw or auto": self.dtype is not None and self.format not in ("raw", "auto"),
            "categories: the same value twice": len(set(known)) < len(known),
            "categories go with format values or auto": (
                self.categories is not None and self.format not in ("values", "auto")),
        })  # fmt: skip
        return self

    def as_form(self, name: str) -> input_forms.InputForm:
        """How records hold the input `name`, as the steps know it."""
        return input_forms.InputForm(name=name, **{key: getattr(self, key) for key in type(self).model_fields})


class ModelConfig(section.Section):
    """The model, the layer to map and the scores to explain."""

    path: str | None = pydantic.Field(
        model_source.ModelSource.path, description=".keras or .h5 file or SavedModel folder, local or remote"
    )
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
        dict(model_source.ModelSource.arguments),
        description="keyword arguments of the application or factory; weights: null draws them by explain.seed",
    )
    safe_mode: bool = pydantic.Field(
        model_source.ModelSource.safe_mode, description="refuse model files that carry code"
    )
    signature: str | None = pydantic.Field(
        model_source.ModelSource.signature,
        description="of a SavedModel with several (default: serving_default, or the only one)",
    )
    input: str | None = pydantic.Field(
        model_source.ModelSource.input,
        description="name of the input that is explained, of several (default: the one that the next two leave)",
    )
    inputs: dict[str, OtherInputConfig] = pydantic.Field(
        {}, description="the other inputs, by name: the feature of the records that each image brings, or a mapping"
    )
    constants: dict[str, Any] = pydantic.Field(
        dict(model_source.ModelSource.constants),
        description="of the other inputs, by name, the same for every image: a number, lists of them, or an .npy file "
        "(for one of inputs too: what it has while the model is looked into)",
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
    target_layer: str | tuple[str, ...] = pydantic.Field(
        specs.EngineSpec.target_layer,
        description="name or path of the layer to map; a list where no single one carries the whole score",
    )
    target_fusion: Literal["each", "mean", "max"] = pydantic.Field(
        "each",
        description="of several target layers: a map of each (METHOD@LAYER in the tables), or their mean or maximum, "
        "for methods without passes of their own",
    )
    scores: specs.Scores = pydantic.Field(
        specs.EngineSpec.scores,
        description="how the model's numbers are read: auto finds out or asks; softmax, sigmoid: logits, whose softmax "
        "or sigmoid is the probability; probabilities (of one class each image), one_vs_rest (of each class): as the "
        "model returns them, their logits are explained; as_is: probabilities, explained themselves; regression: "
        "values, such as an age; similarity: an embedding, whose cosine with reference is explained",
    )
    output: str | None = pydantic.Field(specs.EngineSpec.output, description="which output of a model of several")
    reference: str | None = pydantic.Field(
        None,
        description="for scores: similarity, the embedding to compare with: a .npy file of its numbers, or of several, "
        "(embeddings, numbers)",
    )
    reference_class: str | int | None = pydantic.Field(
        None,
        description="instead of reference: a class of the records, by its name or id there, whose mean embedding over "
        "its first 64 images is compared with",
    )
    input_size: Annotated[tuple[section.Positive, ...], pydantic.Field(min_length=2, max_length=4)] | None = (
        pydantic.Field(
            specs.EngineSpec.input_size,
            description="where the model leaves it open: height, width and channels of an image, steps and channels of "
            "a series, depth, height, width and channels of a volume",
        )
    )
    class_names: tuple[str, ...] | str | None = pydantic.Field(
        None,
        description="names of the model's classes: a list, or a file (one name a line, CSV, JSON, YAML, label map); "
        "imagenet: those of Keras, if they are on this machine",
    )

    @pydantic.field_validator("imports", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @pydantic.field_validator("target_layer")
    @classmethod
    def _several_layers(cls, layers: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(layers, str):
            return layers
        if not layers or "auto" in layers or len(set(layers)) < len(layers):
            raise ValueError(f"expected names of different layers, it is [{', '.join(layers)}]")
        return layers[0] if len(layers) == 1 else layers

    def as_input_forms(self) -> tuple[input_forms.InputForm, ...]:
        """How records hold the inputs beside the explained one, in the order of their names."""
        return tuple(given.as_form(name) for name, given in sorted(self.inputs.items()))

    @property
    def names_modules(self) -> bool:
        """Whether code of the user's is to be imported."""
        return self.factory is not None or bool(self.imports) or ":" in self.preprocessing.mode

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> ModelConfig:
        given = [n for n in ("path", "application", "factory") if getattr(self, n) is not None]
        section.refuse({
            f"give exactly one of path, application and factory (given: {', '.join(given) or 'none'})": len(given) != 1,
            "weights and arguments go with application or factory; a model file has its own": (
                self.path is not None and (self.weights is not None or bool(self.arguments))),
        })  # fmt: skip
        return self
