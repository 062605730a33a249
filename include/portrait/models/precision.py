"""In which numbers the products of the item layer are computed."""

import torch

PRECISIONS = ("auto", "float32", "bfloat16")

UNITS = ("amx_bf16", "avx512_bf16")

WORTH_NARROWING = 500_000
"""Weights of an item layer from which `auto` narrows: below it the product is too small a part of a step."""


def item_layer_type(precision: str, weights: int) -> torch.dtype:
    """float32 or bfloat16 for an item layer of so many weights.

    `auto` takes bfloat16 where the processor has units for its matrix products (Intel's AMX; AVX-512 BF16, as AMD's since
    Zen 4); without them it gains little or loses. Sums, the weights themselves and the optimiser stay in float32 always.
    """
    if precision == "auto":
        able = torch.cpu.get_capabilities()
        narrow = weights >= WORTH_NARROWING and any(able.get(unit) for unit in UNITS)
        return torch.bfloat16 if narrow else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
