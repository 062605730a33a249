"""The part of a recommender that all PyTorch models share."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from portrait.errors import PortraitError
from portrait.models.base import ARRAYS_FILE, Pair, Recommender, parameter
from portrait.models.checkpoint import Checkpoint, fingerprint, on_the_cpu
from portrait.models.device import chosen
from portrait.models.metrics import ndcg_at_k
from portrait.models.scoring import LinearDecoder, ranked
from portrait.models.training import initialised, take_over, torch_threads

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "weights.pt"


@dataclass(kw_only=True, eq=False)
class Autoencoder(Recommender):
    """A torch module that encodes and decodes; a subclass says which, and how it is trained.

    Parameters
    ----------
    threads : int
        Cap of torch's threads; 0 means the cores the process may run on.
    device : str
        Where it is trained and asked: auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1
        (`device.chosen`). What is saved can be loaded on any.
    checkpoint_dir : str, optional
        Folder for a checkpoint: a run that was killed and is started again with the same data, parameters
        and seed resumes from it and ends with the same model.
    checkpoint_seconds : float
        Greatest age of the checkpoint.
    start_from : str, optional
        Folder of a saved model with the same parameters (how long to train aside) that training goes on from. Items that it does
        not know start as always.
    """

    has_embedding: ClassVar[bool] = True
    runtime_parameters: ClassVar[frozenset[str]] = frozenset(
        {"threads", "device", "checkpoint_dir", "checkpoint_seconds", "start_from"}
    )

    threads: int = parameter(0, low=0)
    device: str = parameter("auto")
    checkpoint_dir: str | None = None
    checkpoint_seconds: float = parameter(30.0, low=0)
    start_from: str | None = None
    passes_before_: int = field(init=False, repr=False, default=0)
    """Passes over the customers that the start had behind it."""
    items_before_: int = field(init=False, repr=False, default=0)
    """Items that the start knew."""
    module_: nn.Module = field(init=False, repr=False)
    log_: list[dict[str, Any]] = field(init=False, repr=False, default_factory=list)
    """One entry an epoch: `epoch`, mean training `loss`, and the validation `score` where there is one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen(self.device)  # what is not there is said before anything is read

    @property
    def _device(self) -> torch.device:
        """Where the module lies, and with it all tensors that it is given."""
        return next(self.module_.parameters()).device

    def _build(self) -> nn.Module:
        """The untrained module for `n_items`."""
        raise NotImplementedError

    def _train(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        raise NotImplementedError

    def _encode(self, history: csr_matrix) -> Tensor:
        """Float [n, d]: the latent vector."""
        raise NotImplementedError

    def _decode(self, latent: Tensor) -> Tensor:
        """Float [n, n_items]: what items are ranked by."""
        raise NotImplementedError

    def _linear_decoder(self) -> LinearDecoder | None:
        """The last layer, if the ranking is by its output; then `_last_hidden` gives its input."""
        return None

    def _last_hidden(self, latent: Tensor) -> Tensor:
        """What the linear decoder is given for a latent vector: the vector itself."""
        return latent

    def _ranked(self, history: csr_matrix, mask: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        with torch_threads(self.threads), torch.inference_mode():
            decoder = self._linear_decoder()
            if decoder is None:
                return super()._ranked(history, mask, k)
            cold = np.diff(history.indptr) == 0
            return ranked(
                decoder,
                lambda rows: self._last_hidden(self._encode(history[rows])),
                cold,
                self.prior_,
                mask,
                k,
            )

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        if self.start_from is not None and not self.can_go_on:
            raise PortraitError(f"model {self.name!r} cannot go on from another: leave start_from out")
        with torch_threads(self.threads):
            self._train(train, validation, seed)

    def _scores(self, history: csr_matrix) -> np.ndarray:
        with torch_threads(self.threads), torch.inference_mode():
            return self._decode(self._encode(history)).cpu().numpy()

    def _embed(self, history: csr_matrix) -> np.ndarray:
        with torch_threads(self.threads), torch.inference_mode():
            return self._encode(history).cpu().numpy()

    def _checkpoint(
        self, seed: int, train: csr_matrix, validation: Pair | None, *more: object
    ) -> Checkpoint | None:
        """For this data, these parameters and this start; `more` is what else is trained on, dataclasses of arrays."""
        if self.checkpoint_dir is None:
            return None
        if self.start_from is not None:
            weights = Path(self.start_from) / WEIGHTS_FILE
            more = (*more, hashlib.blake2b(weights.read_bytes()).hexdigest())
        mark = fingerprint(
            {"model": self.name, "seed": seed, **self.lasting_params}, train, *(validation or ()), *more
        )
        return Checkpoint(self.checkpoint_dir, mark, self.checkpoint_seconds)

    def _begin(self, seed: int) -> nn.Module:
        """The module that training begins with, on the CPU: drawn by the seed, or the one to go on from.

        Raises
        ------
        PortraitError
            If the folder to start from holds no model of these parameters, or one of more items.
        """
        module, self.passes_before_, self.items_before_ = initialised(self._build, seed), 0, 0
        if self.start_from is None:
            return module
        before = type(self).load(self.start_from, device="cpu")
        if before._architecture != self._architecture:
            raise PortraitError(
                f"{self.start_from}: a model with other parameters; model {self.name!r} cannot go on from it"
            )
        take_over(module, before.module_)
        self.passes_before_, self.items_before_ = before.passes_, before.n_items
        logger.info("going on from %s, after %d passes", self.start_from, self.passes_before_)
        return module

    @property
    def _architecture(self) -> dict[str, Any]:
        """The parameters but those that say how to run and how long."""
        how_long = {"epochs", "patience"}
        return {name: value for name, value in self.lasting_params.items() if name not in how_long}

    @property
    def passes_(self) -> int:
        """Passes over the customers behind the weights, those before a start that was gone on from among them."""
        judged = [entry for entry in self.log_ if "score" in entry]
        last = max(judged, key=lambda entry: entry["score"]) if judged else (self.log_ or [{"epoch": -1}])[-1]
        return self.passes_before_ + int(last["epoch"]) + 1

    def _validation_ndcg(self, validation: Pair, k: int, exclude_seen: bool) -> float:
        """Mean NDCG@k over the users with a target (those the model could still recommend)."""
        history, target = validation
        if exclude_seen:
            target = csr_matrix(target - target.multiply(history > 0))
            target.eliminate_zeros()
        wanted = np.diff(target.indptr) > 0
        items, _ = self.recommend(history[wanted], k, exclude_seen=exclude_seen)
        return float(ndcg_at_k(items, target[wanted], k).mean()) if wanted.any() else 0.0

    def _save_state(self, folder: Path) -> None:
        np.savez(folder / ARRAYS_FILE, prior_=self.prior_, passes_before_=self.passes_)
        torch.save(on_the_cpu(self.module_.state_dict()), folder / WEIGHTS_FILE)

    def _load_state(self, folder: Path) -> None:
        super()._load_state(folder)
        self.passes_before_ = int(self.passes_before_)  # of a file: an array without dimensions
        self.module_ = self._build()
        state = torch.load(folder / WEIGHTS_FILE, weights_only=True, map_location="cpu")
        try:
            self.module_.load_state_dict(state)
        except RuntimeError as error:
            raise PortraitError(
                f"{folder}: weights of another network ({error}); train the model again"
            ) from error
        self.module_.to(chosen(self.device)).eval()
