"""Why Keras could not make a model from a file, or a user's own code could not: the cause, whole, on one line.

Keras wraps what went wrong in the configuration of every layer around it; the cause stands at the end of pages.
"""

from __future__ import annotations

import pathlib
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import keras

from heatbeam.transforms import errors
from heatbeam.transforms.models.files import file_kinds


class ModelError(errors.UserError, ValueError):
    """The model cannot be loaded or does not have what the configuration says."""


_MISSING = re.compile(
    r"Could not locate (?:class|function) '([^']+)'"
    r"|Unknown (?:layer|object|activation function|initializer|regularizer|constraint|class|function): '?([\w.>]+)'?"
    r"|Could not deserialize (?:class|function) '([^']+)' because its parent module (?!keras\b)\S+ cannot be imported"
)
_DUMPS = re.compile(
    r"\s*(Full object config:|config=\{|Config of |Please ensure that components that are Python object instances"
    r"|Please ensure you are using a `keras.utils.custom_object_scope`|Make sure custom classes and functions).*",
    re.DOTALL,
)
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_OWN = ("keras", "tf_keras", "builtins")
# Layers by which Keras 2 wrote down what was called between its layers.
_OPERATIONS = (
    "TFOpLambda",
    "SlicingOpLambda",
    "TensorFlowOpLayer",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
)
_LONGEST = 400


def of_file(error: BaseException, path: pathlib.Path) -> str:
    """Why Keras did not load the model file at `path`, and what to do, in words that follow "cannot load it: "."""
    everything = "\n".join(str(one) for one in _chain(error))
    if "safe_mode" in everything or "unsafe" in everything.lower():
        return (
            "the file carries code (a Lambda layer, say), which safe mode does not run. If you trust the file, set "
            "model.safe_mode: false"
        )
    missing = [next(filter(None, groups)) for groups in _MISSING.findall(everything)]
    if missing:
        custom = list(dict.fromkeys([*_custom_classes(file_kinds.architecture(path)), *missing]))
        if operations := [name for name in custom if name in _OPERATIONS]:
            return (
                f"Keras 2 wrote TensorFlow functions into it that are called between the layers "
                f"({', '.join(operations)}), which Keras 3 does not read. Where tf_keras is installed, load the file "
                "there and export it as a SavedModel (model.export(folder)), which works as model.path"
            )
        return (
            f"it needs {', '.join(custom)}, which Keras does not know. Name the module that defines "
            f"{'it' if len(custom) == 1 else 'them'}, beside the configuration file or installed, in model.imports: "
            "[module]; or name a factory (model.factory: module:function) that returns the model"
        )
    if (broken := file_kinds.damage(path)) is not None:
        return f"the file {broken}"
    version = file_kinds.keras_version(path)
    if version is not None and version.startswith(("1.", "2.")):
        return (
            f"{cause(error)}. The file was written by Keras {version} (tf_keras), in a form that Keras 3 does not "
            "read. Where tf_keras is installed, save it as model.h5, which Keras 3 mostly reads, or as a SavedModel "
            "(model.export(folder)); or save its weights and give them as model.weights to a factory that builds the "
            "network in Keras 3"
        )
    written = f" (the file was written by Keras {version})" if version is not None else ""
    return f"{cause(error)}{written}"


def cause(error: BaseException) -> str:
    """What went wrong in the first place, on one line and without the configurations around it."""
    said = str(error).rsplit("Exception encountered: ", 1)[-1]
    line = re.sub(r"\s+", " ", _DUMPS.sub("", _COLOURS.sub("", said))).strip().rstrip(".")
    short = line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
    return short or type(error).__name__


def of_code(error: BaseException, is_own: Callable[[str], bool]) -> str:
    """What a user's own function raised, and where: ``RuntimeError: no server (my_models.py, line 12)``.

    Args:
        error: that it raised.
        is_own: whether a file is the user's; the place is the last one in such a file.
    """
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    own = [place for place in places if is_own(place[0])]
    place = f" ({own[-1][0]}, line {own[-1][1]})" if own else ""
    said = cause(error)
    return f"{type(error).__name__}{'' if said == type(error).__name__ else f': {said}'}{place}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def of_kind(model: object) -> str:
    """What a function returned in place of a Keras model, and what to do about it."""
    roots = {base.__module__.split(".")[0] for base in type(model).__mro__}
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if "tf_keras" in roots:
        return (
            f"{kind}, a Keras 2 model: build it with keras (3) instead of tf_keras, without TF_USE_LEGACY_KERAS, and "
            "load its weights"
        )
    if "torch" in roots:
        return f"{kind}, a PyTorch module: build the network in Keras and load its weights"
    if "tensorflow" in roots:
        return f"{kind}, of TensorFlow without Keras, which has no layers to look into"
    return kind


def _custom_classes(config: Any) -> list[str]:
    """Classes of an architecture that neither Keras nor who has registered them knows, by name, in order."""
    found: dict[str, None] = {}

    def visit(part: Any) -> None:
        if isinstance(part, dict):
            name = str(part.get("class_name"))
            if not _is_known(name, part):
                found[name] = None
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            visit(inner)

    visit(config)
    return list(found)


def _is_known(name: str, part: dict[str, Any]) -> bool:
    """Whether Keras knows the class that a part of an architecture names, or the part names none."""
    registered = part.get("registered_name")
    if registered:
        return str(part.get("module")).startswith(_OWN) or keras.saving.get_registered_object(registered) is not None
    config = part.get("config")
    is_layer = isinstance(config, dict) and "trainable" in config and "module" not in part  # Keras 2's form
    builtin = name in ("Functional", "Model", "Sequential") or hasattr(keras.layers, name)
    return not is_layer or builtin or keras.saving.get_registered_object(name) is not None
