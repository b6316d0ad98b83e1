"""Every kind of input of the demo but encoded images, by name."""

from __future__ import annotations

from heatbeam.demo.kinds import bands, kind, multi_input, series, volume

KINDS: dict[str, kind.Kind] = {one.name: one for one in (series.KIND, volume.KIND, bands.KIND, multi_input.KIND)}
