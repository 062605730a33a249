"""The flagship: an autoencoder over several views of a customer, multiplied with linear and variational experts."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from portrait.errors import PortraitError
from portrait.models import create, load, model_class
from portrait.models.base import Pair, Recommender, parameter
from portrait.models.device import chosen
from portrait.models.event_encoder import ENCODERS
from portrait.models.multi_view import MultiViewAutoencoder
from portrait.models.multinomial import drop, l2_normalised, multinomial_log_likelihood
from portrait.models.pooling import Judge, spread, tuned_weights
from portrait.models.profile.anchors import Anchor, best_anchors
from portrait.models.profile.examples import Examples, Group, Labels, Meaning
from portrait.models.profile.heads import Predicted, answered, head_losses, moved
from portrait.models.profile.network import ProfileNetwork, Shape, ViewBatch, feature_loss, view_batch
from portrait.models.profile.views import Views
from portrait.models.reasons import Affinity, VectorAffinity
from portrait.models.training import adam, initialised, torch_threads, train

logger = logging.getLogger(__name__)

PROFILE_FILE = "profile.json"
CHUNK = 8192
UNMET_QUANTILE = 0.1
"""An item that nobody touched starts with the bias of the least popular tenth."""

EXPERT_SETTINGS: dict[str, dict[str, Any]] = {
    "ease": {"regularisation": 200.0, "dropout": 0.25, "customer_exponent": 0.25, "item_exponent": 0.2},
    "rec_vae": {"gamma": 0.004, "learning_rate": 0.001, "batch_size": 200, "epochs": 25, "patience": 5},
}
"""Chosen on the validation customers of MovieLens-1M; `settings` overrides them one by one."""


@dataclass(kw_only=True, eq=False)
class ProfileAutoencoder(MultiViewAutoencoder):
    """Basket, events, text interest and profile features, each optional, fused to one latent vector.

    It is decoded to the items (multinomial) and the features, and read by the heads (`heads.py`). Items are ranked by the
    product of its softmax with those of the `experts` (as `product_of_experts` does), whose weights are found on the
    validation customers. With a matrix alone the network is Mult-DAE (Liang et al. 2018) and the basket the only
    view. `embed` gives the latent vector.

    Parameters
    ----------
    latent, hidden : int
        Sizes of the latent vector, and of the layers of the features and heads.
    view_dropout : float
        Chance that a view of a customer is dropped while training, so that each can be missing when it is used.
    item_dropout : float
        Chance that an item's own vector is dropped in a step, where texts or categories can stand in.
    feature_weight, head_weight : float
        What the features' and each head's loss count beside the items' (per unit of weight).
    event_width, event_encoder, event_length
        Of the sequences' encoder; see the model `sequence`.
    experts : sequence of str
        Registered models that are trained on the baskets and multiplied; none is the network alone.
    settings : dict of dict
        Parameters of the experts, by name.
    validation_rows : int
        Greatest number of validation customers that the experts' weights are chosen on.
    """

    name: ClassVar[str] = "profile_autoencoder"
    module_: ProfileNetwork = field(init=False, repr=False)
    latent: int = parameter(200, low=1)
    hidden: int = parameter(64, low=1)
    view_dropout: float = parameter(0.2, low=0, high=0.9)
    item_dropout: float = parameter(0.2, low=0, high=0.9)
    feature_weight: float = parameter(0.3, low=0)
    head_weight: float = parameter(1.0, low=0)
    event_width: int = parameter(32, low=1)
    event_encoder: str = parameter("gru", choices=ENCODERS)
    event_length: int = parameter(30, low=1)
    popularity_start: bool = parameter(False)
    epochs: int = parameter(60, low=1)
    experts: tuple[str, ...] = ("ease", "rec_vae")
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    validation_rows: int = parameter(2000, low=1)
    experts_: list[Recommender] = field(init=False, repr=False, default_factory=list)
    weights_: np.ndarray = field(init=False, repr=False)
    """float64 [1 + experts]: what the network's scores and each expert's are multiplied by."""
    meaning_: Meaning = field(init=False, repr=False, default_factory=Meaning)
    anchors_: dict[str, Anchor] = field(init=False, repr=False, default_factory=dict)
    shares_: dict[str, float] = field(init=False, repr=False, default_factory=dict)
    """How far each head goes from its anchor; both chosen on the validation customers (`anchors.py`)."""

    def __post_init__(self) -> None:
        names = self.experts
        if isinstance(names, str):
            names = tuple(name.strip() for name in names.split(",") if name.strip())
        self.experts = tuple(names)
        super().__post_init__()
        if self.name in self.experts:
            raise PortraitError(f"model {self.name!r}: it cannot be its own expert")
        if unused := sorted(set(self.settings) - set(self.experts)):
            raise PortraitError(
                f"model {self.name!r}: settings of {', '.join(unused)}, not among its experts"
            )
        for expert in self.experts:
            self._expert(expert)

    def _expert(self, name: str) -> Recommender:
        runtime: dict[str, Any] = {
            "threads": self.threads,
            "device": self.device,
            "checkpoint_seconds": self.checkpoint_seconds,
        }
        if self.checkpoint_dir is not None:
            runtime["checkpoint_dir"] = str(Path(self.checkpoint_dir) / name)
        given = model_class(name).taken(**runtime)
        return create(name, **{**given, **EXPERT_SETTINGS.get(name, {}), **self.settings.get(name, {})})

    def fit_examples(
        self,
        examples: Examples,
        validation: Examples | None = None,
        seed: int = 0,
        item_validation: Pair | None = None,
    ) -> Self:
        """Learn from customers with all their views and labels.

        Parameters
        ----------
        examples : of the training window; nothing dated after it may be in views or labels.
        validation : other customers of the same window, by whom training is stopped.
        item_validation : (history, target) by which the experts' weights are found.
        """
        self._examples, self._validation_examples = examples, validation
        try:
            return super().fit(examples.views.basket, item_validation, seed)
        finally:
            del self._examples, self._validation_examples

    def _training_examples(self, matrix: csr_matrix) -> Examples:
        found: Examples | None = getattr(self, "_examples", None)
        if found is None:
            return Examples.unlabelled(self._training_views(matrix))
        found = found.within(self.n_items)
        return found.take(np.flatnonzero(found.views.known))

    def _build(self) -> ProfileNetwork:
        return ProfileNetwork(self.shape_)

    def _train(self, train_matrix: csr_matrix, validation: Pair | None, seed: int) -> None:
        examples = self._training_examples(train_matrix)
        self.meaning_, self.shape_ = examples.meaning, _shape(self, examples)
        self.module_ = module = initialised(self._build, seed)
        self._start(examples)
        module.to(chosen(self.device))
        counts = self._counts(examples.views.basket)
        unit = max(float(counts.sum()) / max(len(examples), 1), 1e-6)

        def batch_loss(rows: np.ndarray, step: int, noise: torch.Generator) -> Tensor:
            some = examples.take(rows)
            batch = view_batch(some.views, counts[rows], self.event_length, self._device)
            return self._batch_loss(batch, some.labels, unit, noise)

        others: Examples | None = getattr(self, "_validation_examples", None)
        untrained = self._losses(others) if others is not None else {}
        self.weights_ = np.array([1.0])
        self.experts_ = []
        self.log_ = train(
            module,
            adam(module, self.learning_rate, self.weight_decay),
            batch_loss,
            len(examples),
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            validate=(lambda: self._validation_score(validation, others, untrained))
            if validation or others
            else None,
            patience=self.patience,
            checkpoint=self._checkpoint(seed, train_matrix, validation, examples, others),
        ).log
        if others is not None:
            found = answered(self._outputs(others.views))
            self.anchors_, self.shares_ = best_anchors(found, others, examples)
            logger.info("heads count beside their anchors: %s", self.shares_)
        self._pool(examples.views.basket, validation, seed)

    def _start(self, examples: Examples) -> None:
        """Biases at base rates, and what is known of the items."""
        decoder, meaning = self.module_.to_items, self.meaning_
        totals = np.asarray(self._counts(examples.views.basket).sum(axis=0), dtype=np.float32).ravel()
        log_share = np.log((totals + 1) / (totals + 1).sum())
        with torch.no_grad():
            if self.popularity_start or decoder.knows_items:
                decoder.own.bias.copy_(torch.from_numpy(log_share))
            if decoder.knows_items:
                decoder.met.copy_(torch.from_numpy(totals > 0))
                decoder.unmet_bias.fill_(float(np.quantile(log_share[totals > 0], UNMET_QUANTILE)))
            if meaning.item_text is not None:
                decoder.text.copy_(torch.from_numpy(_rows(meaning.item_text, self.n_items, 0)))
            if meaning.item_category is not None:
                decoder.category.copy_(torch.from_numpy(_rows(meaning.item_category, self.n_items, -1) + 1))
        self.module_.heads.start_at_base_rates(examples.labels)
        self.anchors_, self.shares_ = {}, {}

    def _batch_loss(self, batch: ViewBatch, labels: Labels, unit: float, noise: torch.Generator) -> Tensor:
        module = self.module_
        kept = own = None
        if module.has_several_views and self.view_dropout:
            kept = (torch.rand(batch.present.shape, generator=noise) >= self.view_dropout).to(self._device)
        if module.to_items.knows_items and self.item_dropout:
            own = (torch.rand(self.n_items, generator=noise) >= self.item_dropout).to(self._device)
        latent = module.encode(batch, drop(l2_normalised(batch.basket), self.dropout, noise), kept)
        logits = module.to_items(latent, own)
        if module.to_items.knows_items:
            # Nobody could have taken an item that was not there: it is no negative example.
            logits = logits.masked_fill(~module.to_items.met, -torch.inf)
        loss = -multinomial_log_likelihood(logits, batch.basket).mean() / unit
        if module.to_features is not None and batch.features is not None and self.feature_weight:
            loss = loss + self.feature_weight * feature_loss(
                module.to_features(latent), batch, self.meaning_.groups
            )
        for value in head_losses(module.predict(batch, latent, kept), labels).values():
            loss = loss + self.head_weight * value
        return loss

    def _losses(self, others: Examples) -> dict[str, float]:
        return {n: float(v) for n, v in head_losses(self._outputs(others.views), others.labels).items()}

    def _validation_score(
        self, validation: Pair | None, others: Examples | None, untrained: dict[str, float]
    ) -> float:
        """NDCG of the items, less the mean loss of the heads.

        A head counts no worse than untrained: one that only learns by heart is drawn back to its anchor at the end, and must
        not stop the others before.
        """
        score = self._multi_view_ndcg(validation) if validation is not None else 0.0
        if others is not None and (losses := self._losses(others)):
            score -= float(np.mean([min(loss, untrained[name]) for name, loss in losses.items()]))
        return score

    def _pool(self, basket: csr_matrix, validation: Pair | None, seed: int) -> None:
        """Train the experts on the baskets, and find what each counts."""
        basket = basket[np.diff(basket.indptr) > 0]
        self.experts_ = [self._expert(name).fit(basket, validation, seed) for name in self.experts]
        if not self.experts_:
            return
        if validation is None:
            some = basket[: self.validation_rows]
            self.weights_ = np.array([1 / spread(s) for s in self._all_scores(Views(some))])
            return
        judge = Judge.of(*validation, self.validation_k, self.validation_exclude_seen, self.validation_rows)
        scores = self._all_scores(Views(judge.history))
        scales = np.array([1 / spread(s) for s in scores])
        for s, scale in zip(scores, scales, strict=True):
            s *= np.float32(scale)
        self.weights_ = tuned_weights(scores, judge.ndcg) * scales
        logger.info("profile autoencoder and %s count %s", ", ".join(self.experts), self.weights_.round(3))

    def _all_scores(self, views: Views) -> list[np.ndarray]:
        own = super()._view_scores(views)
        return [own, *(expert._scores(views.basket) for expert in self.experts_)]

    def _view_scores(self, views: Views) -> np.ndarray:
        """An expert says nothing of a customer without a basket: there the network ranks alone."""
        own, *others = self._all_scores(views)
        total = (
            own * np.float32(self.weights_[0] or 1.0) if not others else own * np.float32(self.weights_[0])
        )
        cold = np.diff(views.basket.indptr) == 0
        for scores, weight in zip(others, self.weights_[1:], strict=True):
            total += scores * np.float32(weight) * (~cold)[:, None]
        total[cold] = own[cold]
        return total

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        """That of the first expert which counts and has one, else the cosine of the item vectors."""
        for expert, weight in zip(self.experts_, self.weights_[1:], strict=True):
            if weight and (found := expert.affinity(bought)) is not None:
                return found
        return VectorAffinity(self.module_.to_items.own.weight.detach().cpu().numpy())

    def predict(self, views: Views) -> dict[str, np.ndarray]:
        """The heads' logits by name, float32 [n] or [n, classes]; of the spend the expected amount, [n]."""
        self._check_fitted()
        views = views.within(self.n_items)
        parts = []
        for start in range(0, max(len(views), 1), CHUNK):
            with torch_threads(self.threads), torch.inference_mode():
                parts.append(self._answers(views.take(slice(start, start + CHUNK))))
        return {
            name: np.concatenate([getattr(p, name).numpy() for p in parts])
            for name in Predicted._fields
            if getattr(parts[0], name) is not None
        }

    def _view_batch(self, views: Views) -> ViewBatch:
        return view_batch(views, self._counts(views.basket), self.event_length, self._device)

    def _outputs(self, views: Views) -> Predicted:
        """On the CPU, where labels and anchors are."""
        with torch.inference_mode():
            batch = self._view_batch(views)
            found = self.module_.predict(batch, self.module_.whole(batch))
            return Predicted(*(None if output is None else output.cpu() for output in found))

    def _answers(self, views: Views) -> Predicted:
        features = None if views.features is None else torch.from_numpy(views.features)
        anchors = {name: anchor.answers(features, len(views)) for name, anchor in self.anchors_.items()}
        return moved(answered(self._outputs(views)), anchors, self.shares_)

    def _encode_views(self, views: Views) -> Tensor:
        return self.module_.whole(self._view_batch(views))

    def _decode(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.module_.to_items(latent)
        return logits

    def _save_state(self, folder: Path) -> None:
        super()._save_state(folder)
        content = {
            "shape": self.shape_.saved(),
            "meaning": self.meaning_.saved(),
            "weights": self.weights_.tolist(),
            "anchors": {name: anchor.saved() for name, anchor in self.anchors_.items()},
            "shares": self.shares_,
        }
        (folder / PROFILE_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")
        for expert in self.experts_:
            expert.save(folder / expert.name)

    def _load_state(self, folder: Path) -> None:
        content = json.loads((folder / PROFILE_FILE).read_text(encoding="utf-8"))
        self.shape_ = Shape(**content["shape"])
        meaning = content["meaning"]
        self.meaning_ = Meaning(
            tuple(Group(*g) for g in meaning["groups"]),
            tuple(meaning["categories"]),
            tuple(meaning["age_bands"]),
            tuple(meaning["genders"]),
        )
        self.weights_ = np.array(content["weights"])
        self.anchors_ = {name: Anchor.of_saved(saved) for name, saved in content["anchors"].items()}
        self.shares_ = content["shares"]
        super()._load_state(folder)
        folders = [folder / model_class(name).name for name in self.experts]
        self.experts_ = [load(expert, self.threads, self.device) for expert in folders]


def _rows(values: np.ndarray, n: int, fill: float) -> np.ndarray:
    """The first `n` rows, filled up."""
    made = np.full((n, *values.shape[1:]), fill, values.dtype)
    made[: len(values)] = values[:n]
    return made


def _shape(model: ProfileAutoencoder, examples: Examples) -> Shape:
    views, labels, meaning = examples.views, examples.labels, examples.meaning

    def classes(name: str, words: tuple[str, ...]) -> int:
        return len(words) if labels.known(name).any() else 0

    return Shape(
        n_items=model.n_items,
        latent=model.latent,
        hidden=model.hidden,
        events=model.event_width if views.events is not None else 0,
        encoder=model.event_encoder,
        interest=views.interest.shape[1] if views.interest is not None else 0,
        features=views.features.shape[1] if views.features is not None else 0,
        item_text=meaning.item_text.shape[1] if meaning.item_text is not None else 0,
        item_categories=meaning.item_categories if meaning.item_category is not None else 0,
        categories=classes("category", meaning.categories),
        age_bands=classes("age_band", meaning.age_bands),
        genders=classes("gender", meaning.genders),
        purchase=bool(labels.known("purchase").any()),
        spend=bool(labels.known("spend").any()),
    )
