"""Gamma-Gamma: what a customer spends a purchase day.

Fader, Hardie: The Gamma-Gamma Model of Monetary Value (2013). Amounts of one customer are Gamma(p, nu), nu is
Gamma(q, v) over customers; how much and how often are taken for independent.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

Array = np.ndarray

_BOUND = 12.0


@dataclass(frozen=True)
class GammaGamma:
    """The three parameters; `v` has the currency's unit. `q` is above 1: the mean customer spends something finite."""

    p: float
    q: float
    v: float

    @classmethod
    def fit(cls, number: Array, mean: Array) -> "GammaGamma | None":
        """The most likely parameters from each customer's number of purchases and their mean amount, float64 [n].

        Customers without a positive amount say nothing. None when there is no maximum that can be found.
        """
        paid = (number > 0) & (mean > 0)
        x, m = number[paid], mean[paid]
        if not len(x):
            return None
        scale = float(np.median(m))

        def loss(free: Array) -> float:
            return -float(np.mean(cls(*_parameters(free)).log_likelihood(x, m / scale)))

        # In units of the median amount: the search starts from the same place in every currency.
        found = minimize(loss, np.log([2.0, 1.0, 1.0]), method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * 3)
        if not np.isfinite(found.fun):
            return None
        p, q, v = _parameters(found.x)
        return cls(p, q, v * scale)

    def log_likelihood(self, number: Array, mean: Array) -> Array:
        """Of each customer's mean amount, float64 [n] (equation 1a of the note)."""
        q, v, shape = self.q, self.v, self.p * number
        return (
            gammaln(shape + q)
            - gammaln(shape)
            - gammaln(q)
            + q * np.log(v)
            + (shape - 1) * np.log(mean)
            + shape * np.log(number)
            - (shape + q) * np.log(v + mean * number)
        )

    def expected(self, number: Array, mean: Array) -> Array:
        """Amount expected of the customer's next purchase day, float64 [n]: between their mean and everybody's."""
        return self.p * (self.v + number * mean) / (self.p * number + self.q - 1)


def _parameters(free: Array) -> tuple[float, float, float]:
    p, above_one, v = (float(e) for e in np.exp(free))
    return p, 1 + above_one, v
