"""The plain baseline: spending of the next 90 days by linear regression on what was spent before."""

import numpy as np

Array = np.ndarray

WINDOW_DAYS = 90
LEAST_ROWS = 50


def regression_spend(
    known_days: Array, frequency: Array, monetary: Array, frequency_90d: Array, monetary_90d: Array
) -> Array | None:
    """Amount expected in the next 90 days, float64 [n], never below 0; None with fewer than 50 customers to learn from.

    It learns from customers known for over 90 days how the last 90 days followed from what was before them, and applies
    that to what is known today.

    Parameters
    ----------
    known_days : days since the first purchase, [n].
    frequency, monetary : purchases and amounts so far, [n].
    frequency_90d, monetary_90d : of them in the last 90 days, [n].
    """
    from sklearn.linear_model import LinearRegression

    earlier = known_days - WINDOW_DAYS
    learn = earlier > 0
    if learn.sum() < LEAST_ROWS:
        return None
    before = _features(earlier[learn], (frequency - frequency_90d)[learn], (monetary - monetary_90d)[learn])
    model = LinearRegression().fit(before, monetary_90d[learn])
    return np.maximum(model.predict(_features(known_days, frequency, monetary)), 0.0)


def _features(known_days: Array, frequency: Array, monetary: Array) -> Array:
    """Amount in 90 days at the pace so far, purchases, basket and days known, float64 [n, 4]."""
    days = np.maximum(known_days, 1.0)
    return np.column_stack(
        [
            monetary / np.maximum(days, WINDOW_DAYS) * WINDOW_DAYS,
            np.log1p(frequency),
            monetary / np.maximum(frequency, 1.0),
            np.log(days),
        ]
    )
