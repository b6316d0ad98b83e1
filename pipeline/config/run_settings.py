"""All sections together: the settings of a whole run."""

from __future__ import annotations

from typing import Any

from heatbeam.config import (
    evaluate_settings,
    explain_settings,
    input_settings,
    model_settings,
    output_settings,
    runner_settings,
    section,
)


class RunConfig(section.Section):
    """A whole run."""

    input: input_settings.InputConfig
    model: model_settings.ModelConfig
    explain: explain_settings.ExplainConfig = explain_settings.ExplainConfig()
    evaluate: evaluate_settings.EvaluateConfig = evaluate_settings.EvaluateConfig()
    output: output_settings.OutputConfig
    runner: runner_settings.RunnerConfig = runner_settings.RunnerConfig()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, every default written out: what the manifest records."""
        return self.model_dump(mode="json")
