"""What a user may set of the nightly recommender."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

from portrait.errors import PortraitError
from portrait.models.base import _check_parameter, parameter

NAME = "nightly"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Parameters, checked when made.

    Attributes
    ----------
    popular : candidates everybody has: the items in most customers' last baskets.
    candidates_per_model : candidates from each model, beside the customer's own items.
    linear_items, linear_least : the linear models know the most frequent items, none below so many baskets.
    linear_customers : they are learnt from at most so many, evenly spread.
    regularisation : lambda of the linear models, in units of X'X.
    half_life : baskets in which a purchase fades by half for the linear model of the next basket.
    deep : last baskets of each customer that it learns from.
    neighbours, reference_customers : similar customers that count, and customers compared with.
    autoencoder : a registered autoencoder whose softmax is one more model; '' goes without.
    autoencoder_params : its parameters, over those that it has here.
    autoencoder_customers : it learns from at most so many, evenly spread.
    declared : whether what customers declared of themselves may tell what they are offered.
    fresh : candidates among the items that hardly anybody bought yet, by their words.
    learning_customers : the order is learnt from at most so many who bought something, evenly spread.
    folds : parts of the customers trained on; the label models of a part learn from the others. 1: no label models.
    rounds, leaves, learning_rate : of each boosted ranker.
    negatives : share of the candidates nobody bought that a ranker is trained on.
    memory_limit_gb : of the linear models' matrices (10^9 bytes).
    """

    popular: int = parameter(150, low=1)
    candidates_per_model: int = parameter(50, low=1)
    linear_items: int = parameter(8_000, low=1)
    linear_least: int = parameter(15, low=1)
    linear_customers: int = parameter(200_000, low=1)
    regularisation: float = parameter(1000.0, low=1e-6)
    half_life: float = parameter(3.0, low=0.1)
    deep: int = parameter(8, low=1)
    neighbours: int = parameter(1000, low=1)
    reference_customers: int = parameter(20_000, low=1)
    autoencoder: str = parameter("mult_dae")
    autoencoder_params: dict[str, Any] = field(default_factory=dict)
    autoencoder_customers: int = parameter(30_000, low=1)
    declared: bool = parameter(True)
    fresh: int = parameter(20, low=0)
    learning_customers: int = parameter(30_000, low=2)
    folds: int = parameter(3, low=1)
    rounds: int = parameter(150, low=1)
    leaves: int = parameter(23, low=2)
    learning_rate: float = parameter(0.06, low=1e-4, high=1)
    negatives: float = parameter(0.3, low=0.01, high=1)
    memory_limit_gb: float = parameter(4.0, low=0)

    def __post_init__(self) -> None:
        for f in fields(self):
            _check_parameter(NAME, f.name, getattr(self, f.name), f.default, f.metadata)

    @classmethod
    def of(cls, params: dict[str, Any]) -> Self:
        """Raises PortraitError for an unknown parameter or a value out of range."""
        allowed = [f.name for f in fields(cls)]
        unknown = sorted(set(params) - set(allowed))
        if unknown:
            raise PortraitError(
                f"model '{NAME}' has no parameter {', '.join(unknown)}; allowed: {', '.join(allowed)}"
            )
        return cls(**params)
