"""Scoring and training speed of the autoencoders beside the machine's own matrix product and a plain dense Mult-VAE.

    python benchmarks/model_speed.py --part scoring                      # 1M customers x 20k items, top 20
    python benchmarks/model_speed.py --part scoring --fraction 0.02      # a fiftieth of the customers
    python benchmarks/model_speed.py --part training --items 20000       # users a second of Mult-VAE 600-200-600
    python benchmarks/model_speed.py --part catalogue                    # an epoch of 1M customers, 100k items, 50M cells

All of it on the CPU. Data are generated: 80 items a customer (50 of the large catalogue), popular ones more often. Each part runs in a process
of its own, whose peak memory (RSS) is printed; the matrix product is measured before, between and after, and the median
counts. Seconds are wall time; `cpu_seconds_a_thread` is processor time by thread, which other work on the machine moves
less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from portrait.models import create
from portrait.models.device import CPU
from portrait.models.mult_vae import MultVae
from portrait.models.precision import item_layer_type
from portrait.models.training import torch_threads
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn import functional as F

CUSTOMERS = 1_000_000
ITEMS_A_CUSTOMER = 80
HIDDEN, LATENT, BATCH = 600, 200, 500
LARGE_CATALOGUE, LARGE_ITEMS_A_CUSTOMER, LARGE_BATCH = 100_000, 50, 2000
PARTS = ("scoring", "training", "catalogue")


def generated(
    customers: int, items: int, seed: int = 0, items_a_customer: int = ITEMS_A_CUSTOMER
) -> csr_matrix:
    """Binary CSR of customers x items, so many draws a row (some fall on the same item)."""
    random = np.random.default_rng(seed)
    indices = np.empty((customers, items_a_customer), dtype=np.int32)
    for start in range(0, customers, 50_000):
        part = indices[start : start + 50_000]
        part[:] = np.minimum(items * random.random(part.shape, dtype=np.float32) ** 2, items - 1)
        part.sort(axis=1)
    pointer = np.arange(customers + 1, dtype=np.int64) * items_a_customer
    matrix = csr_matrix(
        (np.ones(indices.size, np.float32), indices.ravel(), pointer), shape=(customers, items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def seconds(action: Callable[[], object], times: int) -> float:
    """Median of several calls after one that is not counted."""
    action()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def product_rate(
    rows: int, inner: int, columns: int, times: int = 7, kind: torch.dtype = torch.float32
) -> float:
    """Floating-point operations a second of [rows, inner] @ [inner, columns]."""
    left, right = torch.randn(rows, inner).to(kind), torch.randn(columns, inner).t().to(kind)
    out = torch.empty(rows, columns, dtype=kind)
    return 2.0 * rows * inner * columns / seconds(lambda: torch.mm(left, right, out=out), times)


def processor_rate(rows: int, inner: int, columns: int, times: int = 10) -> float:
    """As `product_rate` of float32, by processor time of all threads."""
    left, right, out = torch.randn(rows, inner), torch.randn(columns, inner).t(), torch.empty(rows, columns)
    torch.mm(left, right, out=out)
    started = time.process_time()
    for _ in range(times):
        torch.mm(left, right, out=out)
    return 2.0 * rows * inner * columns * times / (time.process_time() - started)


def scoring(items: int, fraction: float, repeats: int) -> dict[str, float]:
    """Top 20 of all customers without what they have, against the decoder's matrix product alone."""
    customers = int(CUSTOMERS * fraction)
    history = generated(customers, items)
    model = create("mult_dae", latent=LATENT, epochs=1, batch_size=2000, device="cpu").fit(history[:4000])
    rates, taken, processor, used = [product_rate(500, LATENT, items)], [], [], []
    for _ in range(repeats):
        processor.append(processor_rate(500, LATENT, items))
        started, begun = time.perf_counter(), time.process_time()
        model.recommend(history, 20)
        taken.append(time.perf_counter() - started)
        used.append(time.process_time() - begun)
        rates.append(product_rate(500, LATENT, items))
    spent = statistics.median(taken)
    rate = statistics.median(rates)
    work = 2.0 * customers * LATENT * items
    reached = work / spent
    return {
        "customers": customers,
        "items": items,
        "seconds": spent,
        "customers_a_second": customers / spent,
        "product_gflops": rate / 1e9,
        "scoring_gflops": reached / 1e9,
        "share_of_product": reached / rate,
        "cpu_seconds": statistics.median(used),
        "share_of_product_by_processor_time": work / statistics.median(used) / statistics.median(processor),
        "bfloat16_product_gflops": product_rate(500, LATENT, items, kind=torch.bfloat16) / 1e9,
    }


class DenseVae(nn.Module):
    """Mult-VAE as a notebook has it: dense rows in, log softmax times the dense row."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.to_hidden, self.to_latent = nn.Linear(items, HIDDEN), nn.Linear(HIDDEN, 2 * LATENT)
        self.from_latent, self.to_items = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, items)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        inputs = F.dropout(F.normalize(rows), 0.5)
        mean, log_variance = self.to_latent(torch.tanh(self.to_hidden(inputs))).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        logits = self.to_items(torch.tanh(self.from_latent(latent)))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return (0.2 * divergence - (F.log_softmax(logits, dim=1) * rows).sum(dim=1)).mean()


def dense_epoch(matrix: csr_matrix) -> None:
    """One pass of the plain model over all rows."""
    model = DenseVae(matrix.shape[1])
    optimiser = torch.optim.Adam(model.parameters())
    for start in range(0, matrix.shape[0], BATCH):
        loss = model.loss(torch.from_numpy(matrix[start : start + BATCH].toarray()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def training(items: int, fraction: float, repeats: int) -> dict[str, float | str]:
    """Users a second of one epoch of both, alternately, and the ceiling that the matrix product sets."""
    customers = max(BATCH, int(116_000 * fraction) // BATCH * BATCH)
    matrix = generated(customers, items)
    kind = item_layer_type("auto", HIDDEN * items, CPU)
    spent: dict[str, list[float]] = {"ours": [], "float32": [], "plain": []}
    busy: dict[str, list[float]] = {"ours": [], "float32": [], "plain": []}
    rates = []
    epochs = {
        "ours": lambda rows: our_epoch(rows, "auto"),
        "float32": lambda rows: our_epoch(rows, "float32"),
        "plain": dense_epoch,
    }
    for epoch in epochs.values():
        epoch(matrix[: 2 * BATCH])  # the first products of a kind are compiled: a second that is not counted
    for _ in range(repeats):
        rates.append(product_rate(BATCH, HIDDEN, items, kind=kind))
        for name, epoch in epochs.items():
            started, worked = time.perf_counter(), time.process_time()
            epoch(matrix)
            spent[name].append(time.perf_counter() - started)
            busy[name].append((time.process_time() - worked) / torch.get_num_threads())
    rate = statistics.median(rates)
    users = {name: customers / statistics.median(seconds) for name, seconds in spent.items()}
    # Forward, gradient of the input and gradient of the weights of the item layer: three products.
    return {
        "customers": customers,
        "items": items,
        "threads": torch.get_num_threads(),
        "item_layer": str(kind).removeprefix("torch."),
        "users_a_second": users["ours"],
        "float32_users_a_second": users["float32"],
        "plain_users_a_second": users["plain"],
        "ratio": users["ours"] / users["plain"],
        "ceiling_users_a_second": rate / (3 * 2.0 * HIDDEN * items),
        "product_gflops": rate / 1e9,
        **{f"cpu_seconds_a_thread_{name}": statistics.median(seconds) for name, seconds in busy.items()},
    }


def our_epoch(matrix: csr_matrix, precision: str) -> None:
    MultVae(
        hidden=HIDDEN,
        latent=LATENT,
        batch_size=BATCH,
        epochs=1,
        precision=precision,
        threads=torch.get_num_threads(),
        device="cpu",
    ).fit(matrix)


def catalogue(items: int, fraction: float, repeats: int) -> dict[str, float | str]:
    """One epoch of Mult-VAE by the sampled softmax, on a catalogue of 100,000 items whatever `items` says."""
    customers = max(LARGE_BATCH, int(CUSTOMERS * fraction) // LARGE_BATCH * LARGE_BATCH)
    matrix = generated(customers, LARGE_CATALOGUE, items_a_customer=LARGE_ITEMS_A_CUSTOMER)
    started, worked = time.perf_counter(), time.process_time()
    MultVae(
        hidden=HIDDEN,
        latent=LATENT,
        batch_size=LARGE_BATCH,
        epochs=1,
        threads=torch.get_num_threads(),
        device="cpu",
    ).fit(matrix)
    spent = time.perf_counter() - started
    return {
        "customers": customers,
        "items": LARGE_CATALOGUE,
        "interactions": matrix.nnz,
        "seconds": spent,
        "minutes_for_a_million": spent / 60 * CUSTOMERS / customers,
        "cpu_seconds_a_thread": (time.process_time() - worked) / torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the customers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: the cores this process may run on")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.in_process:
        for part in options.part or PARTS:
            given = ["--items", str(options.items), "--fraction", str(options.fraction)]
            given += ["--threads", str(options.threads)]
            command = [sys.executable, __file__, "--in-process", "--part", part, *given]
            subprocess.run([*command, "--repeats", str(options.repeats)], check=True)
        return
    with torch_threads(options.threads):
        measure = {"scoring": scoring, "training": training, "catalogue": catalogue}[options.part[0]]
        found = measure(options.items, options.fraction, options.repeats)
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        options.part[0],
        json.dumps({k: v if isinstance(v, str) else round(v, 3) for k, v in found.items()}, indent=2),
    )


if __name__ == "__main__":
    main()
