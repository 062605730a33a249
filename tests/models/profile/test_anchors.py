"""Heads that are drawn to the base rate or to a regression."""

import numpy as np
import pytest
import torch
from portrait.models.profile.anchors import Anchor, anchors, best_anchors
from portrait.models.profile.examples import Examples, Labels
from portrait.models.profile.heads import Predicted, answered, moved
from portrait.models.profile.views import Views
from scipy.sparse import csr_matrix


def examples(n: int, seed: int, features: bool = True) -> Examples:
    """Purchase follows the first feature's sign, spend is 10 + 5 times it; one customer in four has the second of three
    categories, the others the first; gender has nothing to do with anything."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2)).astype(np.float32)
    labels = Labels(
        (x[:, 0] + random.normal(0, 0.3, n) > 0).astype(np.float32),
        np.maximum(10 + 5 * x[:, 0], 0).astype(np.float32),
        (np.arange(n) % 4 == 0).astype(np.int64),
        np.full(n, -1, np.int64),
        random.integers(0, 2, n),
    )
    views = Views(
        csr_matrix((n, 3), dtype=np.float32),
        features=x if features else None,
        observed=np.ones((n, 2), bool) if features else None,
    )
    return Examples(views, labels)


def outputs(n: int, **heads: torch.Tensor) -> Predicted:
    return Predicted(**{**dict.fromkeys(Predicted._fields), **heads})


def test_base_rates_and_regressions() -> None:
    learnt = examples(2000, 0)
    rate, regression = anchors(learnt, "purchase", 1)
    share = learnt.labels.purchase.mean()
    assert torch.sigmoid(rate.answers(None, 2)).tolist() == pytest.approx([share, share], abs=1e-3)
    answers = regression.answers(torch.tensor([[2.0, 0], [-2, 0]]), 2)
    assert answers[0] > 4
    assert answers[1] < -4
    mean, ridge = anchors(learnt, "spend", 1)
    assert mean.answers(None, 1).item() == pytest.approx(float(learnt.labels.spend.mean()), rel=1e-4)
    assert ridge.answers(torch.tensor([[1.0, 0]]), 1).item() == pytest.approx(15, abs=0.3)
    rate, regression = anchors(learnt, "category", 3)
    assert torch.softmax(rate.answers(None, 1), 1)[0].tolist() == pytest.approx([0.75, 0.25, 0], abs=2e-3)
    # Two of three classes occur: the third is out of the question.
    chance = torch.softmax(regression.answers(torch.zeros(1, 2), 1), 1)[0].tolist()
    assert chance == pytest.approx([0.75, 0.25, 0], abs=0.02)


def test_without_features_there_is_the_base_rate_alone() -> None:
    assert len(list(anchors(examples(50, 0, features=False), "purchase", 1))) == 1


def test_a_worse_head_says_what_the_better_anchor_says() -> None:
    learnt, others = examples(2000, 0), examples(400, 1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(0, 3, 400).astype(np.float32))
    found = outputs(400, purchase=noise, gender=torch.stack([noise, -noise], 1), spend=noise.abs() * 50)
    chosen, shares = best_anchors(found, others, learnt)
    assert shares == {"purchase": 0, "gender": pytest.approx(0, abs=0.05), "spend": 0}
    assert len(chosen["purchase"].weight) == 2  # the regression
    assert len(chosen["spend"].weight) == 2
    assert best_anchors(outputs(400, category=torch.zeros(400, 3)), others, learnt)[1]["category"] < 1


def test_a_head_that_knows_better_is_left_alone() -> None:
    learnt, others = examples(2000, 0), examples(400, 1)
    truth = torch.from_numpy(others.labels.purchase) * 80 - 40
    _, shares = best_anchors(outputs(400, purchase=truth), others, learnt)
    assert shares == {"purchase": 1}


def test_moved_half_the_way_and_never_below_nothing() -> None:
    found = outputs(2, purchase=torch.tensor([2.0, -2.0]), spend=torch.tensor([4.0, 1.0]))
    there = {"purchase": torch.tensor([0.0, 1.0]), "spend": torch.tensor([2.0, -3.0])}
    half = moved(found, there, {"purchase": 0.5, "spend": 0.5})
    assert half.purchase is not None
    assert half.spend is not None
    assert half.purchase.tolist() == [1, -0.5]
    assert half.spend.tolist() == [3, 0]


def test_the_spend_is_answered_as_an_amount() -> None:
    # A chance of one half of exp(1 + 0.5 ** 2 / 2): softplus of -0.4328 is 0.5.
    raw = torch.tensor([[0.0, 1.0, -0.4328]])
    found = answered(outputs(1, spend=raw)).spend
    assert found is not None
    assert found.item() == pytest.approx(0.5 * np.exp(1.125), rel=1e-3)


def test_an_anchor_is_saved() -> None:
    anchor = Anchor(np.array([[1, 2], [3, 4]], np.float32), np.array([0.5, 0], np.float32))
    again = Anchor.of_saved(anchor.saved())
    x = torch.tensor([[1.0, -1.0]])
    assert again.answers(x, 1).tolist() == anchor.answers(x, 1).tolist() == [[-1.5, -2.0]]
    rate = Anchor.of_saved(Anchor(np.zeros((0, 1), np.float32), np.array([2], np.float32)).saved())
    assert rate.answers(x, 1).tolist() == [2]
