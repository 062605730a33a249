"""The next item from the order of events: recurrent and causal convolutional encoders."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.base import Pair, parameter
from portrait.models.device import chosen
from portrait.models.event_encoder import ENCODERS, EventEncoder
from portrait.models.events import Events, Padded, padded
from portrait.models.multi_view import MultiViewAutoencoder
from portrait.models.multinomial import drop
from portrait.models.profile.views import Views
from portrait.models.training import adam, initialised, train


class SequenceNetwork(nn.Module):
    """Events -> state after each of them -> logits by the very vectors that items are read with."""

    def __init__(self, n_items: int, width: int, encoder: str) -> None:
        super().__init__()
        self.encoder = EventEncoder(n_items, width, encoder)
        self.bias = nn.Parameter(torch.zeros(n_items))

    @property
    def item_vectors(self) -> Tensor:
        """Float [n_items, width]."""
        return self.encoder.items.weight[1:]


@dataclass(kw_only=True, eq=False)
class SequenceModel(MultiViewAutoencoder):
    """Predicts after each event the item of the next, by a softmax over the catalogue.

    `encoder` is a GRU as in Hidasi et al., Session-based Recommendations with Recurrent Neural Networks (ICLR
    2016), an LSTM, or the causal convolutions of Yuan et al. (WSDM 2019). It reads item, event type, channel and
    time gap of each step (`views.events`). Without views, a row of the matrix is read in the order of its weights:
    they fade, so the lightest comes first. `embed` gives the state after the last event. A customer without
    events gets the most popular items.

    Parameters
    ----------
    encoder : gru, lstm or causal_convolution
    latent : int
        Size of the item vectors and of the state.
    length : int
        The last so many events are read.
    sampled_above : int
        Catalogues of more items are trained on a sample: the items of the batch, and `negatives` others drawn
        evenly, each of which stands for all that were not drawn.
    negatives : int
    """

    name: ClassVar[str] = "sequence"
    module_: SequenceNetwork = field(init=False, repr=False)
    encoder: str = parameter("gru", choices=ENCODERS)
    latent: int = parameter(64, low=1)
    length: int = parameter(50, low=2)
    sampled_above: int = parameter(50_000, low=1)
    negatives: int = parameter(5000, low=1)
    dropout: float = parameter(0.2, low=0, high=0.99)
    learning_rate: float = parameter(2e-3, low=0)
    batch_size: int = parameter(64, low=1)
    epochs: int = parameter(20, low=1)
    patience: int = parameter(4, low=0)

    def _build(self) -> SequenceNetwork:
        return SequenceNetwork(self.n_items, self.latent, self.encoder)

    def _train(self, train_matrix: csr_matrix, validation: Pair | None, seed: int) -> None:
        events = _events(self._training_views(train_matrix))
        # Of one event nothing can be learnt: there is no next one.
        events = events.take(np.flatnonzero(events.lengths > 1))
        self.module_ = module = initialised(self._build, seed)
        if self.popularity_start:
            with torch.no_grad():
                module.bias.copy_(torch.from_numpy(np.log(self.prior_ + 1 / self.n_items)))
        module.to(chosen(self.device))

        def batch_loss(rows: np.ndarray, step: int, noise: torch.Generator) -> Tensor:
            return self._next_item_loss(padded(events.take(rows), self.length + 1), noise)

        if not len(events):
            module.eval()
            self.log_ = []
            return
        self.log_ = train(
            module,
            adam(module, self.learning_rate, self.weight_decay),
            batch_loss,
            len(events),
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            validate=(lambda: self._multi_view_ndcg(validation)) if validation is not None else None,
            patience=self.patience,
            checkpoint=self._checkpoint(seed, _as_matrix(events, self.n_items), validation),
        ).log

    def _next_item_loss(self, batch: Padded, noise: torch.Generator) -> Tensor:
        """Mean cross-entropy of the items that come after another event."""
        item, event, channel, gap, lengths = batch
        before = Padded(item[:, :-1], event[:, :-1], channel[:, :-1], gap[:, :-1], np.maximum(lengths - 1, 0))
        states = self.module_.encoder(before)
        wanted = torch.from_numpy(batch.item[:, 1:]).to(states.device)
        there = wanted > 0
        hidden, target = states[there], wanted[there] - 1
        if self.dropout:
            hidden = drop(hidden, self.dropout, noise)
        if not len(target):
            return states.sum() * 0
        if self.n_items <= self.sampled_above:
            return F.cross_entropy(F.linear(hidden, self.module_.item_vectors, self.module_.bias), target)
        return self._sampled_loss(hidden, target, noise)

    def _sampled_loss(self, hidden: Tensor, target: Tensor, noise: torch.Generator) -> Tensor:
        """Cross-entropy whose normaliser is exact for the batch's items and estimated for all others."""
        own, place = torch.unique(target, return_inverse=True)
        drawn = torch.randint(self.n_items, (self.negatives,), generator=noise).to(target.device)
        drawn = drawn[~torch.isin(drawn, own)]
        among = torch.cat([own, drawn])
        logits = F.linear(
            hidden, F.embedding(among + 1, self.module_.encoder.items.weight), self.module_.bias[among]
        )
        stands_for = np.log(max(self.n_items - len(own), 1) / max(len(drawn), 1))
        shift = logits.new_zeros(len(among))
        shift[len(own) :] = float(stands_for)
        return F.cross_entropy(logits + shift, place)

    def _encode_views(self, views: Views) -> Tensor:
        return self.module_.encoder.last(padded(_events(views), self.length))

    def _decode(self, latent: Tensor) -> Tensor:
        return F.linear(latent, self.module_.item_vectors, self.module_.bias)

    def _view_scores(self, views: Views) -> np.ndarray:
        scores = super()._view_scores(views)
        scores[_events(views).lengths == 0] = self.prior_
        return scores


def _events(views: Views) -> Events:
    return views.events if views.events is not None else Events.of_matrix(views.basket)


def _as_matrix(events: Events, n_items: int) -> csr_matrix:
    """All that training sees, for the checkpoint's fingerprint: every step is a stored value."""
    numbers = events.gap.astype(np.float64) * 1024 + events.event.astype(np.float64) * 32 + events.channel + 1
    return csr_matrix((numbers, events.item + 1, events.pointer), shape=(len(events), n_items + 1))
