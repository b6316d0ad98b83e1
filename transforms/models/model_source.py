"""Where a model comes from and what it expects of pixels. Does not import TensorFlow.

Defaults of what a user can set stand here, once: the configuration reads them from these classes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeGuard

from heatbeam.transforms import errors


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From uint8 pixels to what the model expects: a mode, or ``(x * scale + offset - mean) / std`` where one is given.

    Attributes:
        mode: ``tf`` scales to [-1, 1]; ``caffe`` is BGR less the ImageNet mean; ``torch`` scales to [0, 1] and
            standardizes with the ImageNet mean and deviation; ``none`` passes 0 to 255 on (preprocessing inside the
            model); the name of a Keras application whose ``preprocess_input`` to use; or ``module:function``, of
            TensorFlow or Keras operations, from float32 pixels 0..255 ``(B, H, W, C)`` to inputs of that shape.
            ``auto`` is the application's own for a model made by name, and an error for any other model.
        scale, offset: one number, or one per channel; None means 1 and 0, or, where all are None, that `mode` decides.
        mean, std: the same, None meaning 0 and 1; of the values after `scale` and `offset`.
    """

    mode: str = "auto"
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def numbers(self) -> dict[str, tuple[float, ...]]:
        """Those that are given, by name; empty where `mode` decides."""
        named = {name: getattr(self, name) for name in ("scale", "offset", "mean", "std")}
        return {name: value for name, value in named.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class StandIn:
    """Instead of a constant: each image brings a value of its own, and this is there while the model is looked into.

    Numbers from 0 to 1 by a fixed seed; ones where integers are taken, as ids or as a mask that hides nothing; empty
    text.

    Attributes:
        shape: of the input without the batch axis, where the model leaves it open.
    """

    shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: exactly one of `path`, `application` and `factory`.

    Attributes:
        path: a ``.keras`` or ``.h5`` file, or the folder of a SavedModel.
        application: a name in ``keras.applications``, such as ``MobileNetV2``; with `weights`, or with ``weights``
            among its `arguments`.
        factory: ``module:function``, called with `arguments`, returns a Keras model.
        weights: a weights file for `application` or `factory`, or None.
        arguments: keyword arguments of the application or the factory, as sorted pairs.
        safe_mode: Keras' refusal to load code (Lambda layers) from a file; ours of SavedModels that reach for files.
        signature: of a SavedModel; None for ``serving_default``, or its only one.
        input: name of the input that takes the image, of several; None for the only one without a constant.
        constants: of the other inputs, as sorted pairs: numbers, tuples of them, paths of ``.npy`` files, `StandIn`.
        imports: modules with custom layers and functions, imported before the model is loaded.
        search_path: folder in which the modules of `factory`, `imports` and a preprocessing function are looked for
            first, or None.

    Raises:
        errors.UsageError: none of the three is given, or several are.
    """

    path: str | None = None
    application: str | None = None
    factory: str | None = None
    weights: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    safe_mode: bool = True
    signature: str | None = None
    input: str | None = None
    constants: tuple[tuple[str, Any], ...] = ()
    imports: tuple[str, ...] = ()
    search_path: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("path", "application", "factory") if getattr(self, name) is not None]
        if len(given) != 1:
            raise errors.UsageError(
                f"give exactly one of path, application and factory (given: {', '.join(given) or 'none'})"
            )

    @property
    def has_random_weights(self) -> bool:
        """Whether it is an application whose weights are random, as its `arguments` say."""
        return self.application is not None and self.weights is None and dict(self.arguments).get("weights") is None


def is_array_file(value: object) -> TypeGuard[str]:
    """Whether the value of a constant is the path of an ``.npy`` file."""
    return isinstance(value, str) and value.endswith(".npy")
