"""The shapes of `identity.yaml`, `features.yaml` and `model.yaml`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from portrait.config.origins import Frozen

IdentifierKind = Literal["card", "account", "phone", "email", "device"]


class Cap(Frozen):
    """How many identifiers of kind `of` one value may touch before it no longer links anything."""

    of: IdentifierKind
    limit: int = Field(ge=1)


class IdentityConfig(Frozen):
    """Which identifiers link a customer, which first, and when too many share a value to trust it."""

    priority: tuple[IdentifierKind, ...] = ("card", "account", "phone", "email", "device")
    caps: dict[IdentifierKind, tuple[Cap, ...]] = Field(default_factory=dict)


class FeatureConfig(Frozen):
    """How behaviour becomes interest.

    `behaviour_weights` maps an event name (`pos_sale` for a receipt line) to the interest one event shows;
    interest halves every `half_life_days`. `purchases` names the events that count as buying.
    """

    behaviour_weights: dict[str, float]
    purchases: tuple[str, ...] = ("order_completed", "pos_sale")
    refunds: tuple[str, ...] = ("order_refunded", "pos_return")
    half_life_days: float = Field(90, gt=0)
    affinity_top: int = Field(5, ge=1)
    memory_limit: str = "2GB"


class Candidate(Frozen):
    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class ModelConfig(Frozen):
    """What is trained each night and how it is judged.

    The last `holdout_days` are held out. Each slot (`next`: what they buy next, repeats allowed; `new`: what
    they have not bought before) has its own champion, the candidate with the best NDCG at `k`.
    """

    candidates: tuple[Candidate, ...] = Field(min_length=1)
    embedding_model: str = "multvae"
    holdout_days: int = Field(14, ge=1)
    k: int = Field(10, ge=1)
    recommendations: int = Field(10, ge=1)
    segments: int = Field(6, ge=2)
    threads: int = Field(2, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _embedder_is_candidate(self) -> Self:
        if self.embedding_model not in {c.name for c in self.candidates}:
            raise ValueError(f"embedding_model '{self.embedding_model}' is not among the candidates")
        return self
