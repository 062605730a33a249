"""Ranking metrics, one value a user, from recommended positions and the relevant items.

All take `recommended` int [n, at least k] (best first, -1 = no item) and `relevant`, a CSR matrix
[n, n_items] whose positive cells are the items that came true. All give float64 [n], NaN for a user without a
relevant item: no ranking could have been right or wrong, and the caller must leave such users out.
"""

import numpy as np
from scipy.sparse import csr_matrix


def hits_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """bool [n, k]: whether the item at each place of the list is relevant.

    Raises
    ------
    ValueError
        If the two have different numbers of rows, or the lists are shorter than k.
    """
    n_users, n_columns = relevant.shape
    if recommended.shape[0] != n_users or recommended.shape[1] < k:
        raise ValueError(f"cannot judge lists of shape {recommended.shape} at {k} on {n_users} users")
    cells = relevant.tocoo()
    positive = cells.data > 0
    wanted = cells.row[positive].astype(np.int64) * n_columns + cells.col[positive]
    top = recommended[:, :k].astype(np.int64)
    keys = np.arange(n_users, dtype=np.int64)[:, None] * n_columns + top
    return np.isin(keys, wanted) & (top >= 0) & (top < n_columns)


def n_relevant(relevant: csr_matrix) -> np.ndarray:
    """float64 [n]: how many items came true for each user; NaN where none."""
    count = np.asarray((relevant > 0).sum(axis=1), dtype=np.float64).ravel()
    count[count == 0] = np.nan
    return count


def recall_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int, truncated: bool = False) -> np.ndarray:
    """Share of the relevant items that are in the top k.

    Parameters
    ----------
    truncated : bool
        The denominator. False: all relevant items, as in next-basket recommendation (a basket of 30 cannot
        reach 1 at k = 10). True: min(k, relevant items), as in Liang et al. (2018), equation 9.

    Examples
    --------
    Two of three relevant items in the top two: 2/3, truncated 1.
    """
    count = n_relevant(relevant)
    return hits_at_k(recommended, relevant, k).sum(axis=1) / (np.minimum(count, k) if truncated else count)


def precision_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """Share of the k places that hold a relevant item; a place left empty counts as a miss."""
    hits = hits_at_k(recommended, relevant, k).sum(axis=1)
    return np.asarray(hits / _defined(relevant, k))


def f1_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """Harmonic mean of precision@k and (plain) recall@k: 2 hits / (k + relevant items)."""
    return 2 * hits_at_k(recommended, relevant, k).sum(axis=1) / (k + n_relevant(relevant))


def ndcg_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain with binary gains: sum of hit/log2(rank + 1), best possible = 1.

    Examples
    --------
    One relevant item, in second place: (1/log2 3) / (1/log2 2) = 0.6309.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = hits_at_k(recommended, relevant, k) @ discount
    count = n_relevant(relevant)
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])
    return gain / ideal[np.minimum(np.nan_to_num(count), k).astype(int)]


def hit_rate_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """1 where at least one of the top k is relevant (its mean is the PHR of next-basket papers)."""
    return hits_at_k(recommended, relevant, k).any(axis=1) / _defined(relevant, 1)


def average_precision_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """Mean of precision@rank over the ranks of the hits, of min(k, relevant items); its mean over users is MAP@k.

    Examples
    --------
    Three relevant items, hits in places 2 and 3 of three: (1/2 + 2/3) / 3.
    """
    hits = hits_at_k(recommended, relevant, k)
    precision = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return np.asarray((precision * hits).sum(axis=1) / np.minimum(n_relevant(relevant), k))


def reciprocal_rank_at_k(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """1 / place of the first hit, 0 without one; its mean over users is MRR@k."""
    hits = hits_at_k(recommended, relevant, k)
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return np.asarray(first / _defined(relevant, 1))


def novelty_at_k(recommended: np.ndarray, buyers: np.ndarray, n_users: int, k: int) -> float:
    """Mean self-information of what is listed: log2(customers / buyers of the item), in bits.

    Source: Zhou et al. (2010), "Solving the apparent diversity-accuracy dilemma of recommender systems". An item
    that nobody bought counts as one with one buyer.

    Parameters
    ----------
    buyers : int [n_items], customers who bought each item before the cut-off.
    """
    top = recommended[:, :k]
    return (
        float(np.log2(n_users / np.maximum(buyers[top[top >= 0]], 1)).mean()) if (top >= 0).any() else np.nan
    )


def popularity_bias_at_k(recommended: np.ndarray, buyers: np.ndarray, k: int) -> float:
    """Mean popularity rank of what is listed as a share of the catalogue: 1 lists best sellers only, 0.5 is no bias.

    Source: popularity percentile as in Abdollahpouri et al. (2019), "The unfairness of popularity bias in
    recommendation".
    """
    top = recommended[:, :k]
    order = np.argsort(buyers, kind="stable")
    percentile = np.empty(len(buyers))
    percentile[order] = (np.arange(len(buyers)) + 1) / len(buyers)
    return float(percentile[top[top >= 0]].mean()) if (top >= 0).any() else np.nan


def coverage_at_k(recommended: np.ndarray, n_items: int, k: int) -> float:
    """Share of the catalogue that is in anybody's top k."""
    top = recommended[:, :k]
    return len(np.unique(top[top >= 0])) / n_items


def _defined(relevant: csr_matrix, denominator: float) -> np.ndarray:
    """The denominator for each user; NaN where nothing is relevant."""
    return np.where(np.isnan(n_relevant(relevant)), np.nan, denominator)
