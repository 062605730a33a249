"""The shapes of `identity.yaml`, `features.yaml` and `model.yaml`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from portrait.config.origins import Frozen
from portrait.config.preprocess import Preprocess
from portrait.config.review import Review
from portrait.config.text import TextConfig

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

    Attributes
    ----------
    sequence_length : events of a customer that are kept in order.
    bot_events_per_day : more of one device on one day are taken for automatic and left out.
    quantity_cap : the most pieces that one line counts for.
    regions : the regions there are; others are taken for mistakes. None: all are taken as they come.
    engine : what computes features; Spark needs requirements-spark.txt.
    spark_master : URL of the cluster, or `local[n]`.
    showrooming_days : an item viewed online at most so many days before it is bought in a store was looked up first.
    paydays : days of the month on which wages are paid.
    preprocess : the columns of a model's input.
    text : how queries and product names become vectors.
    """

    behaviour_weights: dict[str, float]
    purchases: tuple[str, ...] = ("order_completed", "pos_sale")
    refunds: tuple[str, ...] = ("order_refunded", "pos_return")
    half_life_days: float = Field(90, gt=0)
    affinity_top: int = Field(5, ge=1)
    sequence_length: int = Field(50, ge=1)
    bot_events_per_day: int = Field(2000, ge=1)
    quantity_cap: float = Field(100, gt=0)
    regions: tuple[str, ...] | None = None
    engine: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = "local[2]"
    showrooming_days: int = Field(30, ge=1)
    paydays: tuple[Annotated[int, Field(ge=1, le=31)], ...] = (1, 5, 10, 15, 25)
    preprocess: tuple[Preprocess, ...] = ()
    text: TextConfig = Field(default_factory=lambda: TextConfig.model_validate({}))
    memory_limit: str = "2GB"

    @field_validator("preprocess")
    @classmethod
    def _a_column_once(cls, entries: tuple[Preprocess, ...]) -> tuple[Preprocess, ...]:
        columns = [e.column for e in entries]
        if twice := sorted({c for c in columns if columns.count(c) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice; keep one entry a column")
        return entries


class Candidate(Frozen):
    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class RepurchaseRule(Frozen):
    """Which categories count as bought once: items of theirs are not offered to who has them.

    Attributes
    ----------
    least_share : of the pairs of customer and item that were bought again, below which a category is bought once; 0: none.
    after_days : pairs first bought so many days ago or earlier count.
    least_pairs : fewer of them say too little.
    """

    least_share: float = Field(0.2, ge=0, le=1)
    after_days: int = Field(30, ge=0)
    least_pairs: int = Field(50, ge=1)


class ModelConfig(Frozen):
    """What is trained each night and how it is judged.

    The last `holdout_days` are held out. Each slot (`next`: what they buy next, repeats allowed; `new`: what
    they have not bought before) has its own champion, the candidate with the best NDCG at `k`. Judged are at most
    `evaluation_customers` of those who bought something then, every so many-th of them. Networks go on from the night before and
    are trained from nothing every `full_training_every` nights (1: always), and the lists of who did nothing since the last night are
    made anew every `renew_lists_every` days (1: always). Networks train and score on `device`: auto (a CUDA GPU where there is one), cpu,
    cuda or cuda:1. With `profile_model`
    churn, spend, next category and demographics of every customer are inferred, too. With `mlflow` every night is also
    written to MLflow's tables (schema mlflow), its manifests to `mlflow_artifacts`: a folder or object store URL, the
    workspace's own folder unless given.
    """

    candidates: tuple[Candidate, ...] = Field(min_length=1)
    embedding_model: str = "multvae"
    holdout_days: int = Field(14, ge=1)
    evaluation_customers: int = Field(100_000, ge=1)
    full_training_every: int = Field(7, ge=1)
    k: int = Field(10, ge=1)
    recommendations: int = Field(10, ge=1)
    renew_lists_every: int = Field(1, ge=1)
    segments: int = Field(6, ge=2)
    threads: int = Field(2, ge=1)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    seed: int = 0
    profile_model: bool = False
    repurchase: RepurchaseRule = Field(default_factory=lambda: RepurchaseRule.model_validate({}))
    mlflow: bool = True
    mlflow_artifacts: str | None = None

    @model_validator(mode="after")
    def _embedder_is_candidate(self) -> Self:
        if self.embedding_model not in {c.name for c in self.candidates}:
            raise ValueError(f"embedding_model '{self.embedding_model}' is not among the candidates")
        return self
