"""Infinite-AE: an infinitely wide autoencoder in closed form (Sachdeva et al. 2022)."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix, diags, load_npz, save_npz

from portrait.errors import PortraitError
from portrait.models.base import ARRAYS_FILE, Pair, Recommender, parameter
from portrait.models.ranking import row_chunks

logger = logging.getLogger(__name__)

LANDMARKS_FILE = "landmarks.npz"


@dataclass(kw_only=True, eq=False)
class InfiniteAutoencoder(Recommender):
    """Kernel ridge regression from customers to their rows, with the tangent kernel of a ReLU autoencoder.

    scores(x) = K(x, X) (K(X, X) + lambda I)^-1 X, where K is the neural tangent kernel of a network with one
    infinitely wide ReLU layer on L2-normalised rows: for the cosine c of two customers' rows,

    K(c) = c k0(c) + k1(c),  k0 = (pi - arccos c) / pi,  k1 = (c (pi - arccos c) + sqrt(1 - c^2)) / pi.

    Sachdeva, Dhaliwal, Wu, McAuley, Infinite Recommendation Networks: A Data-Centric Approach (NeurIPS 2022);
    k0 and k1 are the arc-cosine kernels of Cho and Saul (NIPS 2009). With more than `landmarks` customers that many
    are drawn by the seed and the regression is on the kernel to these (the Nystrom method), learned from all.

    Parameters
    ----------
    regularisation : float
        lambda, in units of the kernel's diagonal, which is 2: about 10 for some thousands of customers, and
        more with more.
    landmarks : int
        Greatest number of customers that are kept.
    memory_limit_gb : float
        `fit` refuses, before allocating anything, when it would need more (10^9 bytes).
    """

    name: ClassVar[str] = "infinite_autoencoder"
    regularisation: float = parameter(10.0, low=1e-6)
    landmarks: int = parameter(5000, low=1)
    memory_limit_gb: float = parameter(4.0, low=0)
    landmarks_: csr_matrix = field(init=False, repr=False)
    """float32 [m, n_items]: the L2-normalised rows of the customers that are kept."""
    responses_: np.ndarray = field(init=False, repr=False)
    """float32 [m, n_items]: what a unit of kernel to each of them adds to the scores."""

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        n_users = train.shape[0]
        kept = min(self.landmarks, n_users)
        self._check_memory(kept)
        if kept == n_users:
            self.landmarks_ = unit_rows(train)
            self.responses_ = self._exact(train)
        else:
            drawn = np.sort(np.random.default_rng(seed).choice(n_users, kept, replace=False))
            self.landmarks_ = unit_rows(train[drawn])
            self.responses_ = self._nystrom(train)
            logger.info("%s: %d of %d customers are landmarks", self.name, kept, n_users)

    def _check_memory(self, kept: int) -> None:
        needed = (24 * kept * kept + 12 * kept * self.n_items) / 1e9
        if needed > self.memory_limit_gb:
            raise PortraitError(
                f"model {self.name!r}: {kept:,} landmarks and {self.n_items:,} items need {needed:.1f} GB, "
                f"memory_limit_gb is {self.memory_limit_gb:g}; raise it or lower landmarks"
            )

    def _exact(self, train: csr_matrix) -> np.ndarray:
        gram = tangent_kernel(self.landmarks_, self.landmarks_)
        gram[np.diag_indices(len(gram))] += np.float32(2 * self.regularisation)
        return _solved(gram, train.toarray())

    def _nystrom(self, train: csr_matrix) -> np.ndarray:
        """(K_mn K_nm + lambda K_mm)^-1 K_mn X, summed over chunks of customers."""
        kept = self.landmarks_.shape[0]
        gram = tangent_kernel(self.landmarks_, self.landmarks_).astype(np.float64) * (2 * self.regularisation)
        responses = np.zeros((self.n_items, kept), dtype=np.float32)
        for rows in row_chunks(train.shape[0], kept):
            kernel = tangent_kernel(unit_rows(train[rows]), self.landmarks_)
            gram += kernel.T @ kernel
            responses += train[rows].T @ kernel
        gram[np.diag_indices(kept)] *= 1 + 1e-6  # two landmarks with the same row are no harm
        return _solved(gram, responses.T)

    def _scores(self, history: csr_matrix) -> np.ndarray:
        return tangent_kernel(unit_rows(history), self.landmarks_) @ self.responses_

    def _save_state(self, folder: Path) -> None:
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_, responses_=self.responses_)
        save_npz(folder / LANDMARKS_FILE, self.landmarks_)

    def _load_state(self, folder: Path) -> None:
        super()._load_state(folder)
        self.landmarks_ = csr_matrix(load_npz(folder / LANDMARKS_FILE))


def unit_rows(matrix: csr_matrix) -> csr_matrix:
    """Float32 rows of length 1; empty rows stay empty."""
    squares = np.asarray(matrix.power(2).sum(axis=1), dtype=np.float64).ravel()
    inverse = np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return csr_matrix(diags(inverse) @ matrix, dtype=np.float32)


def tangent_kernel(first: csr_matrix, second: csr_matrix) -> np.ndarray:
    """The kernel of each pair of unit rows, float32 [n, m]; see the class.

    Examples
    --------
    Equal rows (c = 1): 1 * 1 + 1 = 2. Rows without a common item (c = 0): 0 + 1 / pi.
    """
    cosine = (first @ second.T).toarray()
    np.clip(cosine, -1, 1, out=cosine)
    angle = np.pi - np.arccos(cosine)
    return (2 * cosine * angle + np.sqrt(1 - cosine**2)) / np.float32(np.pi)


def _solved(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    solution = solve(
        gram, right.astype(gram.dtype, copy=False), assume_a="pos", overwrite_a=True, overwrite_b=True
    )
    return np.ascontiguousarray(solution, dtype=np.float32)
