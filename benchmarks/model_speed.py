"""Scoring and training speed of the autoencoders beside the machine's own matrix product and a plain dense Mult-VAE.

    python benchmarks/model_speed.py --part scoring                      # 1M customers x 20k items, top 20
    python benchmarks/model_speed.py --part scoring --fraction 0.02      # a fiftieth of the customers
    python benchmarks/model_speed.py --part training --items 20000       # users a second of Mult-VAE 600-200-600

Data are generated: 80 items a customer, popular ones more often. Each part runs in a process of its own, whose peak
memory (RSS) is printed; the matrix product is measured before, between and after, and the median counts.
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
from portrait.models.mult_vae import MultVae
from portrait.models.training import torch_threads
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn import functional as F

CUSTOMERS = 1_000_000
ITEMS_A_CUSTOMER = 80
HIDDEN, LATENT, BATCH = 600, 200, 500
PARTS = ("scoring", "training")


def generated(customers: int, items: int, seed: int = 0) -> csr_matrix:
    """Binary CSR of customers x items, `ITEMS_A_CUSTOMER` draws a row (some fall on the same item)."""
    random = np.random.default_rng(seed)
    indices = np.empty((customers, ITEMS_A_CUSTOMER), dtype=np.int32)
    for start in range(0, customers, 50_000):
        part = indices[start : start + 50_000]
        part[:] = np.minimum(items * random.random(part.shape, dtype=np.float32) ** 2, items - 1)
        part.sort(axis=1)
    pointer = np.arange(customers + 1, dtype=np.int64) * ITEMS_A_CUSTOMER
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


def product_rate(rows: int, inner: int, columns: int, times: int = 7) -> float:
    """Floating-point operations a second of float32 [rows, inner] @ [inner, columns]."""
    left, right, out = torch.randn(rows, inner), torch.randn(columns, inner).t(), torch.empty(rows, columns)
    return 2.0 * rows * inner * columns / seconds(lambda: torch.mm(left, right, out=out), times)


def scoring(items: int, fraction: float, repeats: int) -> dict[str, float]:
    """Top 20 of all customers without what they have, against the decoder's matrix product alone."""
    customers = int(CUSTOMERS * fraction)
    history = generated(customers, items)
    model = create("mult_dae", latent=LATENT, epochs=1, batch_size=2000).fit(history[:4000])
    rates, taken = [product_rate(500, LATENT, items)], []
    for _ in range(repeats):
        started = time.perf_counter()
        model.recommend(history, 20)
        taken.append(time.perf_counter() - started)
        rates.append(product_rate(500, LATENT, items))
    spent = statistics.median(taken)
    rate = statistics.median(rates)
    reached = 2.0 * customers * LATENT * items / spent
    return {
        "customers": customers,
        "items": items,
        "seconds": spent,
        "customers_a_second": customers / spent,
        "product_gflops": rate / 1e9,
        "scoring_gflops": reached / 1e9,
        "share_of_product": reached / rate,
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


def training(items: int, fraction: float, repeats: int) -> dict[str, float]:
    """Users a second of one epoch of both, alternately, and the ceiling that the matrix product sets."""
    customers = max(BATCH, int(116_000 * fraction) // BATCH * BATCH)
    matrix = generated(customers, items)
    ours, plain, rates = [], [], []
    for _ in range(repeats):
        rates.append(product_rate(BATCH, HIDDEN, items))
        started = time.perf_counter()
        MultVae(hidden=HIDDEN, latent=LATENT, batch_size=BATCH, epochs=1).fit(matrix)
        ours.append(customers / (time.perf_counter() - started))
        started = time.perf_counter()
        dense_epoch(matrix)
        plain.append(customers / (time.perf_counter() - started))
    rate = statistics.median(rates)
    # Forward, gradient of the input and gradient of the weights of the item layer: three products.
    return {
        "customers": customers,
        "items": items,
        "users_a_second": statistics.median(ours),
        "plain_users_a_second": statistics.median(plain),
        "ratio": statistics.median(ours) / statistics.median(plain),
        "ceiling_users_a_second": rate / (3 * 2.0 * HIDDEN * items),
        "product_gflops": rate / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the customers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.in_process:
        for part in options.part or PARTS:
            given = ["--items", str(options.items), "--fraction", str(options.fraction)]
            command = [sys.executable, __file__, "--in-process", "--part", part, *given]
            subprocess.run([*command, "--repeats", str(options.repeats)], check=True)
        return
    with torch_threads(0):
        measure = {"scoring": scoring, "training": training}[options.part[0]]
        found = measure(options.items, options.fraction, options.repeats)
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(options.part[0], json.dumps({k: round(v, 3) for k, v in found.items()}, indent=2))


if __name__ == "__main__":
    main()
