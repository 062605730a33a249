"""What every model gives: fit, recommend, embed, save, load."""

import json
import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.ranking import PADDING, align, best_pairs, mask_out, row_chunks, top_k
from portrait.models.reasons import Affinity, affinity_of

logger = logging.getLogger(__name__)

Pair = tuple[csr_matrix, csr_matrix]

FORMAT = 1
METADATA_FILE = "model.json"
ARRAYS_FILE = "arrays.npz"
EMBED_ROWS = 8192


def parameter(
    default: Any, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A dataclass field that a user may set in `model.yaml`; its range is checked when a model is made."""
    return field(default=default, metadata={"low": low, "high": high, "choices": choices})


class Recommender(ABC):
    """A model that ranks items for a customer's history. Subclasses are keyword-only dataclasses.

    The dataclass fields with `init=True` are the model's parameters; what `fit` learns are fields with
    `init=False` whose names end in an underscore.

    Matrices are scipy CSR, users in rows and items in columns; a stored value is a recency-weighted sum
    of behaviour weights, > 0. An item's column never moves and new items are appended. Therefore a
    history with fewer columns than the model is padded, and one with more is cut: items that the model
    has not met are ignored and never recommended.
    """

    name: ClassVar[str]
    has_embedding: ClassVar[bool] = False
    """Whether `embed` works; otherwise it raises."""
    can_go_on: ClassVar[bool] = False
    """Whether there is a runtime parameter `start_from`, which names a saved model to go on from."""
    runtime_parameters: ClassVar[frozenset[str]] = frozenset()
    """Parameters that say how to run, not what to learn (threads, device, folders); not saved with the model."""

    n_items: int = 0
    seed: int = 0
    prior_: np.ndarray
    """float32 [n_items]: each item's share of all weight in training; ranks items for an empty history."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            if f.init:
                _check_parameter(self.name, f.name, getattr(self, f.name), f.default, f.metadata)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, as `create(name, **params)` takes them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}  # type: ignore[arg-type]

    @property
    def lasting_params(self) -> dict[str, Any]:
        """The parameters that say what to learn, not how to run."""
        return {name: value for name, value in self.params.items() if name not in self.runtime_parameters}

    @classmethod
    def taken(cls, **offered: Any) -> dict[str, Any]:
        """Of the runtime parameters that are offered, those that this kind of model takes."""
        return {name: value for name, value in offered.items() if name in cls.runtime_parameters}

    def fit(self, train: csr_matrix, validation: Pair | None = None, seed: int = 0) -> Self:
        """Learn from a user x item matrix.

        Parameters
        ----------
        train : csr_matrix [n_users, n_items]
            Weights > 0. Rows without any are left out.
        validation : (history, target) of csr_matrix [n, any], optional
            What models with early stopping are stopped by; the others do not look at it.
        seed : int
            The same data, parameters, seed, number of threads and kind of device give the same model.

        Raises
        ------
        PortraitError
            If the matrix holds nothing to learn from, or the model would not fit into memory.
        """
        train = align(train, train.shape[1])
        if train.nnz == 0:
            raise PortraitError(
                f"model {self.name!r}: the training matrix {train.shape} holds no interaction; "
                "check the training window and that the sources were ingested"
            )
        self.n_items, self.seed = train.shape[1], seed
        weight = np.asarray(train.sum(axis=0, dtype=np.float64)).ravel()
        self.prior_ = (weight / weight.sum()).astype(np.float32)
        if validation is not None:
            validation = align(validation[0], self.n_items), align(validation[1], self.n_items)
        self._fit(train[np.diff(train.indptr) > 0], validation, seed)
        return self

    def recommend(
        self, history: csr_matrix, k: int, exclude_seen: bool = True, exclude: csr_matrix | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each history, best first.

        A customer without a (known) history gets the most popular items. Equal scores are ordered by item
        index. Memory is bounded by one chunk of users, whatever their number.

        Parameters
        ----------
        history : csr_matrix [n, any]
            What the ranking is based on.
        k : int
            Length of the list.
        exclude_seen : bool
            Leave out the items in `history`; not looked at when `exclude` is given.
        exclude : csr_matrix [n, any], optional
            Leave out these items, and no others. In retail: what was bought, rather than what was viewed.

        Returns
        -------
        items : int32 [n, k]
            -1 where there are fewer than k candidates.
        scores : float32 [n, k]
            -inf at the padding. Comparable within a row only.
        """
        self._check_fitted()
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        history = align(history, self.n_items)
        mask = history if exclude_seen else None
        if exclude is not None:
            mask = align(exclude, self.n_items)
            if mask.shape[0] != history.shape[0]:
                raise ValueError(f"exclude has {mask.shape[0]} rows, history {history.shape[0]}")
        return self._ranked(history, mask, k)

    def recommend_among(
        self, history: csr_matrix, candidates: csr_matrix, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of some items of each history's own, as `recommend` gives them.

        Parameters
        ----------
        candidates : csr_matrix [n, any]
            The stored items; those that the model has not met are left out.
        """
        self._check_fitted()
        history, candidates = align(history, self.n_items), csr_matrix(candidates)[:, : self.n_items]
        if history.shape[0] != candidates.shape[0]:
            raise ValueError(f"candidates has {candidates.shape[0]} rows, history {history.shape[0]}")
        items = np.full((history.shape[0], k), PADDING, dtype=np.int32)
        values = np.full((history.shape[0], k), -np.inf, dtype=np.float32)
        for rows in row_chunks(history.shape[0], self.n_items):
            scores, theirs = self._scores_with_prior(history[rows]), candidates[rows]
            row = np.repeat(np.arange(theirs.shape[0]), np.diff(theirs.indptr))
            best_pairs(row, theirs.indices, scores[row, theirs.indices], items[rows], values[rows])
        return items, values

    def _ranked(self, history: csr_matrix, mask: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`recommend` of an aligned history without the items of `mask`, a chunk of users at a time."""
        items = np.empty((history.shape[0], k), dtype=np.int32)
        values = np.empty((history.shape[0], k), dtype=np.float32)
        for rows in row_chunks(history.shape[0], self.n_items):
            scores = self._scores_with_prior(history[rows])
            if mask is not None:
                mask_out(scores, mask[rows])
            items[rows], values[rows] = top_k(scores, k)
        return items, values

    def embed(self, history: csr_matrix) -> np.ndarray:
        """float32 [n, d]: a customer's place in the model's latent space (a cold one's: that of no history).

        Raises
        ------
        PortraitError
            If the model has none (`has_embedding` is False): popularity, repeat and ease.
        """
        self._check_fitted()
        if not self.has_embedding:
            raise PortraitError(f"model {self.name!r} has no embedding; use one of the autoencoders for it")
        history = align(history, self.n_items)
        chunks = [self._embed(history[s : s + EMBED_ROWS]) for s in range(0, history.shape[0], EMBED_ROWS)]
        return np.concatenate(chunks or [self._embed(history)]).astype(np.float32, copy=False)

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        """How much a bought item speaks for another in this model's lists; None where purchases say nothing.

        Parameters
        ----------
        bought : csr_matrix [n, n_items]
            Purchases, from which those in common are counted for a model without weights or vectors of items.
        """
        return affinity_of(self, align(bought, self.n_items))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as a folder, beside its place first, then renamed into it.

        A reader meets the whole old folder, the whole new one, or (for an instant, when an old one is
        replaced) none; never half of one.
        """
        self._check_fitted()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            new = beside / "new"
            new.mkdir()
            self._save_state(new)
            metadata = {
                "format": FORMAT,
                "model": self.name,
                "n_items": self.n_items,
                "seed": self.seed,
                "params": self.lasting_params,
            }
            (new / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
            _replace(path, new, beside / "old")
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **runtime: Any) -> Self:
        """Read a folder that `save` wrote; `runtime` sets runtime parameters such as `threads`.

        Raises
        ------
        PortraitError
            If there is no model of this class in the folder.
        """
        path = Path(path)
        metadata = read_metadata(path)
        if metadata["model"] != cls.name:
            raise PortraitError(f"{path} holds a model {metadata['model']!r}, not {cls.name!r}")
        model = cls(**metadata["params"], **runtime)
        model.n_items, model.seed = metadata["n_items"], metadata["seed"]
        model._load_state(path)
        return model

    def _scores_with_prior(self, history: csr_matrix) -> np.ndarray:
        scores = self._scores(history)
        scores[np.diff(history.indptr) == 0] = self.prior_
        return scores

    def _check_fitted(self) -> None:
        if self.n_items == 0:
            raise PortraitError(f"model {self.name!r} is not fitted: call fit() or load() first")

    @abstractmethod
    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        """Learn from an aligned matrix without empty rows; `n_items` and `prior_` are set."""

    @abstractmethod
    def _scores(self, history: csr_matrix) -> np.ndarray:
        """float32 [n, n_items], writable and new, for one chunk of aligned histories."""

    def _embed(self, history: csr_matrix) -> np.ndarray:
        raise NotImplementedError

    def _save_state(self, folder: Path) -> None:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_")}  # type: ignore[arg-type]
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_, **arrays)

    def _load_state(self, folder: Path) -> None:
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            for name in arrays.files:
                setattr(self, name, arrays[name])


def _replace(path: Path, new: Path, old: Path) -> None:
    """Move a folder to its place, whatever is there; on an error the previous one is put back."""
    if path.exists():
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` noted about a model: `model` (its name), `params`, `n_items`, `seed`, `format`.

    Raises
    ------
    PortraitError
        If the folder is absent, holds no model, or one in a newer format.
    """
    file = Path(path) / METADATA_FILE
    try:
        metadata: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PortraitError(f"{path}: no saved model here ({METADATA_FILE} is missing); train one") from None
    except ValueError as error:
        raise PortraitError(f"{file}: not readable as JSON ({error}); train the model again") from error
    if metadata.get("format") != FORMAT:
        raise PortraitError(f"{file}: format {metadata.get('format')}, this version reads {FORMAT}")
    return metadata


def _check_parameter(model: str, name: str, value: Any, default: Any, rule: Any) -> None:
    if default is None or default is MISSING:
        return
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise PortraitError(
            f"model {model!r}: {name} must be of type {type(default).__name__}, not {value!r}"
        )
    low, high, choices = rule.get("low"), rule.get("high"), rule.get("choices")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        raise PortraitError(f"model {model!r}: {name} must be {span}, not {value!r}")
    if choices and value not in choices:
        raise PortraitError(f"model {model!r}: {name} must be one of {', '.join(choices)}, not {value!r}")
