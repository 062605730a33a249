"""Models that rank items for a customer, behind one interface.

`create("ease", regularisation=700)` makes one, `load(folder)` reads a saved one. torch is imported only
when an autoencoder is asked for.
"""

import importlib
import os
from dataclasses import fields
from typing import Any

from portrait.errors import PortraitError
from portrait.models.base import Recommender, read_metadata

REGISTRY: dict[str, str] = {
    "popularity": "portrait.models.popularity:Popularity",
    "repeat": "portrait.models.repeat:Repeat",
    "ease": "portrait.models.ease:Ease",
    "item_knn": "portrait.models.item_knn:ItemKnn",
    "tifu_knn": "portrait.models.tifu_knn:TifuKnn",
    "article": "portrait.models.article:Article",
    "mult_dae": "portrait.models.mult_dae:MultDae",
    "mult_vae": "portrait.models.mult_vae:MultVae",
    "rec_vae": "portrait.models.rec_vae:RecVae",
    "infinite_autoencoder": "portrait.models.infinite_autoencoder:InfiniteAutoencoder",
    "product_of_experts": "portrait.models.product_of_experts:ProductOfExperts",
    "sequence": "portrait.models.sequence:SequenceModel",
    "profile_autoencoder": "portrait.models.profile.model:ProfileAutoencoder",
}
"""Name -> module:class. Adding a model is one file and one line here."""

ALIASES: dict[str, str] = {"multvae": "mult_vae"}

__all__ = ["ALIASES", "REGISTRY", "Recommender", "create", "load", "model_class"]


def model_class(name: str) -> type[Recommender]:
    """The class behind a registered name.

    Raises
    ------
    PortraitError
        If the name is not registered.
    """
    target = REGISTRY.get(ALIASES.get(name, name))
    if target is None:
        raise PortraitError(f"unknown model {name!r}: choose one of {', '.join(REGISTRY)}")
    module, _, attribute = target.partition(":")
    found: type[Recommender] = getattr(importlib.import_module(module), attribute)
    return found


def create(name: str, **params: Any) -> Recommender:
    """An untrained model.

    Parameters
    ----------
    name : str
        One of `REGISTRY` (or `ALIASES`).
    **params
        The model's parameters; see its class.

    Raises
    ------
    PortraitError
        If the name or a parameter is unknown (the allowed ones are named), or a value out of range.
    """
    cls = model_class(name)
    allowed = sorted(f.name for f in fields(cls) if f.init)  # type: ignore[arg-type]
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        listed = ", ".join(allowed) or "it has none"
        raise PortraitError(f"model {name!r} has no parameter {', '.join(unknown)}; allowed: {listed}")
    return cls(**params)


def load(path: str | os.PathLike[str], threads: int = 0, device: str = "auto") -> Recommender:
    """Read a saved model of whatever class.

    Parameters
    ----------
    threads : int
        Cap of a torch model's threads; 0 means all cores.
    device : str
        Where a torch model computes, whatever it was trained on; see `device.chosen`.

    Raises
    ------
    PortraitError
        If there is no readable model in the folder.
    """
    cls = model_class(read_metadata(path)["model"])
    return cls.load(path, **cls.taken(threads=threads, device=device))
