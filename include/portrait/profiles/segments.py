"""Groups of customers with alike embeddings, numbered as they were last night."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from portrait.profiles.inputs import Embeddings
from portrait.profiles.segment_names import name_segments

log = logging.getLogger(__name__)

MINI_BATCH_ABOVE = 200_000
"""Customers above which k-means sees samples instead of everybody in every step."""


@dataclass(frozen=True)
class Clusters:
    """A partition of the customers.

    Attributes
    ----------
    labels : int32 [n], 0 is the largest cluster.
    centres : float32 [k, d], in the normalised space.
    distances : float32 [n], Euclidean, to the own centre.
    """

    labels: np.ndarray
    centres: np.ndarray
    distances: np.ndarray


def normalise(embeddings: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that Euclidean distance orders as cosine distance does; a zero row stays zero."""
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.where(length > 0, length, 1)).astype(np.float32)


def cluster(embeddings: np.ndarray, k: int, seed: int) -> Clusters:
    """K-means on normalised embeddings.

    Parameters
    ----------
    embeddings : float [n, d], n >= 1, finite.
    k : clusters wanted; never more than there are distinct customers.
    seed : the same seed and rows give the same clusters (one thread: sums keep their order).
    """
    points = normalise(embeddings)
    k = _distinct_rows(points, k)
    if len(points) > MINI_BATCH_ABOVE:
        model = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=8192)
    else:
        model = KMeans(k, random_state=seed, n_init=4)
    with threadpool_limits(limits=1):
        labels = model.fit_predict(points)
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    position = np.empty(k, dtype=np.int32)
    position[order] = np.arange(k, dtype=np.int32)
    labels, centres = position[labels], model.cluster_centers_[order].astype(np.float32)
    distances = np.linalg.norm(points - centres[labels], axis=1)
    return Clusters(labels, centres, distances)


def _distinct_rows(points: np.ndarray, enough: int) -> int:
    """Number of distinct rows, counted up to `enough`."""
    seen: set[bytes] = set()
    for row in points:
        seen.add(row.tobytes())
        if len(seen) == enough:
            break
    return len(seen)


def match_numbers(customers: Sequence[str], labels: np.ndarray, previous: pd.Series) -> list[int]:
    """The segment number of each cluster, such that last night's segments keep theirs.

    Embeddings of two trainings cannot be compared, customers can: clusters are assigned to last night's
    segments so that as many customers as possible keep their number (Hungarian method on the contingency
    table). A cluster that shares nobody with its segment gets a number not in use last night.

    Parameters
    ----------
    customers : customer_id of each label.
    labels : int [n]; every one of 0 to k - 1 occurs.
    previous : last night's number, indexed by customer_id; empty on the first night, which counts from 1.

    Returns
    -------
    list of k numbers, by label.
    """
    k = int(labels.max()) + 1
    before = previous.reindex(customers).to_numpy(dtype="float64")
    known = ~np.isnan(before)
    old_numbers, column = np.unique(before[known].astype(int), return_inverse=True)
    shared = np.zeros((k, len(old_numbers)), dtype=np.int64)
    np.add.at(shared, (labels[known], column), 1)
    pairs = zip(*linear_sum_assignment(shared, maximize=True), strict=True)
    kept = {int(label): int(c) for label, c in pairs if shared[label, c] > 0}
    fresh = itertools.count(int(previous.max()) + 1 if len(previous) else 1)
    same = sum(int(shared[label, c]) for label, c in kept.items())
    log.info("%d segments; %d of %d known customers keep their number", k, same, int(known.sum()))
    return [int(old_numbers[kept[label]]) if label in kept else next(fresh) for label in range(k)]


def segment_tables(
    embeddings: Embeddings, profile: pd.DataFrame, previous: pd.Series, k: int, seed: int
) -> tuple[pa.Table, pa.Table]:
    """The segment of each customer, and the segments themselves.

    Parameters
    ----------
    embeddings : at least one.
    profile : customer_id and the columns `name_segments` reads.
    previous : last night's segment number, indexed by customer_id.

    Returns
    -------
    customer_id, segment_id, segment_name, distance; one row a customer.
    segment_id, segment_name, customers, centre (list<float32>, normalised space); one row a segment.
    """
    clusters = cluster(embeddings.matrix, k, seed)
    numbers = np.array(match_numbers(embeddings.customers, clusters.labels, previous), dtype=np.int32)
    members = pd.DataFrame({"customer_id": embeddings.customers, "segment_id": numbers[clusters.labels]})
    names = name_segments(members.merge(profile, on="customer_id", how="left"))
    by_customer = pa.table(
        {
            "customer_id": embeddings.table["customer_id"],
            "segment_id": pa.array(members["segment_id"], pa.int32()),
            "segment_name": pa.array([names[n] for n in members["segment_id"].tolist()], pa.string()),
            "distance": pa.array(clusters.distances, pa.float64()),
        }
    )
    centres = pa.table(
        {
            "segment_id": pa.array(numbers),
            "segment_name": pa.array([names[n] for n in numbers.tolist()], pa.string()),
            "customers": pa.array(np.bincount(clusters.labels, minlength=len(numbers)), pa.int64()),
            "centre": pa.array(list(clusters.centres), pa.list_(pa.float32())),
        }
    )
    return by_customer, centres.sort_by("segment_id")
