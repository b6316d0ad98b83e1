"""What the shape of a model's output says: scores of an image, scores of every pixel, or nothing that is explained."""

from __future__ import annotations

import tensorflow as tf

from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.scores import output_tail

_COARSE = 8
"""Pixels of the image to a side of a cell: segmentation heads are finer, backbones and detection grids coarser."""


def pixels_of(shape: tf.TensorShape) -> tuple[int, int] | None:
    """Rows and columns of an output ``(B, rows, columns, classes)`` of more than one pixel; None of another."""
    if shape.rank != 4 or not shape[1:].is_fully_defined():
        return None
    if shape[1] * shape[2] == 1 or sum(size != 1 for size in shape[1:]) <= 1:  # a vector with axes of 1
        return None
    return int(shape[1]), int(shape[2])


def units_of(shape: tf.TensorShape) -> int | None:
    """Numbers that an output has for an image, or for a pixel where it has pixels; None where that is not known."""
    if pixels_of(shape) is not None:
        return int(shape[-1])
    number: int | None = shape[1:].num_elements()
    return number


def check(name: str, output: tf.Tensor, activation: str | None, image: tuple[int, ...], *, declared: bool) -> None:
    """Refuse an output that is not one score for each class, of the image or of each pixel.

    Args:
        name: of the model.
        output: ``(B, ...)``.
        activation: that was taken off it.
        image: positions along each axis of the model's input.
        declared: whether the configuration says how the numbers are read.

    Raises:
        loading.ModelError: saying what it seems to be.
    """
    shape = tuple(output.shape[1:])
    pixels = pixels_of(output.shape)
    said = f"model {name} returns {shape} for one image"
    if pixels is None:
        if output.shape.rank is not None and sum(size != 1 for size in shape) <= 1:
            return
        if len(shape) == 2 and None not in shape:
            raise loading.ModelError(
                f"{said}: {shape[1]} numbers for each of {shape[0]} rows, as a detection head gives for boxes or a "
                "sequence head for steps; which of them to explain is not known. Heatbeam explains one score for each "
                "class of the image, or of each pixel: give it a model (model.factory) that comes down to that, such "
                "as the largest score of each class over the boxes"
            )
        raise loading.ModelError(
            f"{said}, expected one score for each class, of the image or of each pixel (rows, columns, classes)"
        )
    step = max(image[0] / pixels[0], image[1] / pixels[1])
    if activation is None and not declared and (step > _COARSE or "Relu" in output_tail.tail(output).changes):
        raise loading.ModelError(
            f"{said}: {shape[2]} numbers for each of {pixels[0]}x{pixels[1]} cells. A backbone without its classifier "
            "cannot be explained, and neither can a detection head with anchors; if it is a segmentation, whose "
            "numbers are the logits of classes, set model.scores: softmax (or sigmoid)"
        )
    if activation is None and shape[2] == 1 and not declared:
        raise loading.ModelError(
            f"{said}: one number for each pixel, without an activation. If it is the logit of an object, set "
            "model.scores: sigmoid; maps of a value, such as depth, cannot be explained"
        )


def warnings(shape: tf.TensorShape, activation: str | None, image: tuple[int, ...], rule: str) -> list[str]:
    """What speaks against reading an output as classes of pixels, a sentence each.

    Args:
        shape: of the output.
        activation: that was taken off it.
        image: positions along each axis and channels of the model's input.
        rule: how the numbers of a pixel are read.

    Raises:
        loading.ModelError: they are values.
    """
    pixels = pixels_of(shape)
    if pixels is None:
        return []
    if rule == "value":
        raise loading.ModelError(
            f"model.scores asks for values of an image, and the model gives {shape[-1]} for each of "
            f"{pixels[0]}x{pixels[1]} pixels; values of an image are explained, not maps of them"
        )
    if activation != output_tail.SOFTMAX and shape[-1] == image[-1] and pixels == image[:-1]:
        said = (
            f"the model returns an array of the shape of its input {image}, which is read as {shape[-1]} classes of "
            "each pixel; if it is an image (an autoencoder's), there is nothing to explain"
        )
        return [said]
    return []
