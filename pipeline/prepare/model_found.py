"""What a model file tells of itself: its input, its outputs, and what it was trained to see of pixels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import keras

from heatbeam import config
from heatbeam.prepare import answers
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import input_constants, loading

_FAMILIES = {
    "mobilenet_": "tf", "mobilenetv2_": "tf", "inception_v3": "tf", "inception_resnet_v2": "tf", "xception": "tf",
    "nasnet_": "tf", "resnet50v2": "tf", "resnet101v2": "tf", "resnet152v2": "tf",
    "vgg16": "caffe", "vgg19": "caffe", "resnet50": "caffe", "resnet101": "caffe", "resnet152": "caffe",
    "densenet": "torch",
    "efficientnet": "none", "mobilenetv3": "none", "convnext": "none", "regnet": "none",
}  # fmt: skip
"""How `keras.applications` call their networks, and what these were trained on."""

_MEANING = {"tf": "-1..1", "caffe": "BGR less ImageNet's means", "torch": "0..1 less ImageNet's means, over its "
            "deviations", "none": "0..255, which its own first layers bring to scale"}  # fmt: skip
_QUESTION = (
    "to what the model was trained with, which nothing in the model says; a wrong one makes wrong maps without an "
    "error:"
)
_CHOICES = (
    f"from pixels 0..255 {_QUESTION}",
    "; ".join(f"{mode}: {meaning.split(',')[0]}" for mode, meaning in _MEANING.items()) + ";",
    "{scale: 0.00392156862745098, offset: 0}: 0..1; an application's name; module:function",
)
_CHOICES_OF_ARRAYS = (
    f"from the numbers of the records {_QUESTION}",
    "none: as they are; {mean: [...], std: [...]}: of each channel; {statistics: FILE}: these from a file;",
    "{scale: 0.001, offset: 0}; module:function",
)
"""For series, volumes, bands and grey pictures: ImageNet's means are for three channels."""
_PICTURES, _RGB = 4, 3
"""Axes of a batch of pictures, and their channels."""
_SCALES = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")


@dataclasses.dataclass(frozen=True)
class Found:
    """A model.

    Attributes:
        outputs: how many numbers its last axis has; None where that is open.
        settings: what is to be said of it.
        fed_by: features of the records that are its inputs beside the explained one.
    """

    outputs: int | None
    settings: tuple[answers.Answer, ...]
    fed_by: tuple[str, ...] = ()


def look(path: str, preprocessing: str | None, features: Sequence[str] = ()) -> Found:
    """Load a model and look at it.

    Args:
        path: of its file or folder.
        preprocessing: the value of the setting, where the user gives it.
        features: of the records, for the inputs of a model of several.

    Raises:
        loading.ModelError: it cannot be loaded.
    """
    model = loading.load_whole(model_source.ModelSource(path=path))
    explained, of_inputs, fed_by = _inputs(model, features)
    shape = getattr(model, "output_shape", None)
    outputs = shape[-1] if isinstance(shape, tuple) and shape and isinstance(shape[-1], int) else None
    found = [answers.Answer("path", path, (_in_words(model, outputs),))]
    found += of_inputs
    found += _input_size(explained)
    if preprocessing is not None:
        found.append(answers.Answer("preprocessing", preprocessing, ("as it was given to heatbeam init",)))
    else:
        found.append(_preprocessing(model, explained))
    return Found(outputs, tuple(found), fed_by)


def _inputs(
    model: keras.Model, features: Sequence[str]
) -> tuple[keras.Model, Sequence[answers.Answer], tuple[str, ...]]:
    """The model of the explained input alone, what is to be said of its inputs, and the features of the others.

    The input of most axes is explained. Another is fed by the feature of its name, or whose last part that is.
    """
    inputs = input_constants.inputs_by_name(model)
    if len(inputs) < 2:
        return model, (), ()
    listed = input_constants.in_words(inputs)
    most = max(len(tensor.shape) for tensor in inputs.values())
    first, *further = (name for name, tensor in inputs.items() if len(tensor.shape) == most)
    others = {name: _feature_of(name, features) for name in inputs if name != first}
    explained = (
        answers.asked("input", f"which of {listed} is explained?")
        if further
        else answers.Answer("input", first, (f"of {listed} the one with most axes is explained",))
    )
    known = ", ".join(features) or "not known here"
    why = (
        f"the model's other inputs, each from the feature of its name; the records have {known}; for one that is the "
        "same for every image model.constants instead"
    )
    alone = {
        name: model_source.StandIn(tuple(side or 1 for side in tensor.shape[1:]))
        for name, tensor in inputs.items()
        if name != first
    }
    fed_by = tuple(name for name in others.values() if name != config.OPEN_QUESTION)
    return input_constants.one_input(model, first, alone), (explained, answers.Answer("inputs", others, (why,))), fed_by


def _feature_of(name: str, features: Sequence[str]) -> str:
    same = [one for one in features if name in (one, one.rpartition("/")[2])]
    return same[0] if len(same) == 1 else config.OPEN_QUESTION


def _in_words(model: keras.Model, outputs: int | None) -> str:
    numbers = "outputs of a number that it leaves open" if outputs is None else f"{outputs:,} outputs"
    return f"{type(model).__name__} {model.name}, {len(model.layers)} layers, {numbers}"


def _input_size(model: keras.Model) -> Iterator[answers.Answer]:
    try:
        loading.input_size(model, None)
    except loading.ModelError as error:
        yield answers.asked("input_size", f"{error}")


def _preprocessing(model: keras.Model, explained: keras.Model | None = None) -> answers.Answer:
    """What stands in front of the weights of `model`, or its name, says; `explained` has one input alone, if given."""
    before = list(_before_weights(model))
    scaling = [operation for operation in before if type(operation).__name__ in _SCALES]
    if scaling:
        names = ", ".join(f"{operation.name} ({type(operation).__name__})" for operation in scaling)
        return answers.Answer(
            "preprocessing", "none", (f"the model scales pixels itself, in front of its weights: {names}",)
        )
    known = {family: name for name in _names(model) if (family := _family(name)) is not None}
    if len({_FAMILIES[family] for family in known}) == 1:
        family, name = next(iter(known.items()))
        mode = _FAMILIES[family]
        why = (
            f"{name} is called as a network of keras.applications whose weights were trained on {_MEANING[mode]}; if "
            "it was trained anew on other pixels, say on which"
        )
        return answers.Answer("preprocessing", mode, (why,))
    inputs = input_constants.declared_inputs(model if explained is None else explained)
    colours = not inputs or (len(inputs[0].shape) == _PICTURES and inputs[0].shape[-1] in (_RGB, None))
    return answers.asked("preprocessing", *(_CHOICES if colours else _CHOICES_OF_ARRAYS))


def _before_weights(model: keras.Model) -> Iterator[keras.Operation]:
    """Operations that a functional or sequential model applies before the first that has trained weights."""
    for operation in _in_order(model):
        has_weights = isinstance(operation, keras.layers.Layer) and bool(operation.weights)
        if has_weights and not isinstance(operation, keras.layers.Normalization):
            return
        yield operation


def _in_order(model: keras.Model) -> Iterator[keras.Operation]:
    operations = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", ())
    for operation in operations:
        if isinstance(operation, keras.Model):
            yield from _in_order(operation)
        else:
            yield operation


def _names(model: keras.Model) -> Iterator[str]:
    """The name of a model and those of the models inside it."""
    yield model.name
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _names(layer)


def _family(name: str) -> str | None:
    """The longest known beginning of the name of a network, which no letter or digit of another name follows."""
    lower = name.lower()
    fitting = [one for one in _FAMILIES if lower.startswith(one)]
    longest = max(fitting, key=len, default=None)
    if longest in ("resnet50", "resnet101", "resnet152", "vgg16", "vgg19", "xception") and re.match(
        r"[a-z0-9]", lower[len(longest) :]
    ):
        return None
    return longest
