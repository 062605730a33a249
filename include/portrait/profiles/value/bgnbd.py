"""BG/NBD: how often a customer comes back, and whether they still do.

Fader, Hardie, Lee: "Counting Your Customers" the Easy Way, Marketing Science 24 (2005). While active a customer buys by
a Poisson process with a rate that is Gamma(r, alpha) over customers; after each purchase they leave with a probability
that is Beta(a, b).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

Array = np.ndarray

_BOUND = 9.0
"""Of the logarithm of a parameter: beyond it the customers do not differ any more."""


@dataclass(frozen=True)
class Purchases:
    """When customers bought, all arrays float64 [n].

    Attributes
    ----------
    repeats : purchase days after the first.
    last : weeks from the first purchase day to the last, 0 without repeats.
    observed : weeks from the first purchase day to the end of what is known.
    """

    repeats: Array
    last: Array
    observed: Array

    def __len__(self) -> int:
        return len(self.repeats)

    def __getitem__(self, rows: Array | slice) -> "Purchases":
        return Purchases(self.repeats[rows], self.last[rows], self.observed[rows])


@dataclass(frozen=True)
class BgNbd:
    """The four parameters; time is in weeks."""

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, seen: Purchases) -> "BgNbd | None":
        """The most likely parameters; None when the likelihood has no maximum that can be found.

        Customers with the same three numbers are counted, not repeated.
        """
        rows, weight = np.unique(
            np.column_stack([seen.repeats, seen.last, seen.observed]), axis=0, return_counts=True
        )
        distinct = Purchases(*rows.T)

        def loss(logarithms: Array) -> float:
            likelihood = cls(*np.exp(logarithms)).log_likelihood(distinct)
            return -float(weight @ likelihood) / len(seen)

        start = np.log([1.0, max(float(np.mean(seen.observed)) / 4, 1e-3), 1.0, 2.0])
        found = minimize(loss, start, method="L-BFGS-B", bounds=[(-_BOUND, _BOUND)] * 4)
        return cls(*(float(p) for p in np.exp(found.x))) if np.isfinite(found.fun) else None

    def log_likelihood(self, seen: Purchases) -> Array:
        """Of each customer, float64 [n] (equation 6 of the paper)."""
        x, alpha = seen.repeats, self.alpha
        common = (
            betaln(self.a, self.b + x)
            - betaln(self.a, self.b)
            + gammaln(self.r + x)
            - gammaln(self.r)
            + self.r * np.log(alpha)
        )
        active = -(self.r + x) * np.log(alpha + seen.observed)
        return common + np.logaddexp(active, self._left(seen))

    def p_alive(self, seen: Purchases) -> Array:
        """Probability of still being a customer, float64 [n]; 1 without repeats: nobody leaves before a second purchase."""
        active = -(self.r + seen.repeats) * np.log(self.alpha + seen.observed)
        return np.exp(active - np.logaddexp(active, self._left(seen)))

    def expected(self, seen: Purchases, weeks: float) -> Array:
        """Purchase days expected in the next `weeks`, float64 [n] (equation 10 of the paper)."""
        # The formula divides by a - 1; its limit there is what it gives next to it.
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6
        x, until = seen.repeats, self.alpha + seen.observed
        shape = a + self.b + x - 1
        with np.errstate(all="ignore"):
            shrink = (until / (until + weeks)) ** (self.r + x)
            series = hyp2f1(self.r + x, self.b + x, shape, weeks / (until + weeks))
            count = shape / (a - 1) * (1 - shrink * series)
        # While nobody left, a rate of (r + x) / (alpha + T) is the most there can be.
        most = (self.r + x) / until * weeks
        return np.where(np.isfinite(count), np.clip(count, 0.0, most), most) * self.p_alive(seen)

    def _left(self, seen: Purchases) -> Array:
        """Log of the part of the likelihood in which the customer left after the last purchase; -inf without repeats."""
        x = seen.repeats
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.log(self.a) - np.log(self.b + x - 1) - (self.r + x) * np.log(self.alpha + seen.last)
        return np.where(x > 0, left, -np.inf)
