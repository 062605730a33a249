"""What is predicted from the latent vector: purchase, spend, next category, age band, gender."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.profile.examples import Labels

if TYPE_CHECKING:
    from portrait.models.profile.network import Shape

LOWEST_SIGMA, HIGHEST_SIGMA = 0.1, 2.0
HIGHEST_LOG_AMOUNT = 14.0
"""exp(14) is over a million: no mean of one customer's spend lies above."""
HEADS = ("purchase", "spend", "category", "age_band", "gender")


class Predicted(NamedTuple):
    """Outputs of the heads there are, None of the others: logits [n] or [n, classes]; of spend [n, 3]."""

    purchase: Tensor | None
    spend: Tensor | None
    category: Tensor | None
    age_band: Tensor | None
    gender: Tensor | None


class Head(nn.Module):
    """A layer over the latent vector, and a linear one straight from the features.

    "Wide and deep" (Cheng et al., DLRS 2016): what a regression on the features finds is not lost in the fusion.
    """

    def __init__(self, latent: int, hidden: int, features: int, outputs: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        self.wide = nn.Linear(features, outputs, bias=False) if features else None

    def forward(self, latent: Tensor, features: Tensor | None) -> Tensor:
        """Float [n, outputs]."""
        found: Tensor = self.deep(latent)
        if self.wide is not None and features is not None:
            found = found + self.wide(features)
        return found


class Heads(nn.Module):
    """The heads that a shape has."""

    def __init__(self, shape: "Shape") -> None:
        super().__init__()
        outputs = {
            "purchase": int(shape.purchase),
            "spend": 3 * int(shape.spend),
            "category": shape.categories,
            "age_band": shape.age_bands,
            "gender": shape.genders,
        }
        self.heads = nn.ModuleDict(
            {n: Head(shape.latent, shape.hidden, shape.features, o) for n, o in outputs.items() if o}
        )

    def forward(self, latent: Tensor, features: Tensor | None) -> Predicted:
        """All of them."""
        found = {name: head(latent, features) for name, head in self.heads.items()}
        if "purchase" in found:
            found["purchase"] = found["purchase"].squeeze(1)
        return Predicted(*(found.get(name) for name in HEADS))

    def start_at_base_rates(self, labels: Labels) -> None:
        """Last layers such that an untrained head says what is true of everyone, and nothing else."""
        with torch.no_grad():
            for name, head in self.heads.items():
                bias = head.deep[-1].bias  # type: ignore[union-attr,index]
                for layer in (head.deep[-1], head.wide):  # type: ignore[index]
                    if isinstance(layer, nn.Linear):
                        layer.weight.zero_()
                known = getattr(labels, name)[labels.known(name)]
                if not len(known):
                    continue
                if name == "purchase":
                    bias.fill_(_logit(known.mean()))
                elif name == "spend":
                    bought = np.log(known[known > 0]) if (known > 0).any() else np.zeros(1)
                    bias[0], bias[1] = _logit((known > 0).mean()), float(bought.mean())
                    bias[2] = float(np.log(np.expm1(max(bought.std(), 0.2))))
                else:
                    share = (np.bincount(known, minlength=len(bias)) + 1) / (len(known) + len(bias))
                    bias.copy_(torch.from_numpy(np.log(share)))


def _logit(share: float) -> float:
    bounded = min(max(float(share), 1e-3), 1 - 1e-3)
    return float(np.log(bounded / (1 - bounded)))


def head_losses(found: Predicted, labels: Labels) -> dict[str, Tensor]:
    """Mean loss of each head over the rows whose label is known; a head without any is left out.

    Spend is zero or lognormal (Wang, Liu, Miao, A Deep Probabilistic Model for Customer Lifetime Value Prediction, 2019).
    """
    losses: dict[str, Tensor] = {}
    for name in HEADS:
        output = getattr(found, name)
        known = labels.known(name)
        if output is None or not known.any():
            continue
        ours = output[torch.from_numpy(known).to(output.device)]
        wanted = torch.from_numpy(getattr(labels, name)[known]).to(output.device)
        if name == "purchase":
            losses[name] = F.binary_cross_entropy_with_logits(ours, wanted)
        elif name == "spend":
            losses[name] = zero_or_lognormal_loss(ours, wanted)
        else:
            losses[name] = F.cross_entropy(ours, wanted)
    return losses


def zero_or_lognormal_loss(found: Tensor, amount: Tensor) -> Tensor:
    """Mean negative log-likelihood, up to the log of the amounts, which is a constant."""
    bought = amount > 0
    loss = F.binary_cross_entropy_with_logits(found[:, 0], bought.float())
    if bool(bought.any()):
        sigma = _sigma(found[bought, 2])
        error = (torch.log(amount[bought]) - found[bought, 1]) / sigma
        loss = loss + (torch.log(sigma) + error**2 / 2).sum() / len(amount)
    return loss


def expected_spend(found: Tensor) -> Tensor:
    """Chance of buying * exp(mu + sigma^2 / 2), float [n]."""
    log_mean = found[:, 1] + _sigma(found[:, 2]) ** 2 / 2
    return torch.sigmoid(found[:, 0]) * torch.exp(log_mean.clamp(max=HIGHEST_LOG_AMOUNT))


def _sigma(raw: Tensor) -> Tensor:
    return F.softplus(raw).clamp(LOWEST_SIGMA, HIGHEST_SIGMA)


def answered(found: Predicted) -> Predicted:
    """The outputs with the spend as the expected amount, float [n]."""
    return found if found.spend is None else found._replace(spend=expected_spend(found.spend))


def answer_losses(found: Predicted, labels: Labels) -> dict[str, Tensor]:
    """`head_losses` of answers; of the spend the mean absolute error."""
    losses = head_losses(found._replace(spend=None), labels)
    known = labels.known("spend")
    if found.spend is not None and known.any():
        wanted = torch.from_numpy(labels.spend[known])
        losses["spend"] = F.l1_loss(found.spend[torch.from_numpy(known)], wanted)
    return losses


def moved(found: Predicted, anchors: dict[str, Tensor], share: dict[str, float]) -> Predicted:
    """Answers moved towards their anchors: anchor + share * (answer - anchor); a share of 1 changes nothing."""
    changed = {
        name: anchors[name] + share[name] * (getattr(found, name) - anchors[name])
        for name in share
        if getattr(found, name) is not None
    }
    if "spend" in changed:
        changed["spend"] = changed["spend"].clamp(min=0)
    return found._replace(**changed)
