"""The columns in which a table of explanations keeps the channel evidence of a class, written and read in one place.

``evidence_channels`` holds the strongest channels of the run's target layer, ``evidence_steps`` what each puts into the
class score in steps of ``evidence_scale`` (`heatmaps.quantize`), ``evidence_total`` the sum over all channels and
``evidence_magnitude`` the sum of their absolute values, so that the share of what is kept is known:

    value = evidence_steps * evidence_scale,  share = sum |value| / evidence_magnitude

It belongs to an image and a class, not to a method: it stands in the row of the first method that explains the image,
and is null in the rows of the others. All rows are null in runs with ``explain.evidence: false``, of versions before
it, and of models whose head has no gradient; single rows where the evidence is not finite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.tables import schemas

COLUMNS = ("evidence_channels", "evidence_steps", "evidence_scale", "evidence_total", "evidence_magnitude")

STEPS = 2047
"""Steps either side of 0: a value is within 0.025 % of the strongest of its row."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of R rows, as sparse rows over the channels.

    Attributes:
        channels: int32 ``(N,)``, of all rows, one behind the other, each row's strongest first.
        values: float32 ``(N,)``, what each puts into its class score, in units of the logit.
        ends: int64 ``(R + 1,)``: row r has the entries from ``ends[r]`` to ``ends[r + 1]``; none where it has no
            evidence.
        total: float32 ``(R,)``, the sum over all channels of the layer; NaN where there is no evidence.
        magnitude: float32 ``(R,)``, the sum of their absolute values.
    """

    channels: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    ends: npt.NDArray[np.int64]
    total: npt.NDArray[np.float32]
    magnitude: npt.NDArray[np.float32]

    def sparse(self, channels: int | None = None) -> sparse.csr_array:
        """Float32 ``(R, channels)``, zero where a channel was not kept.

        Args:
            channels: of the layer; by default up to the greatest that occurs.
        """
        width = int(self.channels.max(initial=-1)) + 1 if channels is None else channels
        rows = sparse.csr_array((self.values, self.channels, self.ends), shape=(len(self.total), width))
        rows.sort_indices()
        return rows

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """``(R,)``, how much of the sum of absolute values is kept; NaN without evidence."""
        kept = np.zeros(len(self.total))
        np.add.at(kept, np.repeat(np.arange(len(kept)), np.diff(self.ends)), np.abs(self.values))
        whole = np.where(self.magnitude > 0, self.magnitude, 1).astype(np.float64)
        result: npt.NDArray[np.float64] = np.where(np.isfinite(self.total), np.minimum(kept / whole, 1), np.nan)
        return result


def decoded(table: pa.Table) -> Evidence:
    """The evidence of every row of a table that has `COLUMNS`.

    Example::

        >>> columns = {"evidence_channels": [[7, 2], None], "evidence_steps": [[2047, -1], None]}
        >>> columns |= {"evidence_scale": [0.5, None], "evidence_total": [1023.0, None]}
        >>> found = decoded(pa.table(columns | {"evidence_magnitude": [1024.0, None]}))
        >>> found.sparse().toarray()[0].tolist()
        [0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 1023.5]

    Args:
        table: rows of ``explanations``. `given` leaves out those without.
    """
    lists, steps = (schemas.whole(table[name]) for name in COLUMNS[:2])
    scale, total, magnitude = (
        pc.fill_null(schemas.whole(table[name]).cast(pa.float32()), float("nan")).to_numpy(zero_copy_only=False)
        for name in COLUMNS[2:]
    )
    lengths = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False)
    taken = pc.list_flatten(steps).to_numpy(zero_copy_only=False).astype(np.float32)
    return Evidence(
        channels=pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.int32),
        values=taken * np.repeat(scale, lengths),
        ends=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        total=total,
        magnitude=magnitude,
    )


def given(table: pa.Table) -> pa.Table:
    """The rows of `table` that hold evidence: one for each image and class."""
    return table.filter(pc.is_valid(table[COLUMNS[-1]]))


def of_image(table: pa.Table, rows: slice) -> records.ChannelEvidence | None:
    """The evidence of the classes of an image, whose rows of one method stand together; None where all are null."""
    part = table.slice(rows.start, rows.stop - rows.start).select(list(COLUMNS))
    found = decoded(part)
    if not np.isfinite(found.total).any():
        return None
    width = int(np.diff(found.ends).max())
    channels, values = np.zeros((part.num_rows, width), np.int32), np.full((part.num_rows, width), np.nan, np.float32)
    for row, (start, end) in enumerate(zip(found.ends[:-1], found.ends[1:], strict=True)):
        channels[row, : end - start] = found.channels[start:end]
        values[row, : end - start] = found.values[start:end]
    return records.ChannelEvidence(channels, values, found.total, found.magnitude)


def encoded(evidence: Iterable[records.ChannelEvidence | None], lengths: Sequence[int]) -> dict[str, Any]:
    """The columns of rows, one for each class of each image.

    Args:
        evidence: of each image; None where there is none.
        lengths: classes of each image.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for one, length in zip(evidence, lengths, strict=True):
        if one is None:
            for column in columns.values():
                column.extend([None] * length)
            continue
        finite = np.isfinite(one.values).all(axis=1) & np.isfinite(one.total) & np.isfinite(one.magnitude)
        steps, scale = heatmaps.quantize(np.where(finite[:, None], one.values, 0), 1, STEPS)
        parts: tuple[Any, ...] = (one.channels, steps, scale, one.total, one.magnitude)
        for column, part in zip(columns.values(), parts, strict=True):
            column.extend(value if good else None for value, good in zip(part, finite, strict=True))
    return columns
