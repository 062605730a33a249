"""User-based collaborative filtering on purchase logs."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.ranking import greatest
from portrait.models.rerank.purchases import Purchases

_TINY = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class Similar:
    """The customers with the likest baskets; never the customer itself.

    similarity(u, v) = common items / (size_u ** 1/2 * size_v ** 1/2), the `neighbours` most similar of the
    reference customers. UP-CF of Faggioli, Polato, Aiolli, Recency Aware Collaborative Filtering for Next Basket
    Recommendation (UMAP 2020), with its asymmetry at one half and its locality at one.

    Attributes
    ----------
    own : float32 [customers, items], 1 where bought.
    reference : int [any], ascending
        Rows compared with.
    """

    own: csr_matrix
    reference: np.ndarray
    neighbours: int

    def near(self, rows: np.ndarray) -> csr_matrix:
        """float32 [len(rows), len(reference)]: the similarities that count."""
        size = np.sqrt(np.diff(self.own.indptr).astype(np.float32))
        common = (self.own[rows] @ self.own[self.reference].T).toarray()
        common /= np.outer(size[rows], size[self.reference]) + _TINY
        place = np.minimum(np.searchsorted(self.reference, rows), len(self.reference) - 1)
        oneself = np.flatnonzero(self.reference[place] == rows)
        common[oneself, place[oneself]] = 0
        n, m = common.shape
        k = min(self.neighbours, m)
        nearest = greatest(common, k)
        value = np.take_along_axis(common, nearest, axis=1)
        return csr_matrix((value.ravel(), nearest.ravel(), np.arange(0, n * k + 1, k)), shape=(n, m))


def binary(log: Purchases) -> csr_matrix:
    """float32 [customers, items], 1 where bought."""
    own = log.counts.copy()
    own.data[:] = 1
    return own


def recent_share(log: Purchases, baskets: int) -> csr_matrix:
    """float32 [customers, items]: share of the customer's last `baskets` baskets that held the item."""
    seen = np.minimum(log.n_baskets, baskets)[log.customer]
    found = log.weighted((log.age < baskets) / np.maximum(seen, 1))
    found.eliminate_zeros()
    return found
