"""Item-based nearest neighbours: items bought by the same customers are alike."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack

from portrait.models.base import ARRAYS_FILE, Pair, Recommender, parameter
from portrait.models.ranking import row_chunks, top_k
from portrait.models.reasons import Affinity, SparseAffinity

NEIGHBOURS_FILE = "neighbours.npz"


@dataclass(kw_only=True, eq=False)
class ItemKnn(Recommender):
    """Shrunk cosine similarity between item columns, the nearest `neighbours` of each item; scores X S.

    s_ij = x_i . x_j / (|x_i| |x_j| + shrinkage), s_ii = 0

    Sarwar, Karypis, Konstan, Riedl, Item-Based Collaborative Filtering Recommendation Algorithms (WWW 2001);
    the shrinkage of Bell and Koren (ICDM 2007). Memory is that of the neighbours kept and of one block of items
    while fitting, whatever the size of the catalogue.

    Parameters
    ----------
    neighbours : int
        Neighbours kept of each item.
    shrinkage : float
        In units of squared weight; keeps items that few customers have from looking alike by chance.
    """

    name: ClassVar[str] = "item_knn"
    neighbours: int = parameter(200, low=1)
    shrinkage: float = parameter(10.0, low=0)
    similarity_: csr_matrix = field(init=False, repr=False)
    """float32 [n_items, n_items]; row i holds the nearest of item i and their s_ij."""

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        by_item = csr_matrix(train.T)
        lengths = np.sqrt(np.asarray(by_item.power(2).sum(axis=1), dtype=np.float64)).ravel()
        blocks = [
            self._nearest(by_item[items] @ train, lengths, items)
            for items in row_chunks(self.n_items, self.n_items)
        ]
        self.similarity_ = csr_matrix(vstack(blocks))

    def _nearest(self, products: csr_matrix, lengths: np.ndarray, items: slice) -> csr_matrix:
        """The neighbours of a block of items from its rows of X'X."""
        block = products.toarray()
        block /= np.outer(lengths[items], lengths) + self.shrinkage + np.finfo(np.float32).tiny
        block[np.arange(len(block)), np.arange(items.start, items.stop)] = 0
        nearest, values = top_k(block, min(self.neighbours, self.n_items))
        rows = np.repeat(np.arange(len(block)), nearest.shape[1])
        found = csr_matrix((values.ravel(), (rows, nearest.ravel())), shape=block.shape, dtype=np.float32)
        found.eliminate_zeros()
        return found

    def _scores(self, history: csr_matrix) -> np.ndarray:
        return np.asarray((history @ self.similarity_.T).toarray(), dtype=np.float32)

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        return SparseAffinity(self.similarity_)

    def _save_state(self, folder: Path) -> None:
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_)
        save_npz(folder / NEIGHBOURS_FILE, self.similarity_)

    def _load_state(self, folder: Path) -> None:
        super()._load_state(folder)
        self.similarity_ = csr_matrix(load_npz(folder / NEIGHBOURS_FILE))
