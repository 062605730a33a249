"""The value models against what their authors published of CDNOW, and against customers drawn from known parameters."""

import numpy as np
import pytest
from portrait.profiles.value.bgnbd import BgNbd, Purchases
from portrait.profiles.value.gamma_gamma import GammaGamma
from portrait.profiles.value.interval import spend_interval
from portrait.profiles.value.regression import regression_spend

CDNOW = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
"""Fader, Hardie, Lee 2005, table 2: the 1/10 sample of CDNOW, weeks."""
CDNOW_SPEND = GammaGamma(p=6.25, q=3.74, v=15.44)
"""Fader, Hardie 2013, the same customers, dollars."""


def seen(repeats: float, last: float, observed: float) -> Purchases:
    return Purchases(np.array([repeats]), np.array([last]), np.array([observed]))


def test_the_published_expectation_of_customer_1() -> None:
    """Fader, Hardie, Lee: "Implementing the BG/NBD Model in Excel": 1.226 purchases in the next 39 weeks."""
    assert CDNOW.expected(seen(2, 30.43, 38.86), 39)[0] == pytest.approx(1.226, abs=5e-4)


def test_p_alive_by_hand() -> None:
    # 1 / (1 + a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x))
    by_hand = 1 / (1 + 0.793 / 3.426 * (43.274 / 34.844) ** 2.243)
    assert CDNOW.p_alive(seen(2, 30.43, 38.86))[0] == pytest.approx(by_hand)
    assert CDNOW.p_alive(seen(0, 0, 38.86))[0] == 1.0
    assert CDNOW.p_alive(seen(20, 2, 38.86))[0] < 1e-10  # twenty purchases in two weeks, then silence


def test_the_published_mean_spend() -> None:
    """Expected dollars a transaction of CDNOW's customer 1 (2 repeats, mean 22.35) and of one who never came back."""
    found = CDNOW_SPEND.expected(np.array([2.0, 0.0]), np.array([22.35, 0.0]))
    assert found == pytest.approx([24.66, 35.2], abs=0.06)


def drawn(model: BgNbd, customers: int, seed: int) -> tuple[Purchases, np.ndarray, np.ndarray]:
    """Customers bought one by one as the paper tells it, with their purchases in the 39 weeks after, and who is left."""
    rng = np.random.default_rng(seed)
    observed = rng.uniform(20, 60, customers)
    repeats, last, later, left = (np.zeros(customers) for _ in range(4))
    rates = rng.gamma(model.r, 1 / model.alpha, customers)
    leaving = rng.beta(model.a, model.b, customers)
    for i in range(customers):
        clock = 0.0
        while True:
            clock += rng.exponential(1 / rates[i])
            if clock > observed[i] + 39:
                break
            if clock <= observed[i]:
                repeats[i], last[i] = repeats[i] + 1, clock
            else:
                later[i] += 1
            if rng.random() < leaving[i]:
                left[i] = clock <= observed[i]
                break
    return Purchases(repeats, last, observed), later, left


TRUTH = BgNbd(r=0.9, alpha=6.0, a=0.8, b=2.5)


def test_drawn_parameters_are_found_again_and_forecast() -> None:
    history, later, left = drawn(TRUTH, 4000, seed=1)
    found = BgNbd.fit(history)
    assert found is not None
    assert (found.r, found.alpha) == pytest.approx((0.9, 6.0), rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(0.8 / 3.3, rel=0.15)
    assert found.log_likelihood(history).sum() >= TRUTH.log_likelihood(history).sum()
    assert found.expected(history, 39).mean() == pytest.approx(later.mean(), rel=0.08)
    assert found.p_alive(history).mean() == pytest.approx(1 - left.mean(), abs=0.03)


def test_drawn_spending_is_found_again() -> None:
    rng = np.random.default_rng(3)
    number = rng.integers(1, 9, 5000).astype(float)
    own = rng.gamma(3.74, 1 / 15.44, 5000)
    mean = rng.gamma(6.25 * number) / own / number
    found = GammaGamma.fit(number, mean)
    assert found is not None
    # p and v trade off against each other; what they say together is sure.
    assert (found.q, found.p * found.v / (found.q - 1)) == pytest.approx((3.74, 35.22), rel=0.05)
    assert found.log_likelihood(number, mean).sum() >= CDNOW_SPEND.log_likelihood(number, mean).sum()
    cents = GammaGamma.fit(number, mean * 100)
    assert cents is not None
    assert cents.v == pytest.approx(found.v * 100, rel=0.01)


def test_four_of_five_years_fall_into_the_interval() -> None:
    """The interval is judged on customers whose next 39 weeks were drawn independently of it."""
    history, later, _ = drawn(TRUTH, 2000, seed=2)
    rng = np.random.default_rng(4)
    days = history.repeats + 1
    own = rng.gamma(3.74, 1 / 15.44, len(days))
    mean = rng.gamma(6.25 * days) / own / days
    spent = np.where(later > 0, rng.gamma(np.maximum(6.25 * later, 1e-9)) / own, 0.0)
    low, high = spend_interval(TRUTH, CDNOW_SPEND, history, mean, 39, seed=0)
    inside = (low <= spent) & (spent <= high)
    # More than 80 %: where nothing is the likeliest, the lower bound is 0 and nobody is below it.
    assert 0.8 <= inside.mean() <= 0.95
    assert np.mean(spent > high) == pytest.approx(0.1, abs=0.03)
    assert (spend_interval(TRUTH, CDNOW_SPEND, history, mean, 39, seed=0)[1] == high).all()


def test_the_regression_learns_a_steady_pace() -> None:
    """Everybody spends 1 a day, 10 a purchase: 90 in the next 90 days."""
    known = np.linspace(200, 600, 80)
    monetary = known.copy()
    purchases = np.rint(known / 10)
    found = regression_spend(known, purchases, monetary, np.full(80, 9.0), np.full(80, 90.0))
    assert found is not None
    assert found == pytest.approx(np.full(80, 90.0), abs=0.5)
    assert regression_spend(*(np.ones(10) for _ in range(5))) is None
