"""Every setting of a run, its default, and its checks.

A default that a public specification has too is read from there (`specs.EngineSpec`, `model_source.ModelSource`,
`feature_map.FeatureMap`, `decode_options.ImageOptions`), so that a file and a program that set nothing do the same;
every other default stands here and nowhere else.

A configuration is a YAML file with the sections ``input``, ``model``, ``explain``, ``evaluate``, ``output`` and
``runner``. Unknown keys and wrong values are all reported together, each with its path in the file.

One file a section; `section` is what all are made of, `reading` makes them from a file, `problems` says what is wrong.
A setting more is a field here and in the options of the step that it is for.
"""

from heatbeam.config.evaluate_settings import EvaluateConfig, FaithfulnessConfig
from heatbeam.config.explain_settings import ExplainConfig, MethodConfig
from heatbeam.config.input_settings import SOURCES, FeaturesConfig, InputConfig, TfdsConfig
from heatbeam.config.model_settings import ModelConfig, PreprocessingConfig
from heatbeam.config.output_settings import NEWEST, OutputConfig
from heatbeam.config.problems import ConfigError, describe_problems
from heatbeam.config.reading import OPEN_QUESTION, load, parse
from heatbeam.config.run_settings import RunConfig
from heatbeam.config.runner_settings import RunnerConfig

__all__ = [
    "NEWEST",
    "OPEN_QUESTION",
    "SOURCES",
    "ConfigError",
    "EvaluateConfig",
    "ExplainConfig",
    "FaithfulnessConfig",
    "FeaturesConfig",
    "InputConfig",
    "MethodConfig",
    "ModelConfig",
    "OutputConfig",
    "PreprocessingConfig",
    "RunConfig",
    "RunnerConfig",
    "TfdsConfig",
    "describe_problems",
    "load",
    "parse",
]
