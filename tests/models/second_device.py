"""A second device with real numbers on a machine that has none: what a GPU would refuse, it refuses.

Tensors on torch's device "meta" have no numbers by themselves. Here each of them holds a tensor of the CPU that has; operations
run on those. Tensors of two devices in one operation raise, `.numpy()` of the second device does, and so does what is used
outside of `second_device()`. Kernels, precision, speed and memory of a GPU are not rehearsed.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "meta"
"""Torch runs the backward pass of this device without a GPU; that of "cuda" it does not."""

BETWEEN_DEVICES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class Elsewhere(Tensor):
    """A tensor of the second device; `there` has its numbers."""

    there: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, there: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, there.size(), there.stride(), there.storage_offset(), dtype=there.dtype, device=NAME
        )
        made.there = there
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.there!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, *_: Any) -> Any:
        raise RuntimeError(f"{function} of the second device, outside of second_device()")


class SecondDevice(TorchDispatchMode):
    """Runs each operation where its tensors lie, or on the device that it names."""

    operations = 0
    """Run on the second device so far."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.is_inference_mode_enabled():  # whose tensors cannot be wrapped
            with torch.inference_mode(False), torch.no_grad(), self:
                return function(*args, **(kwargs or {}))
        kwargs = dict(kwargs or {})
        ours: dict[int, Elsewhere] = {}
        others: list[Tensor] = []

        def numbers(value: Tensor) -> Tensor:
            if not isinstance(value, Elsewhere):
                others.append(value)
                return value
            ours[id(value.there)] = value
            return value.there

        def at_its_place(value: Tensor) -> Tensor:
            if id(value) in ours:  # changed in place
                return ours[id(value)]
            return Elsewhere(value) if result_is_ours else value

        plain = _tensors_replaced((args, kwargs), numbers)
        if function is torch.ops.aten.copy_.default:
            result_is_ours = isinstance(args[0], Elsewhere)
        elif kwargs.get("device") is not None:
            result_is_ours = torch.device(kwargs["device"]).type == NAME
            plain[1]["device"] = "cpu"
        else:
            result_is_ours = bool(ours)
        if ours and function not in BETWEEN_DEVICES and any(value.dim() for value in others):
            raise RuntimeError(f"{function}: a tensor of the CPU among those of the second device")
        if ours and function.namespace == "c10d":
            raise RuntimeError(f"{function}: gloo adds up tensors of the CPU")
        if ours and torch.Tag.inplace_view in function.tags:  # of the shape, which both have
            with no_dispatch():
                function(*args, **kwargs)
        self.operations += bool(ours)
        return _tensors_replaced(function(*plain[0], **plain[1]), at_its_place)


def _tensors_replaced(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """In nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)([_tensors_replaced(each, change) for each in value])
    if isinstance(value, dict):
        return {name: _tensors_replaced(each, change) for name, each in value.items()}
    return value


@contextmanager
def second_device() -> Iterator[SecondDevice]:
    """Inside the block "meta" is a device like any other."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter", category=UserWarning)
        with SecondDevice() as device:
            yield device
