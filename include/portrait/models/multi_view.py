"""Recommenders that may see more of a customer than a row of a matrix."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from portrait.models.base import EMBED_ROWS, Pair
from portrait.models.metrics import ndcg_at_k
from portrait.models.multinomial import MultinomialAutoencoder
from portrait.models.profile.views import Views
from portrait.models.ranking import align, mask_out, row_chunks, top_k
from portrait.models.training import torch_threads


@dataclass(kw_only=True, eq=False)
class MultiViewAutoencoder(MultinomialAutoencoder):
    """An autoencoder whose `fit`, `recommend` and `embed` also take `views` of the same rows.

    Without them the row of the matrix is all there is, and the model is a `Recommender` like all others. With
    them a customer without a basket is ranked by what is known of them; one of whom nothing is known gets
    the most popular items.
    """

    can_go_on: ClassVar[bool] = False

    def fit(
        self,
        train: csr_matrix,
        validation: Pair | None = None,
        seed: int = 0,
        *,
        views: Views | None = None,
        validation_views: Views | None = None,
    ) -> Self:
        """As `Recommender.fit`.

        Parameters
        ----------
        views : of the customers of `train`, their basket in place of its rows; who is not known in any view is left
            out.
        validation_views : of the rows of the validation history.
        """
        self._views, self._validation_views = views, validation_views
        try:
            super().fit(train, validation, seed)
        finally:
            del self._views, self._validation_views
        return self

    def recommend(
        self,
        history: csr_matrix,
        k: int,
        exclude_seen: bool = True,
        exclude: csr_matrix | None = None,
        *,
        views: Views | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Recommender.recommend`; `views` are of the rows of `history`, which decides what was seen."""
        if views is None:
            return super().recommend(history, k, exclude_seen, exclude)
        self._check_fitted()
        views = views.within(self.n_items)
        mask = align(exclude if exclude is not None else history, self.n_items)
        if not len(views) == history.shape[0] == mask.shape[0]:
            raise ValueError(
                f"rows differ: views {len(views)}, history {history.shape[0]}, mask {mask.shape[0]}"
            )
        items = np.empty((len(views), k), dtype=np.int32)
        values = np.empty((len(views), k), dtype=np.float32)
        for rows in row_chunks(len(views), self.n_items):
            some = views.take(rows)
            scores = self._view_scores(some)
            scores[~some.known] = self.prior_
            if exclude_seen or exclude is not None:
                mask_out(scores, mask[rows])
            items[rows], values[rows] = top_k(scores, k)
        return items, values

    def embed(self, history: csr_matrix, *, views: Views | None = None) -> np.ndarray:
        """As `Recommender.embed`; with `views` the vector is that of all that is known."""
        if views is None:
            return super().embed(history)
        self._check_fitted()
        views = views.within(self.n_items)
        starts = range(0, max(len(views), 1), EMBED_ROWS)
        with torch_threads(self.threads), torch.inference_mode():
            parts = [self._encode_views(views.take(slice(s, s + EMBED_ROWS))).cpu().numpy() for s in starts]
        return np.concatenate(parts)

    def _encode_views(self, views: Views) -> Tensor:
        """Float [n, d]: the latent vector of aligned views."""
        raise NotImplementedError

    def _view_scores(self, views: Views) -> np.ndarray:
        with torch_threads(self.threads), torch.inference_mode():
            return self._decode(self._encode_views(views)).cpu().numpy()

    def _scores(self, history: csr_matrix) -> np.ndarray:
        return self._view_scores(Views(history))

    def _encode(self, history: csr_matrix) -> Tensor:
        return self._encode_views(Views(history))

    def _training_views(self, train: csr_matrix) -> Views:
        """Those of whom something is known; `train` is what `_fit` gets."""
        views = getattr(self, "_views", None)
        if views is None:
            return Views(train)
        views = views.within(self.n_items)
        return views.take(np.flatnonzero(views.known))

    def _multi_view_ndcg(self, validation: Pair) -> float:
        """The validation score, by the views of the validation customers where they were given."""
        views = getattr(self, "_validation_views", None)
        if views is None:
            return self._validation_ndcg(validation, self.validation_k, self.validation_exclude_seen)
        history, target = validation
        if self.validation_exclude_seen:
            target = csr_matrix(target - target.multiply(history > 0))
            target.eliminate_zeros()
        wanted = np.flatnonzero(np.diff(target.indptr))
        items, _ = self.recommend(
            history[wanted],
            self.validation_k,
            exclude_seen=self.validation_exclude_seen,
            views=views.take(wanted),
        )
        return float(ndcg_at_k(items, target[wanted], self.validation_k).mean()) if len(wanted) else 0.0
