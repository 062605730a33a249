"""What the profile autoencoder learns from: customers as they were on a day, and what came after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from portrait.models.profile.views import Views

UNKNOWN = -1
"""Class of a label that is not known."""


@dataclass(frozen=True)
class Labels:
    """What is to be predicted of n customers; NaN and -1 are not known and not learnt from.

    Attributes
    ----------
    purchase : float32 [n], 1 where something was bought in the 30 days after.
    spend : float32 [n], spent in the 90 days after, in the retailer's currency.
    category, age_band, gender : int64 [n], place in the vocabulary.
    """

    purchase: np.ndarray
    spend: np.ndarray
    category: np.ndarray
    age_band: np.ndarray
    gender: np.ndarray

    @classmethod
    def unknown(cls, n: int) -> Self:
        nothing, none = np.full(n, np.nan, np.float32), np.full(n, UNKNOWN, np.int64)
        return cls(nothing, nothing.copy(), none, none.copy(), none.copy())

    def __len__(self) -> int:
        return len(self.purchase)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(*(getattr(self, name)[rows] for name in _LABELS))

    def without(self, rows: np.ndarray, *names: str) -> Self:
        """These labels of these rows made unknown."""
        changed = {}
        for name in names:
            changed[name] = getattr(self, name).copy()
            changed[name][rows] = np.nan if name in ("purchase", "spend") else UNKNOWN
        return replace(self, **changed)

    def known(self, name: str) -> np.ndarray:
        """Bool [n]."""
        values = getattr(self, name)
        return ~np.isnan(values) if name in ("purchase", "spend") else values >= 0

    @classmethod
    def joined(cls, parts: Sequence["Labels"]) -> "Labels":
        return Labels(*(np.concatenate([getattr(p, name) for p in parts]) for name in _LABELS))


_LABELS = ("purchase", "spend", "category", "age_band", "gender")


@dataclass(frozen=True)
class Group:
    """Columns `start` to `stop` of the features that come from one feature: `number` or `one_hot`."""

    kind: str
    start: int
    stop: int


@dataclass(frozen=True)
class Meaning:
    """What positions in views and labels stand for; the same for all examples of a model.

    Attributes
    ----------
    groups : of the features' columns that are reconstructed.
    categories, age_bands, genders : the labels' vocabulary; an empty one has no head.
    item_text : float32 [n_items, t], text vectors of the items, zeros where there is none; None without texts.
    item_category : int64 [n_items], place in `item_categories`, -1 for none; None without categories.
    item_categories : how many categories `item_category` counts.
    """

    groups: tuple[Group, ...] = ()
    categories: tuple[str, ...] = ()
    age_bands: tuple[str, ...] = ()
    genders: tuple[str, ...] = ()
    item_text: np.ndarray | None = None
    item_category: np.ndarray | None = None
    item_categories: int = 0

    def saved(self) -> dict[str, Any]:
        """All that is not an array, for JSON."""
        return {
            "groups": [[g.kind, g.start, g.stop] for g in self.groups],
            "categories": list(self.categories),
            "age_bands": list(self.age_bands),
            "genders": list(self.genders),
            "item_categories": self.item_categories,
        }


@dataclass(frozen=True)
class Examples:
    """Customers on one or several days, with what came after; a customer may come once a day."""

    views: Views
    labels: Labels
    meaning: Meaning = field(default_factory=Meaning)

    def __post_init__(self) -> None:
        if len(self.views) != len(self.labels):
            raise ValueError(f"{len(self.views)} views and {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.views)

    @classmethod
    def unlabelled(cls, views: Views) -> Self:
        return cls(views, Labels.unknown(len(views)))

    def take(self, rows: np.ndarray) -> Self:
        return replace(self, views=self.views.take(rows), labels=self.labels.take(rows))

    def within(self, n_items: int) -> Self:
        return replace(self, views=self.views.within(n_items))

    @classmethod
    def joined(cls, parts: Sequence["Examples"]) -> "Examples":
        return Examples(
            Views.joined([p.views for p in parts]), Labels.joined([p.labels for p in parts]), parts[0].meaning
        )
