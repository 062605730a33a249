"""A product of experts: several models' softmax distributions over the items, multiplied."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models import create, load, model_class
from portrait.models.base import ARRAYS_FILE, Pair, Recommender, parameter
from portrait.models.pooling import Judge, spread, tuned_weights
from portrait.models.reasons import Affinity

logger = logging.getLogger(__name__)

RUNTIME = frozenset({"threads", "device", "checkpoint_dir", "checkpoint_seconds"})


@dataclass(kw_only=True, eq=False)
class ProductOfExperts(Recommender):
    """Linear and nonlinear autoencoders, pooled: score = sum over the experts of weight * score.

    Multiplying the experts' softmax distributions, each sharpened by its own inverse temperature, is a weighted
    sum of their scores up to a constant in each row (Hinton, Training Products of Experts by Minimizing
    Contrastive Divergence, Neural Computation 2002). Linear item-item models and autoencoders err differently,
    so that their product beats each: VASP (Vancura, Kordik 2021) multiplies the same two kinds.

    With a `validation` pair the weights are those with the greatest NDCG@`validation_k` on it; without one each
    expert counts the same. `embed` is that of the first expert that has one.

    Parameters
    ----------
    experts : sequence of str
        Registered names. A name that comes again is trained once more with the next seed.
    settings : dict of dict
        Parameters of the experts, by name.
    validation_k : int
        List length of the NDCG that decides on the weights.
    validation_exclude_seen : bool
        Judge on items outside the validation history only; False also counts repeats.
    validation_rows : int
        Greatest number of validation customers that the weights are chosen on.
    threads, device, checkpoint_dir, checkpoint_seconds
        Handed to the experts that take them; each has a folder of its own below `checkpoint_dir`.
    """

    name: ClassVar[str] = "product_of_experts"
    has_embedding: ClassVar[bool] = True
    runtime_parameters: ClassVar[frozenset[str]] = RUNTIME

    experts: Sequence[str] = ("ease", "mult_dae", "rec_vae")
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    validation_k: int = parameter(100, low=1)
    validation_exclude_seen: bool = parameter(True)
    validation_rows: int = parameter(2000, low=1)
    threads: int = parameter(0, low=0)
    device: str = parameter("auto")
    checkpoint_dir: str | None = None
    checkpoint_seconds: float = parameter(30.0, low=0)
    experts_: list[Recommender] = field(init=False, repr=False)
    weights_: np.ndarray = field(init=False, repr=False)
    """float64 [experts]: what each expert's score is multiplied by."""

    def __post_init__(self) -> None:
        self.experts = _names(self.experts)
        super().__post_init__()
        unused = sorted(set(self.settings) - set(self.experts))
        if unused:
            raise PortraitError(
                f"model {self.name!r}: settings of {', '.join(unused)}, not among its experts"
            )
        for expert, params in self.settings.items():
            if not isinstance(params, dict):
                raise PortraitError(
                    f"model {self.name!r}: settings of {expert} must be parameters by name, not {params!r}"
                )
        for position in range(len(self.experts)):
            self._expert(position)

    def _expert(self, position: int) -> Recommender:
        """The untrained expert at a position."""
        expert = self.experts[position]
        runtime: dict[str, Any] = {
            "threads": self.threads,
            "device": self.device,
            "checkpoint_seconds": self.checkpoint_seconds,
        }
        if self.checkpoint_dir is not None:
            runtime["checkpoint_dir"] = str(Path(self.checkpoint_dir) / f"expert_{position}")
        given = model_class(expert).taken(**runtime)
        return create(expert, **{**given, **self.settings.get(expert, {})})

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        self.experts_ = []
        for position, name in enumerate(self.experts):
            repetition = list(self.experts[:position]).count(name)
            self.experts_.append(self._expert(position).fit(train, validation, seed + repetition))
        if validation is None:
            self.weights_ = 1 / self._spreads(train[: self.validation_rows])
        else:
            self.weights_ = self._tuned(validation)
        logger.info(
            "product of experts: %s",
            ", ".join(
                f"{name} x {weight:.3g}" for name, weight in zip(self.experts, self.weights_, strict=True)
            ),
        )

    def _spreads(self, history: csr_matrix) -> np.ndarray:
        return np.array([spread(expert._scores(history)) for expert in self.experts_])

    def _tuned(self, validation: Pair) -> np.ndarray:
        """The weights with the best NDCG on the validation customers, searched in units of 1 / spread."""
        judge = Judge.of(*validation, self.validation_k, self.validation_exclude_seen, self.validation_rows)
        scores = [expert._scores(judge.history) for expert in self.experts_]
        scales = np.array([1 / spread(s) for s in scores])
        for s, scale in zip(scores, scales, strict=True):
            s *= np.float32(scale)
        return tuned_weights(scores, judge.ndcg) * scales

    def _scores(self, history: csr_matrix) -> np.ndarray:
        total = np.zeros((history.shape[0], self.n_items), dtype=np.float32)
        for expert, weight in zip(self.experts_, self.weights_, strict=True):
            if weight:
                total += expert._scores(history) * np.float32(weight)
        return total

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        """That of the first expert which counts and has one."""
        for expert, weight in zip(self.experts_, self.weights_, strict=True):
            if weight and (found := expert.affinity(bought)) is not None:
                return found
        return None

    def _embed(self, history: csr_matrix) -> np.ndarray:
        for expert in self.experts_:
            if expert.has_embedding:
                return expert._embed(history)
        raise PortraitError(
            f"model {self.name!r}: none of its experts {', '.join(self.experts)} has an embedding"
        )

    def _save_state(self, folder: Path) -> None:
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_, weights_=self.weights_)
        for position, expert in enumerate(self.experts_):
            expert.save(folder / f"expert_{position}")

    def _load_state(self, folder: Path) -> None:
        super()._load_state(folder)
        folders = [folder / f"expert_{i}" for i in range(len(self.experts))]
        self.experts_ = [load(expert, self.threads, self.device) for expert in folders]


def _names(experts: Any) -> tuple[str, ...]:
    """The experts as a tuple; a text (from the command line) is split at its commas."""
    if isinstance(experts, str):
        experts = [name.strip() for name in experts.split(",") if name.strip()]
    if not isinstance(experts, Sequence) or not experts or not all(isinstance(e, str) for e in experts):
        raise PortraitError(f"model 'product_of_experts': experts must be names of models, not {experts!r}")
    if "product_of_experts" in experts:
        raise PortraitError("model 'product_of_experts': it cannot be its own expert")
    return tuple(experts)
