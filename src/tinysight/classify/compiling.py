"""What torch is asked to compile, and how: one graph for each size of images."""

from __future__ import annotations

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
        TrainingError: No C compiler for torch, or one that fails.
    """
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import BackendCompilerFailed  # a second of imports

        is_compiler = isinstance(error, BackendCompilerFailed) or "C compiler" in str(error)
        if not is_compiler or is_want_of_memory(error):
            raise
        lines = [line for line in str(error).splitlines() if line and "raised:" not in line]
        reason = lines[0] if lines else type(error).__name__
        raise TrainingError(
            f"train.compile: torch must find a C++ compiler that works, and on a GPU the headers "
            f"of Python as well, but {reason.rstrip('.')}. Install them (g++, "
            f"python3-dev), or start again in another folder with train.compile=false."
        ) from error


def compile_changes(change: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the changes of a batch; a part that cannot be in one graph raises."""
    _allow_graphs()
    return torch.compile(change, dynamic=False, fullgraph=True)


def _allow_graphs() -> None:
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MAX_GRAPHS)
