"""The item layer's likelihood against torch's own softmax and automatic gradient."""

import numpy as np
import pytest
import torch
from portrait.models import create
from portrait.models import item_softmax as module
from portrait.models.device import CPU
from portrait.models.item_softmax import item_log_likelihood
from portrait.models.multinomial import SparseLinear
from portrait.models.precision import item_layer_type
from portrait.models.training import sparse_batch
from scipy.sparse import csr_matrix
from torch.nn import functional as F

N_ITEMS, WIDTH = 60, 8
COUNTS = csr_matrix((np.random.default_rng(0).random((7, N_ITEMS)) < 0.1) * np.float32(1.5))


def layer() -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    sizes = ((COUNTS.shape[0], WIDTH), (N_ITEMS, WIDTH), (N_ITEMS,))
    return tuple(torch.randn(s, generator=random).requires_grad_() for s in sizes)


def by_torch(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Dense: counts times log softmax."""
    return (torch.log_softmax(F.linear(hidden, weight, bias), dim=1) * torch.tensor(COUNTS.toarray())).sum(1)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["float32", "bfloat16"]
)
def test_value_and_gradient(kind: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an upstream gradient of each customer's own, and logits taken three customers at a time."""
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 3 * N_ITEMS)
    of_customer = torch.linspace(-1, 2, COUNTS.shape[0])
    inputs = layer()
    expected = by_torch(*inputs)
    found = item_log_likelihood(*inputs, sparse_batch(COUNTS), kind)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * 10)
    theirs = torch.autograd.grad((expected * of_customer).sum(), inputs)
    ours = torch.autograd.grad((found * of_customer).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < tolerance * other.norm()


def test_a_frozen_layer_gets_no_gradient() -> None:
    hidden, weight, bias = layer()
    found = item_log_likelihood(hidden, weight.detach(), bias.detach(), sparse_batch(COUNTS))
    (ours,) = torch.autograd.grad(found.sum(), hidden)
    (theirs,) = torch.autograd.grad(by_torch(hidden, weight.detach(), bias.detach()).sum(), hidden)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_large_bias_keeps_its_digits_in_bfloat16() -> None:
    """-10.02 and -9.98 are one number in bfloat16: the bias must not go through it."""
    hidden, weight = torch.zeros(1, WIDTH), torch.zeros(2, WIDTH)
    bias = torch.tensor([-10.02, -9.98])
    counts = sparse_batch(csr_matrix(np.array([[1.0, 0.0]], np.float32)))
    found = item_log_likelihood(hidden, weight, bias, counts, torch.bfloat16)
    assert found.item() == pytest.approx(-np.log(1 + np.exp(0.04)), abs=1e-5)


def test_the_first_layer_adds_up_item_vectors() -> None:
    """Value and gradient of the sparse layer are those of a dense product; an empty row is the bias."""
    rows = COUNTS.copy().tolil()
    rows[2] = 0
    matrix = csr_matrix(rows, dtype=np.float32)
    first = SparseLinear(N_ITEMS, WIDTH)
    batch = sparse_batch(matrix)
    dense = torch.tensor(matrix.toarray()) @ first.item_vectors.weight + first.bias
    found = first(batch, batch.weights)
    torch.testing.assert_close(found, dense)
    upstream = torch.arange(float(dense.numel())).view_as(dense)
    ours = torch.autograd.grad((found * upstream).sum(), list(first.parameters()))
    theirs = torch.autograd.grad((dense * upstream).sum(), list(first.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("precision", "weights", "unit", "expected"),
    [
        ("auto", 12_000_000, "amx_bf16", torch.bfloat16),
        ("auto", 12_000_000, "avx512_bf16", torch.bfloat16),
        ("auto", 12_000_000, "avx512_f", torch.float32),
        ("auto", 1000, "amx_bf16", torch.float32),
        ("float32", 12_000_000, "amx_bf16", torch.float32),
        ("bfloat16", 1000, "avx512_f", torch.bfloat16),
    ],
)
def test_precision(
    precision: str, weights: int, unit: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = dict.fromkeys(("amx_bf16", "avx512_bf16", "avx512_f"), False) | {unit: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert item_layer_type(precision, weights, CPU) == expected


def test_a_model_learns_the_same_tastes_in_bfloat16(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    params = {"latent": 8, "batch_size": 16, "epochs": 6, "learning_rate": 0.01, "threads": 1}
    scores = [
        create("mult_dae", precision=p, **params).fit(train, validation, seed=3).log_[-1]["score"]  # type: ignore[attr-defined]
        for p in ("float32", "bfloat16")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.03)
    assert scores[0] > 0.7
