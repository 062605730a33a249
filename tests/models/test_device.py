"""Which device is taken, and what is said when it is not there."""

import os

import pytest
import torch
from portrait.errors import PortraitError
from portrait.models import create
from portrait.models.device import cells_at_once, chosen, repeatable
from portrait.models.precision import item_layer_type
from portrait.models.workers import Workers


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, place: int = 0) -> None:
    """As if there were so many, and this were a process of several on the machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr("portrait.models.device.workers", lambda: Workers(place, 8, 8, place))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("count", "place", "asked", "taken"),
    [
        (0, 0, "auto", "cpu"),
        (0, 0, "cpu", "cpu"),
        (1, 0, "auto", "cuda:0"),
        (1, 0, "cpu", "cpu"),
        (2, 0, "cuda:1", "cuda:1"),
        # torchrun: a GPU each, and round again where there are more processes than GPUs.
        (2, 0, "auto", "cuda:0"),
        (2, 1, "auto", "cuda:1"),
        (2, 1, "cuda", "cuda:1"),
        (2, 2, "cuda", "cuda:0"),
        (2, 1, "cuda:0", "cuda:0"),
    ],
)
def test_what_is_taken(
    count: int, place: int, asked: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count, place)
    assert str(chosen(asked)) == taken
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == taken.startswith("cuda")


@pytest.mark.parametrize("name", ["mult_vae", "article", "product_of_experts", "profile_autoencoder"])
def test_a_gpu_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said when the model is made, before data are read."""
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(
        PortraitError,
        match=r"device 'cuda' is asked for, but this torch is built without CUDA .*; install .* or set device to cpu or auto",
    ):
        create(name, device="cuda")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    with pytest.raises(PortraitError, match="but no GPU is visible"):
        create(name, device="cuda:0")


def test_devices_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    with pytest.raises(PortraitError, match=r"of the 2 GPUs the last is cuda:1; set device to one of them"):
        chosen("cuda:2")
    with pytest.raises(
        PortraitError, match=r"'gpu' is none that torch knows .*; set auto, cpu, cuda or cuda:1"
    ):
        chosen("gpu")


def test_only_a_gpu_is_made_repeatable_and_only_meanwhile() -> None:
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_gpu_works_on_more_at_once() -> None:
    assert cells_at_once(torch.device("cpu"), 400_000) == 400_000
    assert cells_at_once(torch.device("cuda"), 400_000) == 67_108_864


@pytest.mark.parametrize(("able", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_precision_of_a_gpu(able: bool, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only emulated is not taken for able."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: able or including_emulation
    )
    assert item_layer_type("auto", 12_000_000, torch.device("cuda", 0)) == kind
    assert item_layer_type("auto", 1000, torch.device("cuda", 0)) == torch.float32
