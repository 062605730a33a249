"""Recommendations and vectors for every customer, from the models in service."""

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.models.base import Recommender
from portrait.models.nightly.inputs import inputs_of, models_folder
from portrait.models.nightly.promote import serving_model
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
    ]
)
EMBEDDING = pa.schema(
    [("customer_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("model_version", pa.string())]
)
_DEPTH = 10
"""`again` is read out of a list so many times as long as what is kept of it."""


@dataclass(frozen=True)
class ScoreResult:
    customers: int
    recommendations: int
    embeddings: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(settings: Settings, run: Run) -> ScoreResult:
    """Write `recommendation.parquet` and `embedding.parquet` of a run.

    `new` recommends items not bought before (viewed ones are welcome), by the model of slot `new`; `again` recommends
    items bought before, by the model of slot `next`.
    """
    inputs = inputs_of(settings, run)
    history, bought = inputs.matrix("full_weights"), inputs.matrix("full_bought")
    current = inputs.current
    history, bought = history[current], bought[current]
    customers, items = inputs.customers[current], inputs.items
    k = settings.models.recommendations
    parts = []
    if (found := serving_model(settings, run, "new")) is not None:
        version, model = found
        index, scores = model.recommend(history, k, exclude=bought)
        parts.append(_rows("new", version, index, scores, customers, items))
    if (found := serving_model(settings, run, "next")) is not None:
        version, model = found
        buyers = np.flatnonzero(np.diff(bought.indptr))
        if len(buyers):
            index, scores = _bought_only(model, history[buyers], bought[buyers], k)
            parts.append(_rows("again", version, index, scores, customers[buyers], items))
    folder = models_folder(settings, run)
    folder.mkdir(parents=True, exist_ok=True)
    recommendations = pa.concat_tables([RECOMMENDATION.empty_table(), *parts])
    embeddings = _embeddings(settings, run, history, customers)
    for name, table in (("recommendation", recommendations), ("embedding", embeddings)):
        draft = folder / f".{name}.parquet"
        pq.write_table(table, draft, compression="zstd")
        draft.replace(folder / f"{name}.parquet")
    result = ScoreResult(len(customers), recommendations.num_rows, embeddings.num_rows)
    log.info("%d customers, %d recommendations", result.customers, result.recommendations)
    return result


def _bought_only(
    model: Recommender, history: csr_matrix, bought: csr_matrix, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `k` bought items of each customer's list, in its order; -1 / -inf where there are fewer."""
    depth = min(_DEPTH * k, history.shape[1])
    index, scores = model.recommend(history, depth, exclude_seen=False)
    owned = csr_matrix(
        (np.ones_like(bought.data, dtype=bool), bought.indices, bought.indptr), shape=bought.shape
    )
    rows = np.repeat(np.arange(len(index)), depth)
    hit = np.asarray(owned[rows, np.maximum(index, 0).ravel()]).reshape(index.shape) & (index >= 0)
    # A stable sort moves the hits to the front and keeps their order.
    order = np.argsort(~hit, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(hit, order, axis=1)
    return (
        np.where(kept, np.take_along_axis(index, order, axis=1), -1),
        np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf),
    )


def _rows(
    kind: str, version: str, index: np.ndarray, scores: np.ndarray, customers: np.ndarray, items: np.ndarray
) -> pa.Table:
    valid = index >= 0
    row, rank = np.nonzero(valid)
    return pa.table(
        [
            pa.array(customers[row], pa.string()),
            pa.array([kind] * len(row), pa.string()),
            pa.array(rank + 1, pa.int32()),
            pa.array(items[index[valid]], pa.string()),
            pa.array(scores[valid].astype(np.float64)),
            pa.array([version] * len(row), pa.string()),
        ],
        schema=RECOMMENDATION,
    )


def _embeddings(settings: Settings, run: Run, history: csr_matrix, customers: np.ndarray) -> pa.Table:
    found = serving_model(settings, run, "embedding")
    if found is None or not found[1].has_embedding:
        return EMBEDDING.empty_table()
    version, model = found
    vectors = np.asarray(model.embed(history), dtype=np.float32)
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    return pa.table(
        [
            pa.array(customers, pa.string()),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel())),
            pa.array([version] * len(customers), pa.string()),
        ],
        schema=EMBEDDING,
    )
