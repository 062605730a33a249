"""The shapes of `identity.yaml`, `features.yaml` and `model.yaml`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from portrait.config.origins import Frozen
from portrait.config.review import Review

IdentifierKind = Literal["card", "account", "phone", "email", "payment", "device"]


class Cap(Frozen):
    """How many identifiers of kind `of` one value may touch before it no longer links anything.

    With `window_days`: touch within any so many days; without: ever.
    """

    of: IdentifierKind
    limit: int = Field(ge=1)
    window_days: int | None = Field(None, ge=1)


class Expiry(Frozen):
    """A value not seen with an owner for `after_days` ends its old links when another owner shows up with it."""

    after_days: int = Field(ge=1)
    owners: tuple[IdentifierKind, ...] = ("card", "account")


class IdentityConfig(Frozen):
    """Which identifiers link a customer, which first, and which guards hold them apart.

    Attributes
    ----------
    priority : kinds in use, strongest first.
    caps : what a value of a kind may touch before it links nobody.
    unique : kinds of which two values are two people, unless joined by a stronger kind or a manual rule.
    per_customer : the most of a kind that one customer may have.
    expires : kinds whose values are handed on (phone numbers).
    lookback_days : days before a device's first login that count for the customer; None: all of them.
    blocked : values, in clear, that stand for nobody.
    memory_limit : of the engine that does the counting; what does not fit goes to disk.
    review : which probable duplicates are shown to people.
    """

    priority: tuple[IdentifierKind, ...] = ("card", "account", "phone", "email", "payment", "device")
    caps: dict[IdentifierKind, tuple[Cap, ...]] = Field(default_factory=dict)
    unique: tuple[IdentifierKind, ...] = ()
    per_customer: dict[IdentifierKind, int] = Field(default_factory=dict)
    expires: dict[IdentifierKind, Expiry] = Field(default_factory=dict)
    lookback_days: int | None = Field(None, ge=0)
    blocked: dict[IdentifierKind, tuple[str, ...]] = Field(default_factory=dict)
    memory_limit: str = "1200MB"
    review: Review = Field(default_factory=Review)


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
