"""What torch is asked to compile, and how: one graph for each size of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tinysight.classify.device_memory import is_want_of_memory
from tinysight.classify.settings import TrainSettings
from tinysight.errors import TrainingError

# Graphs of one function that torch may keep: one for each size of images. Beyond its own limit of 8
# torch runs the network uncompiled, and whole graphs raise.
MAX_GRAPHS = 64

# By their texts, because only some of these faults have a type of their own, and those types are
# not torch's promise. A compiler that cannot read Python's headers is a command that failed.
_NO_TRITON = re.compile(r"triton installation|triton GPU compiler")
_NO_COMPILER = re.compile(
    r"C(\+\+)? compiler|Python\.h|InvalidCxxCompiler|CppCompileError|CalledProcessError"
)


def compile_network(
    network: nn.Module, settings: TrainSettings, device: torch.device, *, num_processes: int
) -> nn.Module:
    """Compile a network for training.

    Args:
        network: The network itself, on ``device``; it keeps its parameters and their names.
        settings: Whether gradients of several parts of a batch are added up.
        device: Where it computes. On CUDA kernels are launched as CUDA graphs where these can be
            had.
        num_processes: Processes that sum up their gradients.

    Returns:
        A wrapper of the network.
    """
    _allow_graphs()
    # A general graph for all sizes is slower than one for each.
    return torch.compile(  # type: ignore[return-value]
        network,
        dynamic=False,
        mode=compile_mode(settings, device, num_processes=num_processes),
    )


def compile_mode(
    settings: TrainSettings, device: torch.device, *, num_processes: int
) -> str | None:
    """Return the ``mode`` of :func:`torch.compile` for the network.

    No search for the best kernels (``max-autotune``), which is made to pay over hours: it tries
    variants of every kernel during the first steps of each size of images, and a run is over in a
    minute. With torch 2.11 a filled cache does not help: every process tries them again
    (https://github.com/pytorch/pytorch/issues/172819).

    The gradients that a CUDA graph writes lie in its own memory, and its next call takes that
    back. So they can neither wait for those of the next part of a batch nor for other processes.
    """
    if device.type != "cuda":
        return None
    is_alone = num_processes == 1 and settings.accumulate == 1
    return "reduce-overhead" if is_alone else None


@contextmanager
def working_compiler() -> Iterator[None]:
    """Turn what torch says where it cannot compile into a fault that says what to do.

    Raises:
        TrainingError: No C++ compiler for torch, or one that fails; no triton, or a GPU that it
            does not know; or torch's own compiler failed.
    """
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException  # a second of imports

        is_compiler = isinstance(error, TorchDynamoException) or "C compiler" in str(error)
        if not is_compiler or is_want_of_memory(error):
            raise
        raise TrainingError(
            f"train.compile: {_why_not_compiled(error)} or start again in another folder with "
            f"train.compile=false."
        ) from error


def _why_not_compiled(error: RuntimeError) -> str:
    text = str(error)
    lines = [line for line in text.splitlines() if line and "raised:" not in line]
    reason = (lines[0] if lines else type(error).__name__).rstrip(".")
    if _NO_TRITON.search(text):
        return (
            f"on a GPU torch must find triton and a GPU that triton can compile for, but {reason}. "
            f"Install a triton that fits torch where it is missing,"
        )
    if _NO_COMPILER.search(text):
        return (
            f"torch must find a C++ compiler that works, and on a GPU the headers of Python as "
            f"well, but {reason}. Install them (g++, python3-dev),"
        )
    return f"torch's compiler failed: {reason}. Try another version of torch,"


def compiler_cache() -> str:
    """Say where the graphs of this process came from.

    Returns:
        ``cold`` where all were compiled anew, ``warm`` where all came from torch's cache, ``mixed``
        where some did, and ``unknown`` where torch does not say.
    """
    # torch's own notes, which it promises to nobody.
    counters = getattr(getattr(torch._dynamo, "utils", None), "counters", {})
    found = counters.get("inductor", {})
    hits = found.get("fxgraph_cache_hit", 0)
    others = found.get("fxgraph_cache_miss", 0) + found.get("fxgraph_cache_bypass", 0)
    if not hits and not others:
        return "unknown"
    if hits and others:
        return "mixed"
    return "warm" if hits else "cold"


def compile_changes(change: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the changes of a batch; a part that cannot be in one graph raises."""
    _allow_graphs()
    return torch.compile(change, dynamic=False, fullgraph=True)


def _allow_graphs() -> None:
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MAX_GRAPHS)
