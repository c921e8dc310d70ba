"""Muon for convolution filters, and several optimizers that step as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class FilterMuon(torch.optim.Muon):
    """torch's Muon, which takes matrices only, on convolution filters.

    Each parameter is seen as a matrix of one row a filter, in the order in which its values lie in
    memory: Muon makes the update orthogonal, and orthogonality does not depend on the order of the
    columns. The matrices share the memory of the parameters, so a step changes these.

    Args:
        filters: Parameters of two or more axes, each contiguous or channels_last.
        lr: Learning rate; times sqrt(rows / columns) where that is above 1, as torch does.
        momentum: Momentum, with Nesterov's look ahead.
        weight_decay: Decoupled: each step multiplies the weights by 1 - lr * weight_decay.

    Raises:
        ValueError: A parameter's values do not lie in one of the two orders.

    Source:
        Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks; on filters as
        in section "Muon" of https://github.com/KellerJordan/cifar10-airbench.
    """

    def __init__(
        self,
        filters: Sequence[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        num_iterations: int = 5,
    ) -> None:
        self._filters = list(filters)
        self._matrices = [nn.Parameter(_as_matrix(weight.detach())) for weight in filters]
        super().__init__(
            self._matrices,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            ns_steps=num_iterations,
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Change every filter that has a gradient."""
        for weight, matrix in zip(self._filters, self._matrices, strict=True):
            matrix.grad = None
            if weight.grad is not None:
                grad = weight.grad.contiguous(memory_format=_memory_format_of(weight))
                matrix.grad = _as_matrix(grad)
        return super().step(closure)  # type: ignore[no-untyped-call]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of the filters."""
        for weight, matrix in zip(self._filters, self._matrices, strict=True):
            weight.grad = matrix.grad = None


def _memory_format_of(weight: torch.Tensor) -> torch.memory_format:
    if weight.is_contiguous():
        return torch.contiguous_format
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    raise ValueError(
        f"filters must be contiguous or channels_last, got shape {tuple(weight.shape)} with "
        f"strides {weight.stride()}. Call .contiguous() on the parameter's data first."
    )


def _as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """View a tensor as a matrix of one row a filter, without a copy."""
    if _memory_format_of(weight) == torch.channels_last:
        weight = weight.permute(0, 2, 3, 1)
    return weight.flatten(1)


class JointOptimizer:
    """Optimizers of disjoint parameters that a training loop can treat as one.

    Args:
        parts: The optimizers, in the order of their groups and of their states.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts, one after the other."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """Let every part change its parameters."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to saved states."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
