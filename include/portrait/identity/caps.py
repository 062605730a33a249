"""Values shared by too many people to link anybody: a till's own phone, a family tablet."""

import numpy as np
import pyarrow as pa

from portrait.config import IdentityConfig
from portrait.identity.graph import Graph

AUDIT = pa.schema(
    {
        "kind": pa.string(),
        "value": pa.string(),
        "touched_kind": pa.string(),
        "touched": pa.int64(),
        "cap": pa.int64(),
    }
)


def over_caps(graph: Graph, config: IdentityConfig) -> tuple[np.ndarray, pa.Table]:
    """Find the identifiers that met more than their cap allows.

    Returns
    -------
    demoted : bool [n].
    audit : one row for each demoted value and cap that it broke, columns of `AUDIT`.
    """
    demoted = np.zeros(graph.size, dtype=bool)
    found = [AUDIT.empty_table()]
    for kind, caps in config.caps.items():
        for cap in caps:
            touched = np.where(graph.codes(kind), touches(graph, cap.of), 0)
            over = touched > cap.limit
            demoted |= over
            count = int(over.sum())
            found.append(
                graph.table.filter(pa.array(over))
                .append_column("touched_kind", pa.array([cap.of] * count, pa.string()))
                .append_column("touched", pa.array(touched[over], pa.int64()))
                .append_column("cap", pa.array([cap.limit] * count, pa.int64()))
                .cast(AUDIT)
            )
    return demoted, pa.concat_tables(found)


def touches(graph: Graph, kind: str) -> np.ndarray:
    """int64 [n]: how many distinct identifiers of a kind each identifier has met."""
    of_kind = graph.codes(kind)
    return np.asarray(
        np.bincount(graph.left[of_kind[graph.right]], minlength=graph.size)
        + np.bincount(graph.right[of_kind[graph.left]], minlength=graph.size)
    )
