"""The models on MovieLens-1M in Liang et al.'s strong-generalisation split: quality and training time.

    PORTRAIT_BENCHMARK_DATA=../shared/data python benchmarks/models.py [model ...]

ease's lambda was chosen on the validation customers; the others run on their defaults. Expected NDCG@100
on test: popularity .2235, ease .4266, multvae about .40-.415; the standard error is .0074.
"""

import argparse
import csv
import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
from portrait.models import REGISTRY, create
from portrait.models.evaluation import strong_generalisation
from scipy.sparse import csr_matrix

SETTINGS: dict[str, dict[str, object]] = {"ease": {"regularisation": 700.0}}
FIGURES = (("ndcg", 100), ("recall", 20), ("recall", 50))


def data_folder() -> Path:
    """Where ml1m_a should be, by the environment."""
    return Path(os.environ.get("PORTRAIT_BENCHMARK_DATA", "../shared/data")) / "ml1m_a"


def read_matrices(folder: Path, *names: str) -> list[csr_matrix]:
    """`uid,sid` files as binary matrices with the same columns; files that belong together share rows."""
    pairs = {}
    for name in names:
        with (folder / f"{name}.csv").open(encoding="utf-8") as file:
            rows = csv.reader(file)
            next(rows)
            pairs[name] = np.array([(int(u), int(i)) for u, i in rows])
    n_items = 1 + max(p[:, 1].max() for p in pairs.values())
    groups: dict[str, set[int]] = {}
    for name, p in pairs.items():
        groups.setdefault(name.split("_")[0], set()).update(p[:, 0].tolist())
    matrices = []
    for name, p in pairs.items():
        users = np.array(sorted(groups[name.split("_")[0]]))
        ones = np.ones(len(p), dtype=np.float32)
        at = (np.searchsorted(users, p[:, 0]), p[:, 1])
        matrices.append(csr_matrix((ones, at), shape=(len(users), n_items)))
    return matrices


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="*", help=f"of {', '.join(REGISTRY)}; all without any")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="log every epoch")
    arguments = parser.parse_args()
    if arguments.verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = data_folder()
    if not folder.is_dir():
        print(f"{folder} is absent: set PORTRAIT_BENCHMARK_DATA to the folder that holds ml1m_a")
        return 2
    names = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
    train, validation_tr, validation_te, test_tr, test_te = read_matrices(folder, *names)
    print(f"{'model':<12}{'NDCG@100':>18}{'Recall@20':>18}{'Recall@50':>18}{'training':>10}")
    for name in arguments.model or REGISTRY:
        model = create(name, **SETTINGS.get(name, {}))
        started = time.monotonic()
        model.fit(train, (validation_tr, validation_te), arguments.seed)
        seconds = time.monotonic() - started
        result = strong_generalisation(model, None, test_tr, test_te)
        found = {(m.metric, m.k): f"{m.value:.4f} +- {m.standard_error:.4f}" for m in result.metrics}
        print(f"{name:<12}" + "".join(f"{found[f]:>18}" for f in FIGURES) + f"{seconds:>8.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
