"""In which numbers the products of the item layer are computed."""

import torch

PRECISIONS = ("auto", "float32", "bfloat16")

UNITS = ("amx_bf16", "avx512_bf16")

WORTH_NARROWING = 500_000
"""Weights of an item layer from which `auto` narrows: below it the product is too small a part of a step."""


def item_layer_type(precision: str, weights: int, device: torch.device) -> torch.dtype:
    """float32 or bfloat16 for an item layer of so many weights.

    `auto` takes bfloat16 where the processor has units for its matrix products (Intel's AMX; AVX-512 BF16, as AMD's since
    Zen 4; NVIDIA's GPUs since Ampere); without them it gains little or loses. Sums, the weights themselves and the optimiser
    stay in float32 always.
    """
    if precision == "auto":
        narrow = weights >= WORTH_NARROWING and _has_units(device)
        return torch.bfloat16 if narrow else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _has_units(device: torch.device) -> bool:
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(unit) for unit in UNITS)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
