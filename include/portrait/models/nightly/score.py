"""Recommendations and vectors for every customer, from the models in service."""

import logging
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.models import load
from portrait.models.nightly.alignment import align_to_last
from portrait.models.nightly.bought_again import not_again
from portrait.models.nightly.categories import categories_of
from portrait.models.nightly.inputs import Inputs, inputs_of, models_folder
from portrait.models.nightly.kept_lists import kept_lists
from portrait.models.nightly.lists import Listed, Lists, Opener
from portrait.models.nightly.promote import serving_version
from portrait.models.reasons import CATEGORY, KINDS, reasons
from portrait.run import Run

log = logging.getLogger(__name__)

RECOMMENDATION = pa.schema(
    [
        ("customer_id", pa.string()),
        ("kind", pa.string()),
        ("rank", pa.int32()),
        ("sku", pa.string()),
        ("score", pa.float64()),
        ("model_version", pa.string()),
        ("because_kind", pa.string()),
        ("because_of", pa.string()),
    ]
)
"""`because_kind` is one of `reasons.KINDS`; `because_of` a sku (again, item), a category, or null (popular)."""
EMBEDDING = pa.schema(
    [("customer_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("model_version", pa.string())]
)


@dataclass(frozen=True)
class ScoreResult:
    customers: int
    recommendations: int
    embeddings: int
    drift: float | None = None
    """Of the vectors since the night before (`alignment.py`)."""
    kept: int = 0
    """Customers whose lists (`new`) are those of the night before (`kept_lists.py`)."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(settings: Settings, run: Run) -> ScoreResult:
    """Write `recommendation.parquet` and `embedding.parquet` of a run.

    `new` recommends items not bought before (viewed ones are welcome), by the model of slot `new`; `again` recommends
    items bought before, by the model of slot `next`, but none that is not bought again (`bought_again.py`). Each has a
    reason (`reasons.py`).
    """
    inputs = inputs_of(settings, run)
    bought = inputs.matrix("full_bought")
    current = inputs.current
    k = settings.models.recommendations
    write = _Rows(settings, run, inputs, bought)
    opened = cache(Opener(settings, run, inputs, "full"))  # one version often serves both slots
    kept = kept_lists(settings, run, inputs)
    parts: list[pa.Table] = []

    def add(kind: str, slot: str, rows: np.ndarray, **limits: csr_matrix) -> int:
        """How many customers keep their lists of last night."""
        found = serving_version(settings, run, slot) if len(rows) else None
        if found is None:
            return 0
        version, anew = found[0], rows
        if kept is not None:
            lists_of_before, anew = kept.split(kind, version, rows)
            parts.append(lists_of_before)
        if len(anew):
            lists = opened(found[1])
            listed = lists(anew, k, **{name: matrix[anew] for name, matrix in limits.items()})
            parts.append(write(kind, version, anew, listed, lists))
        return len(rows) - len(anew)

    stayed = add("new", "new", current, exclude=bought)
    again = bought - not_again(settings, run, inputs, "full")
    again.eliminate_zeros()
    add("again", "next", current[np.diff(again.indptr)[current] > 0], only=again)
    folder = models_folder(settings, run)
    recommendations = pa.concat_tables([RECOMMENDATION.empty_table(), *parts])
    embeddings, drift = _embeddings(
        settings, run, inputs.matrix("full_weights")[current], inputs.customers[current]
    )
    for name, table in (("recommendation", recommendations), ("embedding", embeddings)):
        with draft_of(folder / f"{name}.parquet") as draft:
            pq.write_table(table, draft, compression="zstd")
    result = ScoreResult(len(current), recommendations.num_rows, embeddings.num_rows, drift, stayed)
    log.info(
        "%d customers, %d recommendations; %d keep their lists",
        len(current),
        recommendations.num_rows,
        stayed,
    )
    return result


class _Rows:
    """Lists as rows of `RECOMMENDATION`, with their reasons."""

    def __init__(self, settings: Settings, run: Run, inputs: Inputs, bought: csr_matrix) -> None:
        self.customers, self.bought = pa.array(inputs.customers, pa.string()), bought
        self.weights = inputs.matrix("full_weights")
        self.categories = categories_of(settings, run, inputs)
        # Skus first, then categories: one dictionary for what any reason names.
        self.words = pa.array(np.concatenate([inputs.items, self.categories.names]), pa.string())
        self.n_items = len(inputs.items)

    def __call__(self, kind: str, version: str, rows: np.ndarray, listed: Listed, lists: Lists) -> pa.Table:
        index, scores = listed
        found = reasons(
            index, self.weights[rows], self.bought[rows], lists.affinity(self.bought), self.categories.of_item
        )
        valid = index >= 0
        row, rank = np.nonzero(valid)
        because, of = found.kind[valid], found.of[valid]
        named = pa.array(of + np.where(because == CATEGORY, self.n_items, 0), mask=of < 0)
        return pa.table(
            [
                self.customers.take(pa.array(rows[row])),
                pa.repeat(pa.scalar(kind), len(row)),
                pa.array(rank + 1, pa.int32()),
                self.words.take(pa.array(index[valid])),
                pa.array(scores[valid].astype(np.float64)),
                pa.repeat(pa.scalar(version), len(row)),
                pa.array(KINDS, pa.string()).take(pa.array(because)),
                self.words.take(named),
            ],
            schema=RECOMMENDATION,
        )


def _embeddings(
    settings: Settings, run: Run, history: csr_matrix, customers: np.ndarray
) -> tuple[pa.Table, float | None]:
    """Vectors in the axes of the night before, and how far customers moved since."""
    found = serving_version(settings, run, "embedding")
    if found is None:
        return EMBEDDING.empty_table(), None
    version, model = found[0], load(found[1], settings.models.threads, settings.models.device)
    if not model.has_embedding:
        return EMBEDDING.empty_table(), None
    aligned = align_to_last(settings, run, np.asarray(model.embed(history), dtype=np.float32), customers)
    vectors = aligned.vectors
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    table = pa.table(
        [
            pa.array(customers, pa.string()),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel())),
            pa.array([version] * len(customers), pa.string()),
        ],
        schema=EMBEDDING,
    )
    return table, aligned.drift
