"""The families of keras.applications: the smallest member of each, on images as small as it takes."""

from __future__ import annotations

import keras

from tests.support.families import family

TITLE = "keras.applications"


def _family(name: str, size: int, layer: str, expert: str = "", hooked: str = "") -> family.Family:
    """A family whose expert's layer is called `hooked`, or `layer`."""

    def build() -> keras.Model:
        application = getattr(keras.applications, name)
        model = application(
            weights=None, input_shape=(size, size, 3), classes=family.CLASSES, classifier_activation=None
        )
        for weight in model.weights:
            # ConvNeXt's blocks begin with a millionth of their share: the map would be the rounding of what cancels.
            if "layer_scale" in weight.path:
                weight.assign(keras.ops.ones_like(weight))
        return model

    return family.Family(
        name=name,
        layer=layer,
        expert=expert or f"`{hooked or layer}`",
        build=build,
        layer_of=lambda model: model.get_layer(hooked or layer),
    )


FAMILIES = (
    _family("ConvNeXtTiny", 64, "add_17", "sum of the last block", "convnext_tiny_head_gap"),
    _family("DenseNet121", 64, "relu"),
    _family("EfficientNetB0", 64, "top_activation"),
    _family("EfficientNetV2B0", 64, "top_activation"),
    _family("InceptionV3", 128, "mixed10"),
    _family("InceptionResNetV2", 128, "conv_7b_ac"),
    _family("MobileNet", 64, "conv_pw_13_relu"),
    _family("MobileNetV2", 64, "out_relu"),
    _family("MobileNetV3Small", 64, "activation_17", "last activation before pooling", "global_average_pooling2d"),
    _family("MobileNetV3Large", 64, "activation_19", "last activation before pooling", "global_average_pooling2d"),
    _family("NASNetMobile", 64, "activation_187", "last activation before pooling"),
    _family("ResNet50", 64, "conv5_block3_out"),
    _family("ResNet50V2", 64, "post_relu"),
    _family("VGG16", 64, "block5_pool", "`block5_pool`, or `block5_conv3` at twice the resolution"),
    _family("Xception", 96, "block14_sepconv2_act"),
)
