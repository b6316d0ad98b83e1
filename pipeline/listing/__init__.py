"""What there is to choose from: methods, metrics and settings, as text, Markdown, JSON and a JSON schema.

`lists` makes text for people, `documents` JSON for programs, `config_schema` the schema by which editors complete a
configuration; `commands` prints them. All is made from the registries and from the settings' own models, so a new
method or setting is in every list at once. Imports `config` and the registries of `transforms`, neither TensorFlow nor
Beam; this file imports nothing, for ``heatbeam --help`` reads it.
"""
