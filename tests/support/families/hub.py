"""The families of KerasHub's image classifiers: small ones, with random weights. Import only where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras_hub import models

from tests.support.families import family

SIZE = (64, 64, 3)
TITLE = "KerasHub's image classifiers"

_RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_strides": [1, 2],
}
_TRANSFORMER = {"patch_size": 16, "num_layers": 3, "num_heads": 2, "hidden_dim": 32}


def _family(
    name: str,
    layer: str,
    expert: str,
    layer_of: Callable[[keras.Model], keras.layers.Layer],
    backbone: Mapping[str, Any],
    *,
    kind: str = "",
    prefix_tokens: int = 0,
    **classifier: Any,
) -> family.Family:
    """A family of a backbone and a classifier of the same `kind`, the first word of `name` unless given."""
    kind = kind or name.replace(",", " ").split()[0]
    given = {"input_shape" if kind == "EfficientNet" else "image_shape": SIZE, **backbone}

    def build() -> keras.Model:
        made = getattr(models, f"{kind}Backbone")(**given)
        return getattr(models, f"{kind}ImageClassifier")(made, num_classes=family.CLASSES, **classifier)

    return family.Family(name, layer, expert, build, layer_of, prefix_tokens)


def _pooler(model: keras.Model) -> keras.layers.Layer:
    return model.pooler


def _named(name: str) -> Callable[[keras.Model], keras.layers.Layer]:
    return lambda model: model.backbone.get_layer(name)


def _last_block(encoder: str) -> Callable[[keras.Model], keras.layers.Layer]:
    """The first normalization of the last block of an encoder."""
    return lambda model: model.backbone.get_layer(encoder).encoder_layers[-1].layer_norm_1


FAMILIES = (
    _family(
        "CSPNet (CSPDarkNet)",
        "csp_net_backbone/stage_1_csp_transition_activation",
        "the backbone's output",
        _pooler,
        {
            "stem_filters": 16,
            "stem_kernel_size": 3,
            "stem_strides": 2,
            "stackwise_depth": [1, 2],
            "stackwise_strides": [1, 2],
            "stackwise_num_filters": [32, 64],
            "block_type": "dark_block",
            "stage_type": "csp",
            "bottle_ratio": [0.5],
            "expand_ratio": [2.0],
        },
    ),
    _family(
        "DeiT, class token read",
        "dei_t_backbone/deit_encoder/transformer_block_3/ln_1",
        "first normalization of the last block",
        _last_block("deit_encoder"),
        {**_TRANSFORMER, "intermediate_dim": 64},
        prefix_tokens=2,
    ),
    _family(
        "DenseNet",
        "dense_net_backbone/relu",
        "the backbone's output",
        _pooler,
        {"stackwise_num_repeats": [2, 2], "growth_rate": 8},
    ),
    _family(
        "EfficientNet",
        "efficient_net_backbone/top_activation",
        "the backbone's output",
        _pooler,
        {
            "stackwise_kernel_sizes": [3, 3],
            "stackwise_num_repeats": [1, 2],
            "stackwise_input_filters": [16, 16],
            "stackwise_output_filters": [16, 32],
            "stackwise_expansion_ratios": [1, 4],
            "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
            "stackwise_strides": [2, 2],
            "stackwise_block_types": ["fused", "unfused"],
            "width_coefficient": 1.0,
            "depth_coefficient": 1.0,
            "num_features": 64,
        },
    ),
    _family(
        "HGNetV2",
        "head_last/head_last_relu",
        "last convolution before pooling",
        _pooler,
        {
            "depths": [1, 1],
            "embedding_size": 16,
            "hidden_sizes": [32, 64],
            "stem_channels": [3, 16, 16],
            "hidden_act": "relu",
            "use_learnable_affine_block": False,
            "stackwise_stage_filters": [(16, 16, 32, 1, 1, 3), (32, 16, 64, 1, 1, 3)],
            "apply_downsample": [False, True],
            "use_lightweight_conv_block": [False, False],
        },
        preprocessor=None,
    ),
    _family(
        "MiT (SegFormer)",
        "mi_t_backbone/output_level_1",
        "the backbone's output",
        _pooler,
        {
            "layerwise_depths": [1, 1],
            "num_layers": 2,
            "layerwise_num_heads": [1, 2],
            "layerwise_sr_ratios": [4, 1],
            "max_drop_path_rate": 0.1,
            "layerwise_patch_sizes": [7, 3],
            "layerwise_strides": [4, 2],
            "hidden_dims": [16, 32],
        },
    ),
    _family(
        "MobileNet",
        "mobile_net_backbone/block_3_0/activation_9",
        "the backbone's output",
        _pooler,
        {
            "stackwise_expansion": [[40, 56], [64, 72]],
            "stackwise_num_blocks": [2, 2],
            "stackwise_num_filters": [[16, 16], [24, 24]],
            "stackwise_kernel_size": [[3, 3], [5, 5]],
            "stackwise_num_strides": [[2, 1], [2, 1]],
            "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
            "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
            "stackwise_padding": [[1, 1], [2, 2]],
            "output_num_filters": 64,
            "last_layer_filter": 64,
            "depthwise_filters": 8,
            "depthwise_stride": 2,
            "depthwise_residual": False,
            "squeeze_and_excite": 0.5,
            "input_activation": "hard_swish",
            "output_activation": "hard_swish",
            "input_num_filters": 16,
        },
    ),
    _family(
        "MobileNetV5",
        "mobile_net_v5_backbone/msfa/rms_norm2d_1",
        "the backbone's output, several scales fused",
        _named("msfa"),
        {
            "stackwise_block_types": [["er"], ["uir", "mqa"]],
            "stackwise_num_blocks": [1, 2],
            "stackwise_num_filters": [[24], [48, 48]],
            "stackwise_strides": [[2], [2, 1]],
            "stackwise_act_layers": [["relu"], ["relu", "relu"]],
            "stackwise_exp_ratios": [[4.0], [6.0, 6.0]],
            "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
            "stackwise_dw_kernel_sizes": [[0], [5, 3]],
            "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
            "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
            "stackwise_exp_kernel_sizes": [[3], [0, 0]],
            "stackwise_pw_kernel_sizes": [[1], [0, 0]],
            "stackwise_num_heads": [[0], [0, 4]],
            "stackwise_key_dims": [[0], [0, 16]],
            "stackwise_value_dims": [[0], [0, 16]],
            "stackwise_kv_strides": [[0], [0, 1]],
            "stackwise_use_cpe": [[False], [False, False]],
            "msfa_output_resolution": 8,
            "num_features": 64,
        },
        head_hidden_size=64,
    ),
    _family(
        "ResNet",
        "res_net_backbone/stack1_block1_out",
        "the backbone's output",
        _pooler,
        {**_RESNET, "block_type": "basic_block"},
    ),
    _family(
        "ResNet, V2",
        "res_net_backbone/post_relu",
        "the backbone's output",
        _pooler,
        {**_RESNET, "block_type": "bottleneck_block", "use_pre_activation": True},
        kind="ResNet",
    ),
    _family(
        "SwinTransformer",
        "swin_transformer_backbone/norm",
        "last normalization",
        _named("norm"),
        {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4},
    ),
    _family(
        "VGG",
        "vgg_backbone/block3_pool",
        "the backbone's output, or the convolution before its pooling",
        _named("block3_pool"),
        {"stackwise_num_repeats": [1, 1, 2], "stackwise_num_filters": [8, 16, 32], "image_shape": (56, 56, 3)},
        pooling_hidden_dim=32,
    ),
    _family(
        "ViT, class token read",
        "vi_t_backbone/vit_encoder/transformer_block_3/ln_1",
        "first normalization of the last block",
        _last_block("vit_encoder"),
        {**_TRANSFORMER, "mlp_dim": 64},
        prefix_tokens=1,
    ),
    _family(
        "ViT, tokens averaged",
        "vi_t_backbone/vit_encoder/ln",
        "last normalization",
        lambda model: model.backbone.get_layer("vit_encoder").layer_norm,
        {**_TRANSFORMER, "mlp_dim": 64},
        prefix_tokens=1,
        kind="ViT",
        pooling="gap",
    ),
    _family(
        "Xception",
        "xception_backbone/block3_sepconv2_act",
        "the backbone's output",
        _pooler,
        {"stackwise_conv_filters": [[16, 32], [64, 64], [96, 96]], "stackwise_pooling": [False, True, False]},
    ),
)
