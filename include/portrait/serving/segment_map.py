"""The night's customers as points: their vectors seen from the two directions in which they differ most."""

from collections.abc import Sequence
from typing import Any

import numpy as np

POINTS = 2000


def project(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    """float [n, 2]: principal components of the unit vectors (what the segments were made of), each within -1 and 1.

    The sign of a component is arbitrary; the largest coordinate is made positive, so that a page drawn twice is the same.
    """
    matrix = np.asarray(vectors, dtype=np.float64)
    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    centred = unit - unit.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(matrix), 2))
    found = centred @ directions[:2].T
    points[:, : found.shape[1]] = found
    for column in points.T:
        column *= 1.0 if column[np.argmax(np.abs(column))] >= 0 else -1.0
        column /= max(float(np.abs(column).max()), 1e-12)
    return points


def as_points(rows: Sequence[Any]) -> list[list[Any]]:
    """[x, y, segment id] of each row (segment_id, embedding as a list)."""
    if not rows:
        return []
    points = project([r["vector"] for r in rows])
    return [
        [round(float(x), 4), round(float(y), 4), r["segment_id"]]
        for (x, y), r in zip(points, rows, strict=True)
    ]
