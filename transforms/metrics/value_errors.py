"""How far a model's values are from the true ones: what is averaged to the bias, MAE and RMSE of a regression."""

from __future__ import annotations

COLUMNS = ("value_error", "value_error_size", "value_error_squared")
"""What `columns` gives."""

SIZES = COLUMNS[1:]
"""Those that are not negative, and neither is their mean."""


def columns(predicted: float, true: float) -> dict[str, float]:
    """The difference of one value from the true one, its size and its square.

    >>> columns(33.0, 30.5)
    {'value_error': 2.5, 'value_error_size': 2.5, 'value_error_squared': 6.25}
    """
    error = predicted - true
    return {"value_error": error, "value_error_size": abs(error), "value_error_squared": error**2}
