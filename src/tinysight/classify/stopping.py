"""A request to stop, and giving up a step half way without a trace.

A step of a large network can take longer on a CPU than a user waits after Ctrl-C. So the request
is looked at between steps and also inside a step, as gradients arrive. A step given up leaves the
state as it was before it: the weights change only at its end, and the batch-norm statistics,
which change in the forward pass, are put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class StopRequest:
    """Set once, from a signal handler or another thread; looked at by the training loop."""

    def __init__(self) -> None:
        self.is_made = False

    def make(self) -> None:
        """Ask the training loop to save its state and return."""
        self.is_made = True


class StepGivenUpError(Exception):
    """A stop was requested inside a step; caught by the training loop."""


@contextmanager
def step_can_be_given_up(model: nn.Module, stop: StopRequest) -> Iterator[None]:
    """Watch a request during the backward passes of a block, and keep the buffers if it is made.

    Args:
        model: The network being trained; no hook is left on it.
        stop: The request.
    """

    def look(_: torch.Tensor) -> None:
        raise_if_requested(stop)

    hooks = [
        parameter.register_post_accumulate_grad_hook(look)
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    try:
        with buffers_kept_on_error(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def raise_if_requested(stop: StopRequest) -> None:
    """Give up the step if a stop was requested."""
    if stop.is_made:
        raise StepGivenUpError


@contextmanager
def buffers_kept_on_error(model: nn.Module) -> Iterator[None]:
    """Put the buffers of a network back if a block fails.

    Args:
        model: The network; its buffers are a few values a channel, so the copy costs microseconds.
    """
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    except BaseException:
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
        raise
