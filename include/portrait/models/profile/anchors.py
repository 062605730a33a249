"""What a head would say without the network: the base rate, or a regression on the features.

A head is drawn towards the better one, as far as that helps on customers who were not trained on: a head that learnt nothing
says the base rate, and one that a regression beats says what the regression says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from portrait.models.profile.examples import Examples
from portrait.models.profile.heads import Predicted, answer_losses, moved

SHARES = tuple(n / 20 for n in range(21))
NEVER = -20.0
"""Logit of a class that no training customer has."""
ITERATIONS = 500


@dataclass(frozen=True)
class Anchor:
    """A linear answer.

    Attributes
    ----------
    weight : float32 [features, outputs]; without rows it says the same of everyone.
    bias : float32 [outputs]: logits; of the spend the amount.
    """

    weight: np.ndarray
    bias: np.ndarray

    def answers(self, features: Tensor | None, n: int) -> Tensor:
        """Float [n] for one output, [n, outputs] for several."""
        found = torch.from_numpy(self.bias).expand(n, -1)
        if len(self.weight) and features is not None:
            found = found + features @ torch.from_numpy(self.weight)
        return found.squeeze(1) if found.shape[1] == 1 else found

    def saved(self) -> dict[str, Any]:
        """For JSON."""
        return {"weight": self.weight.tolist(), "bias": self.bias.tolist()}

    @classmethod
    def of_saved(cls, content: dict[str, Any]) -> Self:
        bias = np.array(content["bias"], np.float32)
        return cls(np.array(content["weight"], np.float32).reshape(-1, len(bias)), bias)


def anchors(examples: Examples, name: str, outputs: int) -> Iterator[Anchor]:
    """The base rate of a head (place 0), and where there are features and two answers a regression (place 1).

    Logistic, or ridge for the spend, as scikit-learn has them.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    known = examples.labels.known(name)
    wanted = getattr(examples.labels, name)[known]
    if name == "spend":
        yield Anchor(np.zeros((0, 1), np.float32), np.array([wanted.mean()], np.float32))
    else:
        yield _base_rate(wanted.astype(np.int64), outputs)
    features = examples.views.features
    if features is None or len(np.unique(wanted)) < 2:
        return
    if name == "spend":
        ridge = Ridge().fit(features[known], wanted)
        yield Anchor(_column(ridge.coef_), np.array([ridge.intercept_], np.float32))
        return
    fitted = LogisticRegression(max_iter=ITERATIONS).fit(features[known], wanted.astype(np.int64))
    weight, bias = fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)
    if outputs > 1:
        # With two classes there is one row, the logit of the second; a class nobody has stays out of the question.
        wide = np.zeros((len(weight), outputs), np.float32), np.full(outputs, NEVER, np.float32)
        wide[1][fitted.classes_] = 0
        columns = fitted.classes_ if weight.shape[1] > 1 else fitted.classes_[1:]
        wide[0][:, columns], wide[1][columns] = weight, bias
        weight, bias = wide
    yield Anchor(weight, bias)


def best_anchors(
    found: Predicted, examples: Examples, learnt: Examples
) -> tuple[dict[str, Anchor], dict[str, float]]:
    """The anchor of each head, and how far the head goes from it, with the least loss on `examples`.

    Parameters
    ----------
    found : the network's answers for `examples`, who were not trained on.
    learnt : who was trained on, from whom the anchors are learnt.
    """
    chosen: dict[str, Anchor] = {}
    shares: dict[str, float] = {}
    for name in answer_losses(found, examples.labels):
        if not learnt.labels.known(name).any():
            continue
        output = getattr(found, name)
        best = np.inf
        for anchor in anchors(learnt, name, output.shape[1] if output.dim() > 1 else 1):
            theirs = anchor.answers(_tensor(examples.views.features), len(output))
            for share in SHARES:
                loss = float(
                    answer_losses(moved(found, {name: theirs}, {name: share}), examples.labels)[name]
                )
                if loss < best:
                    best, chosen[name], shares[name] = loss, anchor, share
    return chosen, shares


def _base_rate(wanted: np.ndarray, outputs: int) -> Anchor:
    classes = max(outputs, 2)
    share = (np.bincount(wanted, minlength=classes) + 1) / (len(wanted) + classes)
    logits = np.log(share)
    bias = logits[1:] - logits[:1] if outputs == 1 else logits
    return Anchor(np.zeros((0, len(bias)), np.float32), bias.astype(np.float32))


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 1)


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)
