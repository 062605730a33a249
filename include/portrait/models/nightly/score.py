"""Recommendations and vectors for every customer, from the models in service."""

import logging
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.models import load
from portrait.models.nightly.alignment import align_to_last
from portrait.models.nightly.inputs import inputs_of, models_folder
from portrait.models.nightly.lists import Listed, open_lists
from portrait.models.nightly.promote import serving_version
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


@dataclass(frozen=True)
class ScoreResult:
    customers: int
    recommendations: int
    embeddings: int
    drift: float | None = None
    """Of the vectors since the night before (`alignment.py`)."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(settings: Settings, run: Run) -> ScoreResult:
    """Write `recommendation.parquet` and `embedding.parquet` of a run.

    `new` recommends items not bought before (viewed ones are welcome), by the model of slot `new`; `again` recommends
    items bought before, by the model of slot `next`.
    """
    inputs = inputs_of(settings, run)
    bought = inputs.matrix("full_bought")
    current = inputs.current
    customers, items = inputs.customers, inputs.items
    k = settings.models.recommendations
    # One ranker often serves both slots, and looking at a night's log takes a while.
    opened = cache(partial(open_lists, settings, run, inputs, "full"))
    parts = []
    if (found := serving_version(settings, run, "new")) is not None:
        version, lists = found[0], opened(found[1])
        parts.append(_rows("new", version, lists(current, k, bought[current]), customers[current], items))
    if (found := serving_version(settings, run, "next")) is not None:
        buyers = current[np.diff(bought.indptr)[current] > 0]
        if len(buyers):
            version, lists = found[0], opened(found[1])
            listed = lists(buyers, k, only=bought[buyers])
            parts.append(_rows("again", version, listed, customers[buyers], items))
    folder = models_folder(settings, run)
    recommendations = pa.concat_tables([RECOMMENDATION.empty_table(), *parts])
    embeddings, drift = _embeddings(settings, run, inputs.matrix("full_weights")[current], customers[current])
    for name, table in (("recommendation", recommendations), ("embedding", embeddings)):
        with draft_of(folder / f"{name}.parquet") as draft:
            pq.write_table(table, draft, compression="zstd")
    result = ScoreResult(len(current), recommendations.num_rows, embeddings.num_rows, drift)
    log.info("%d customers, %d recommendations", result.customers, result.recommendations)
    return result


def _rows(kind: str, version: str, listed: Listed, customers: np.ndarray, items: np.ndarray) -> pa.Table:
    index, scores = listed
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


def _embeddings(
    settings: Settings, run: Run, history: csr_matrix, customers: np.ndarray
) -> tuple[pa.Table, float | None]:
    """Vectors in the axes of the night before, and how far customers moved since."""
    found = serving_version(settings, run, "embedding")
    if found is None:
        return EMBEDDING.empty_table(), None
    version, model = found[0], load(found[1], settings.models.threads)
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
