"""How good and how fast the text vectors are.

    python benchmarks/text.py                 # quality: skip-gram beside TF-IDF, simulated retailer
    python benchmarks/text.py --scale         # time and memory at 1M customers, 20k products, 5M (customer, query) pairs

One thread for what has more: OMP_NUM_THREADS=1.
"""

import argparse
import collections
import logging
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from portrait.config.text import TextConfig
from portrait.features.text import TextModel, product_vectors, touches, train_text, write_text
from portrait.simulate import Retailer
from portrait.simulate.assortment import Assortment, build_assortment
from scipy.sparse import load_npz, save_npz

NAMES = ["name", "name_zh"]
ALL = [*NAMES, "brand", "category_1", "category_2", "category_3"]
SEARCHES = 20_000


def searches(assortment: Assortment, rng: np.random.Generator, n: int = SEARCHES) -> pa.Table:
    """Queries as the simulated retailer's customers type them: query, count."""
    popularity = np.diff(assortment.cumulative[: assortment.size], prepend=0)
    item = rng.choice(assortment.size, n, p=popularity / popularity.sum())
    texts = assortment.queries.take(
        pa.array(item * 4 + rng.choice(4, n, p=[0.3, 0.35, 0.15, 0.2]))
    ).to_pylist()
    counts = collections.Counter(texts)
    return pa.table({"query": list(counts), "count": list(counts.values())})


def in_one_language(products: pa.Table, rng: np.random.Generator) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """A quarter of the products named only in English, a quarter only in Chinese; which they are."""
    draw = rng.random(products.num_rows)
    english, chinese = draw < 0.25, (draw >= 0.25) & (draw < 0.5)
    columns = {
        "name": pa.array(products["name"].to_pylist(), mask=chinese),
        "name_zh": pa.array(products["name_zh"].to_pylist(), mask=english),
    }
    return pa.table(columns), english, chinese


def same_category(vectors: np.ndarray, category: np.ndarray, k: int = 10) -> tuple[float, float]:
    """Share of the k nearest that have the product's category, and of products drawn by chance."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    chance = np.mean([(category == c).sum() - 1 for c in category]) / (len(category) - 1)
    return float((category[nearest] == category[:, None]).mean()), float(chance)


def found(model: TextModel, queries: dict[int, str], vectors: np.ndarray, category: np.ndarray) -> float:
    """Recall of the products of a query's category among as many as there are (R-precision), mean over queries."""
    shares = []
    for code, query in queries.items():
        relevant = category == code
        if relevant.any():
            best = np.argsort(-(vectors @ model.embed([query])[0]), kind="stable")[: relevant.sum()]
            shares.append(relevant[best].mean())
    return float(np.mean(shares))


def quality(products: int, method: str, seed: int = 7) -> dict[str, float]:
    """Figures of one method on one size."""
    assortment = build_assortment(Retailer(products=products, seed=seed))
    shelf = np.asarray(assortment.shelf)
    leaf = shelf * 10 + np.asarray(assortment.leaf)
    asked = searches(assortment, np.random.default_rng(0))
    config = TextConfig(method=method, min_words=100)
    figures: dict[str, float] = {}
    for label, columns in (("names", NAMES), ("names, brand, categories", ALL)):
        table = assortment.table.select(columns)
        model = train_text(table, asked, config, seed)
        share, chance = same_category(product_vectors(model, table), shelf)
        figures |= {f"same category, {label}": share, "by chance": chance}
    texts = assortment.queries.to_pylist()
    one, english, chinese = in_one_language(assortment.table, np.random.default_rng(5))
    model = train_text(one, asked, config, seed)
    vectors = product_vectors(model, one)
    first = {int(leaf[i]): i for i in range(products - 1, -1, -1)}
    for label, form, among in (
        ("Chinese query, products named in English", 1, english),
        ("English query, products named in Chinese", 0, chinese),
    ):
        queries = {code: texts[i * 4 + form] for code, i in first.items()}
        figures[label] = found(model, queries, vectors[among], leaf[among])
    return figures


def write_inputs(folder: Path, customers: int, products: int, pairs: int, queries: int) -> None:
    """Inputs of `write_text`, by a process of their own, whose memory does not count."""
    rng = np.random.default_rng(1)
    assortment = build_assortment(Retailer(customers=customers, products=products))
    base = searches(assortment, rng, 2_000_000)
    typed = base["query"].to_pylist()
    # Real queries have a long tail: here two queries and a number that nobody else typed.
    extra = rng.integers(0, len(typed), queries - len(typed)).tolist()
    tail = [f"{typed[x]} {typed[(x * 7 + 3) % len(typed)]} {i}" for i, x in enumerate(extra)]
    counts = base["count"].to_pylist() + [1 + i % 4 for i in range(len(tail))]
    pq.write_table(pa.table({"query": typed + tail, "count": counts}), folder / "queries.parquet")
    pq.write_table(assortment.table.select(["sku", *ALL]), folder / "products.parquet")
    for name, columns, cells in (("searched", queries, pairs), ("touched", products, 2 * pairs)):
        place = rng.integers(0, customers, cells), rng.integers(0, columns, cells)
        save_npz(
            folder / f"{name}.npz", touches(*place, rng.random(cells), (customers, columns)), compressed=False
        )


def scale(
    customers: int = 1_000_000, products: int = 20_000, pairs: int = 5_000_000, queries: int = 300_000
) -> None:
    """Time and peak memory of everything that `write_text` does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(
            target=write_inputs, args=(folder, customers, products, pairs, queries)
        )
        maker.start()
        maker.join()
        inputs = {k: pq.read_table(folder / f"{k}.parquet") for k in ("products", "queries")}
        weights = {k: load_npz(folder / f"{k}.npz") for k in ("searched", "touched")}
        ids = pa.array([f"C{i:016x}" for i in range(customers)])
        before = psutil.Process().memory_info().rss / 2**20
        started, busy = time.monotonic(), time.process_time()
        result = write_text(folder / "text", TextConfig(), 7, **inputs, **weights, customers=ids)
        seconds, busy = time.monotonic() - started, time.process_time() - busy
        size = sum(p.stat().st_size for p in (folder / "text").rglob("*") if p.is_file()) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(result)
    print(
        f"{seconds:.1f} s, {busy:.1f} s of processor time, peak {peak:.0f} MiB ({before:.0f} MiB before), {size:.0f} MiB written"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", action="store_true", help="time and memory instead of quality")
    parser.add_argument("--products", type=int, nargs="+", default=[600, 2000])
    arguments = parser.parse_args()
    if arguments.scale:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        scale()
        return
    for products in arguments.products:
        print(f"{products} products")
        for method in ("fasttext", "tfidf"):
            print(f"  {method}: " + "; ".join(f"{k} {v:.3f}" for k, v in quality(products, method).items()))


if __name__ == "__main__":
    main()
