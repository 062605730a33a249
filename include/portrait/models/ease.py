"""EASE and EDLAE: shallow linear autoencoders in closed form (Steck 2019 and 2020)."""

import logging
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix, diags

from portrait.errors import PortraitError
from portrait.models.base import Pair, Recommender, parameter
from portrait.models.ranking import row_chunks
from portrait.models.reasons import Affinity, WeightAffinity

logger = logging.getLogger(__name__)

BYTES_PER_CELL = 5
"""One float32 matrix, worked on in place, and a quarter for blocks (20,000 items: 1.95 GB measured)."""


@dataclass(kw_only=True, eq=False)
class Ease(Recommender):
    """Item-item weights B = I - P diag(P)^-1 with P = (X'X + lambda I)^-1, diagonal zero; scores X B.

    Harald Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019), equation 8. Computed in
    float32, in place, by Cholesky factorisation: under 1 s for 3,500 items and about 45 s for 20,000 on two
    cores.

    Parameters
    ----------
    regularisation : float
        lambda, in units of X'X (summed squared weights): some hundreds for catalogues of thousands.
    dropout : float
        Above 0 it is EDLAE (Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020): the share p
        of the input that the linear autoencoder is trained without, in expectation. lambda I becomes
        lambda I + p / (1 - p) diag(X'X).
    customer_exponent : float
        A customer's row is divided by their total weight to this power, so that heavy buyers count less.
    item_exponent : float
        An item's column is divided by its total weight to this power, so that popular items are not what
        explains and is recommended for everything. Both as in Park et al., Why is Normalization Necessary for
        Linear Recommenders? (SIGIR 2025), without their scaling back of the scores; the factors are brought to a
        mean (rows) and a mean square (columns) of 1, so that lambda keeps its unit.
    memory_limit_gb : float
        `fit` refuses, before allocating anything, when it would need more (10^9 bytes).
    """

    name: ClassVar[str] = "ease"
    regularisation: float = parameter(500.0, low=1e-6)
    dropout: float = parameter(0.0, low=0, high=0.99)
    customer_exponent: float = parameter(0.0, low=0, high=1)
    item_exponent: float = parameter(0.0, low=0, high=1)
    memory_limit_gb: float = parameter(4.0, low=0)
    weights_: np.ndarray = field(init=False, repr=False)
    """float32 [n_items, n_items]; column j predicts item j from all the others."""
    customer_scale_: np.ndarray = field(init=False, repr=False)
    """float64 []: what a row is multiplied by beside its total weight to the power -customer_exponent."""

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        n = self.n_items
        needed = BYTES_PER_CELL * n * n / 1e9
        if needed > self.memory_limit_gb:
            raise PortraitError(
                f"model 'ease': {n:,} items need {needed:.{1 if needed >= 1 else 4}f} GB for a {n:,} x {n:,} matrix, "
                f"memory_limit_gb is {self.memory_limit_gb:g}; raise it, drop rare items, or use mult_vae"
            )
        self.customer_scale_ = np.asarray(1 / np.mean(totals(train, axis=1) ** -self.customer_exponent))
        item_scale = (totals(train, axis=0) + 1) ** -self.item_exponent
        item_scale /= np.sqrt(np.mean(item_scale**2))
        train = csr_matrix(self._by_customer(train) @ diags(item_scale.astype(np.float32)))
        gram = _gram(train)
        diagonal = np.diag_indices(n)
        gram[diagonal] *= np.float32(1 / (1 - self.dropout))  # 1 + p / (1 - p)
        gram[diagonal] += np.float32(self.regularisation)
        inverse = inverted_in_place(gram).T  # symmetric: the same matrix in C order, as scoring wants it
        inverse /= -np.diag(inverse)  # by column: B_ij = -P_ij / P_jj
        inverse[diagonal] = 0
        inverse *= item_scale.astype(np.float32)[:, None]  # the history's columns, scaled once for all
        self.weights_ = inverse

    def _by_customer(self, matrix: csr_matrix) -> csr_matrix:
        """The rows divided by their total weight to the power `customer_exponent`, to scale."""
        weight = totals(matrix, axis=1)
        factor = np.zeros_like(weight)
        np.power(weight, -self.customer_exponent, out=factor, where=weight > 0)
        return csr_matrix(diags((factor * self.customer_scale_).astype(np.float32)) @ matrix)

    def _scores(self, history: csr_matrix) -> np.ndarray:
        return np.asarray(self._by_customer(history) @ self.weights_, dtype=np.float32)

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        return WeightAffinity(self.weights_)


def totals(matrix: csr_matrix, axis: int) -> np.ndarray:
    """Total weight of each column (axis 0) or row (axis 1), float64."""
    return np.asarray(matrix.sum(axis=axis, dtype=np.float64)).ravel()


def _gram(train: csr_matrix) -> np.ndarray:
    """X'X, float32 in Fortran order, filled a block of columns at a time."""
    n = train.shape[1]
    gram = np.empty((n, n), dtype=np.float32, order="F")
    by_item = csr_matrix(train.T)
    for items in row_chunks(n, n):
        gram[:, items] = (by_item[items] @ train).toarray().T
    return gram


def inverted_in_place(gram: np.ndarray) -> np.ndarray:
    """Inverse of a symmetric positive definite Fortran-ordered float32 matrix, in its own memory."""
    if not len(gram):
        return gram
    factor, info = lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
    if info == 0:
        inverse, info = lapack.spotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise PortraitError("model 'ease': the item matrix is not positive definite; raise regularisation")
    for rows in row_chunks(len(inverse), len(inverse)):  # LAPACK fills the lower triangle only
        upper = np.triu_indices(rows.stop - rows.start, 1)
        block = inverse[rows, rows]
        block[upper] = block.T[upper]
        inverse[rows, rows.stop :] = inverse[rows.stop :, rows].T
    return inverse
