"""Turning tonight's customer vectors into the axes of the night before.

A model that is trained anew finds a like space turned and mirrored. A rotation changes no distance within a night, and
makes vectors of two nights comparable: segments and charts stay where they were.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.linalg import orthogonal_procrustes

from portrait.config import Settings
from portrait.models.nightly.inputs import published_before
from portrait.run import Run

log = logging.getLogger(__name__)

STABLE = 0.5
"""Share of the common customers, those who moved least, whom the final rotation is fitted on."""


@dataclass(frozen=True)
class Aligned:
    """Vectors in the axes of an earlier run.

    Attributes
    ----------
    vectors : float32 [n, d]
    drift : 1 - mean cosine of a common customer's two vectors after the rotation; None without an earlier run.
    before : the same without the rotation.
    to : the earlier run.
    """

    vectors: np.ndarray
    drift: float | None = None
    before: float | None = None
    to: str | None = None


def align_to_last(settings: Settings, run: Run, vectors: np.ndarray, customers: np.ndarray) -> Aligned:
    """Rotate the vectors of `customers` (object [n]) to those of the last run published for an earlier date.

    Orthogonal Procrustes (Schönemann 1966) on the customers of both nights, fitted twice: the second time on the half
    that the first rotation brought nearest, so that those who changed do not turn the rest. Vectors stay as they are
    where there is no earlier run, its vectors have another length, or there are fewer than twice as many common
    customers as dimensions.
    """
    earlier = published_before(settings, run)
    if earlier is None:
        return Aligned(vectors)
    path = settings.run_dir(earlier) / "models" / "embedding.parquet"
    if not path.is_file():
        return Aligned(vectors)
    former = pq.read_table(path, columns=["customer_id", "embedding"])
    place = pc.index_in(pa.array(customers, pa.string()), value_set=former["customer_id"].combine_chunks())
    common = place.is_valid().to_numpy(zero_copy_only=False)
    flat = former["embedding"].combine_chunks().flatten().to_numpy()
    width = vectors.shape[1]
    if common.sum() < 2 * width or len(flat) != former.num_rows * width:
        return Aligned(vectors)
    old = flat.reshape(-1, width)[place.filter(place.is_valid()).to_numpy()]
    rotation = procrustes(vectors[common], old)
    turned = (vectors @ rotation).astype(np.float32)
    result = Aligned(turned, _drift(turned[common], old), _drift(vectors[common], old), earlier)
    log.info("vectors turned to %s: drift %.3f, without %.3f", result.to, result.drift, result.before)
    return result


def procrustes(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """float64 [d, d], orthogonal: `new @ rotation` is nearest to `old` for the customers who changed least."""
    rotation, _ = orthogonal_procrustes(new.astype(np.float64), old.astype(np.float64))
    distance = np.linalg.norm(new @ rotation - old, axis=1)
    stable = distance <= np.quantile(distance, STABLE)
    if stable.sum() < 2 * new.shape[1]:
        return np.asarray(rotation)
    rotation, _ = orthogonal_procrustes(new[stable].astype(np.float64), old[stable].astype(np.float64))
    return np.asarray(rotation)


def _drift(new: np.ndarray, old: np.ndarray) -> float:
    length = np.linalg.norm(new, axis=1) * np.linalg.norm(old, axis=1)
    known = length > 0
    if not known.any():
        return 0.0
    return float(1 - ((new * old).sum(axis=1)[known] / length[known]).mean())
