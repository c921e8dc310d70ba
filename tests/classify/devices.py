"""A device that is not there: it has shapes and types, and no float64, like Apple's MPS."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tinysight.classify import averaging, evaluate, faithfulness, optimizers, training

DEVICE = torch.device("meta")
"""torch's own stand-in for tensors without memory; what is read from it here is 0, False or,
for a single number, 1."""
CPU = torch.device("cpu")
WAITERS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
READERS = (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype_layout)


class NoFloat64(TorchDispatchMode):
    """Reading from the device works, and no operation gives float64 on it."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device == DEVICE:
            return 0 if args[0].dtype == torch.bool else 1  # which may be divided by
        if func in READERS and args[0].device == DEVICE and kwargs.get("device") == CPU:
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        found = func(*args, **kwargs)
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.device == DEVICE:
                assert tensor.dtype != torch.float64, f"{func} gives float64 on the device"
        return found


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for the device, in a block on it."""

    count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        is_from_device = bool(args) and getattr(args[0], "device", None) == DEVICE
        is_copy = func in READERS and kwargs.get("device") == CPU
        self.count += is_from_device and (func in WAITERS or is_copy)
        return func(*args, **kwargs)


@contextmanager
def device_without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Yield a device for a block, without what knows only real ones: autocast, fused steps."""
    for module in (averaging, evaluate, faithfulness, training):
        monkeypatch.setattr(module, "autocast", lambda *_: nullcontext())

    def build_sgd(
        parameters: list[nn.Parameter], _: object, *, lr: float, momentum: float
    ) -> torch.optim.SGD:
        return torch.optim.SGD(parameters, lr, momentum, foreach=False)

    monkeypatch.setattr(optimizers, "_build_sgd", build_sgd)
    with NoFloat64():
        yield DEVICE
