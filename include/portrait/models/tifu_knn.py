"""TIFU-KNN: a customer's own faded history, and that of the customers nearest to it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz

from portrait.models.base import ARRAYS_FILE, Pair, Recommender, parameter
from portrait.models.ranking import row_chunks

REFERENCE_FILE = "reference.npz"


@dataclass(kw_only=True, eq=False)
class TifuKnn(Recommender):
    """score = own_share * history + (1 - own_share) * mean history of the nearest customers (Euclidean).

    Hu, He, Gao, Zhang, Modeling Personalized Item Frequency Information for Next-basket Recommendation (SIGIR
    2020). The paper's fading within and between groups of baskets is in the weights of the history that the model
    is given: `faded_by_group` where baskets are known, the feature stage's recency weights every night.

    Parameters
    ----------
    neighbours : int
        Customers that count as near.
    own_share : float
        The paper's alpha.
    reference_customers : int
        At most so many customers of the training (a seeded sample) are compared with.
    """

    name: ClassVar[str] = "tifu_knn"
    neighbours: int = parameter(300, low=1)
    own_share: float = parameter(0.7, low=0, high=1)
    reference_customers: int = parameter(20_000, low=1)
    reference_: csr_matrix = field(init=False, repr=False)
    """float32 [customers, n_items]: the histories compared with."""

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        if train.shape[0] > self.reference_customers:
            chosen = np.random.default_rng(seed).choice(
                train.shape[0], self.reference_customers, replace=False
            )
            train = train[np.sort(chosen)]
        self.reference_ = train.astype(np.float32)

    def _scores(self, history: csr_matrix) -> np.ndarray:
        scores = np.empty(history.shape, dtype=np.float32)
        for rows in row_chunks(history.shape[0], self.reference_.shape[0]):
            own = history[rows]
            near = self._nearest(own)
            mixed = own * np.float32(self.own_share) + near @ self.reference_
            scores[rows] = mixed.toarray()
        return scores

    def _nearest(self, own: csr_matrix) -> csr_matrix:
        """float32 [n, reference]: (1 - own_share) / k at each of the k nearest."""
        distance = (own @ self.reference_.T).toarray()
        distance *= -2
        # The customer's own length is the same for all that it is compared with.
        distance += np.asarray(self.reference_.power(2).sum(axis=1), dtype=np.float32).ravel()
        n, m = distance.shape
        k = min(self.neighbours, m)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        share = np.full(n * k, (1 - self.own_share) / k, dtype=np.float32)
        return csr_matrix((share, nearest.ravel(), np.arange(0, n * k + 1, k)), shape=(n, m))

    def _save_state(self, folder: Path) -> None:
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_)
        save_npz(folder / REFERENCE_FILE, self.reference_)

    def _load_state(self, folder: Path) -> None:
        super()._load_state(folder)
        self.reference_ = csr_matrix(load_npz(folder / REFERENCE_FILE))


def faded_by_group(
    basket: np.ndarray, n_baskets: np.ndarray, groups: int = 7, within: float = 0.9, between: float = 0.7
) -> np.ndarray:
    """Weight of each purchase in its customer's vector, as the authors' code computes it.

    A history of n baskets is cut into `groups` runs of n // groups baskets, the last n % groups of them one basket
    longer (n runs of one basket where n < groups). A vector is the mean over runs of the mean basket of a run,
    each basket faded by within ** (baskets after it) and each run by between ** (groups - 1 - place of the run).

    Parameters
    ----------
    basket : int [n]
        Number of the basket among its customer's, 0 the oldest.
    n_baskets : int [n]
        How many baskets that customer has.

    Returns
    -------
    float32 [n]
    """
    runs = np.minimum(n_baskets, groups)
    size = n_baskets // runs
    short = runs - n_baskets % runs
    in_short = basket < short * size
    place = np.where(in_short, basket // size, short + (basket - short * size) // (size + 1))
    length = np.where(in_short, size, size + 1)
    weight = within ** (n_baskets - 1.0 - basket) * between ** (groups - 1.0 - place) / (length * runs)
    return weight.astype(np.float32)
