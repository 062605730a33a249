"""Views in, one latent vector, items and features out."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.event_encoder import EventEncoder
from portrait.models.events import Padded, padded
from portrait.models.multinomial import l2_normalised
from portrait.models.profile.examples import Group
from portrait.models.profile.heads import Heads, Predicted
from portrait.models.profile.views import VIEWS, Views
from portrait.models.training import SparseBatch, sparse_batch


@dataclass(frozen=True)
class Shape:
    """Sizes of a network; a width of 0 leaves a part out."""

    n_items: int
    latent: int
    hidden: int
    events: int
    encoder: str
    interest: int
    features: int
    item_text: int
    item_categories: int
    categories: int
    age_bands: int
    genders: int
    purchase: bool
    spend: bool

    def saved(self) -> dict[str, Any]:
        return asdict(self)


class ViewBatch(NamedTuple):
    """Some customers' views as tensors; `present` bool [n, views] in the order of `VIEWS`."""

    basket: SparseBatch
    events: Padded | None
    interest: Tensor | None
    features: Tensor | None
    observed: Tensor | None
    present: Tensor


def view_batch(views: Views, counts: Any, length: int, device: torch.device) -> ViewBatch:
    """Tensors on a device; `counts` is the basket as the multinomial counts it."""
    return ViewBatch(
        sparse_batch(counts, device),
        padded(views.events, length) if views.events is not None else None,
        torch.from_numpy(views.interest).to(device) if views.interest is not None else None,
        torch.from_numpy(views.features).to(device) if views.features is not None else None,
        torch.from_numpy(views.observed).to(device) if views.observed is not None else None,
        torch.from_numpy(np.stack([views.present(v) for v in VIEWS], axis=1)).to(device),
    )


class ItemDecoder(nn.Module):
    """Item logits; an item's vector is its own, plus its text vector projected, plus its category's.

    Items that training did not meet have no vector of their own: text and category rank them, with `unmet_bias` in place
    of a bias (DropoutNet, Volkovs et al., NeurIPS 2017, makes the other two carry that: see `forward`).
    """

    text: Tensor
    category: Tensor
    met: Tensor
    unmet_bias: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n = shape.n_items
        self.own = nn.Linear(shape.latent, n)
        self.from_text = nn.Linear(shape.item_text, shape.latent, bias=False) if shape.item_text else None
        self.categories = (
            nn.Embedding(shape.item_categories + 1, shape.latent) if shape.item_categories else None
        )
        self.register_buffer("text", torch.zeros(n if shape.item_text else 0, shape.item_text))
        self.register_buffer("category", torch.zeros(n if shape.item_categories else 0, dtype=torch.int64))
        self.register_buffer("met", torch.ones(n, dtype=torch.bool))
        self.register_buffer("unmet_bias", torch.zeros(()))

    @property
    def knows_items(self) -> bool:
        """Whether texts or categories say something of an item that nobody touched."""
        return self.from_text is not None or self.categories is not None

    def forward(self, latent: Tensor, own_kept: Tensor | None = None) -> Tensor:
        """Float [n, n_items]; `own_kept` bool [n_items] says whose own vector counts (all, unless given)."""
        if not self.knows_items:
            logits: Tensor = self.own(latent)
            return logits
        kept = self.met if own_kept is None else self.met & own_kept
        vectors = self.own.weight * kept.unsqueeze(1)
        if self.from_text is not None:
            vectors = vectors + self.from_text(self.text)
        if self.categories is not None:
            vectors = vectors + F.embedding(self.category, self.categories.weight)
        return F.linear(latent, vectors, torch.where(self.met, self.own.bias, self.unmet_bias))


class ProfileNetwork(nn.Module):
    """Each view has an encoder; what they say is added up, and an absent view says one learnt thing.

    With the basket alone this is Mult-DAE: a sum of item vectors, tanh, a softmax over the catalogue.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        n, latent = shape.n_items, shape.latent
        self.basket = nn.EmbeddingBag(n, latent, mode="sum")
        self.bias = nn.Parameter(torch.zeros(latent))
        self.absent = nn.Parameter(torch.zeros(len(VIEWS), latent))
        self.events = EventEncoder(n, shape.events, shape.encoder) if shape.events else None
        self.from_events = nn.Linear(shape.events, latent, bias=False) if shape.events else None
        self.interest = nn.Linear(shape.interest, latent, bias=False) if shape.interest else None
        self.features = (
            nn.Sequential(nn.Linear(shape.features, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, latent))
            if shape.features
            else None
        )
        self.to_items = ItemDecoder(shape)
        self.to_features = nn.Linear(latent, shape.features) if shape.features else None
        self.heads = Heads(shape)

    def encode(self, batch: ViewBatch, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """Float [n, latent]; `weights` [nnz] are the basket's values, `kept` bool [n, views] what is not dropped."""
        present = batch.present if kept is None else batch.present & kept
        there = present.float()
        basket = F.embedding_bag(
            batch.basket.items,
            self.basket.weight,
            batch.basket.offsets,
            mode="sum",
            per_sample_weights=weights * there[batch.basket.rows, 0],
        )
        total = basket + self.bias
        if self.from_events is not None and self.events is not None and batch.events is not None:
            total = total + self.from_events(self.events.last(batch.events)) * there[:, 1:2]
        if self.interest is not None and batch.interest is not None:
            total = total + self.interest(batch.interest) * there[:, 2:3]
        if self.features is not None and batch.features is not None:
            total = total + self.features(batch.features) * there[:, 3:4]
        if self.has_several_views:
            total = total + (1 - there) @ self.absent
        return torch.tanh(total)

    def whole(self, batch: ViewBatch) -> Tensor:
        """The latent vector as it is used: nothing dropped."""
        return self.encode(batch, l2_normalised(batch.basket))

    def predict(self, batch: ViewBatch, latent: Tensor, kept: Tensor | None = None) -> Predicted:
        """The heads' outputs."""
        present = batch.present[:, 3] if kept is None else batch.present[:, 3] & kept[:, 3]
        features = batch.features
        if features is None and self.shape.features:
            features = latent.new_zeros(len(latent), self.shape.features)
        return self.heads(latent, None if features is None else features * present.unsqueeze(1))

    @property
    def has_several_views(self) -> bool:
        """Whether there is anything beside the basket."""
        return any((self.events, self.interest, self.features))


def feature_loss(found: Tensor, batch: ViewBatch, groups: tuple[Group, ...]) -> Tensor:
    """Mean over the features of a batch: squared error of numbers, cross-entropy of one-hot groups.

    Only what was observed counts: imputed values are nobody's.
    """
    assert batch.features is not None
    assert batch.observed is not None
    losses = []
    for group in groups:
        rows = batch.observed[:, group.start]
        if not bool(rows.any()):
            continue
        wanted, ours = batch.features[rows, group.start : group.stop], found[rows, group.start : group.stop]
        if group.kind == "number":
            losses.append(F.smooth_l1_loss(ours, wanted))
        else:
            losses.append(-(wanted * F.log_softmax(ours, dim=1)).sum(dim=1).mean())
    return torch.stack(losses).mean() if losses else found.sum() * 0
