"""Muon for convolution filters, and several optimizers that step as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class FilterMuon(torch.optim.Muon):
    """torch's Muon, which takes matrices only, on convolution filters, those of a shape at once.

    Each parameter is seen as a matrix of one row a filter, in the order in which its values lie in
    memory: Muon makes the update orthogonal, and orthogonality does not depend on the order of the
    columns. The matrices share the memory of the parameters, so a step changes these. Matrices of
    one shape go through the iterations as one batch: a network has many matrices and few shapes,
    and one matrix alone keeps neither an accelerator nor all cores busy.

    Args:
        filters: Parameters of two or more axes, each contiguous or channels_last.
        lr: Learning rate; times sqrt(rows / columns) where that is above 1, as torch does.
        momentum: Momentum, with Nesterov's look ahead.
        weight_decay: Decoupled: each step multiplies the weights by 1 - lr * weight_decay.
        num_iterations: Newton-Schulz iterations; fewer are rougher and quicker.
        dtype: Number format of the iterations, which are content with bf16; torch knows no other.

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
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._dtype = dtype
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
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moved = [
            (matrix, _as_matrix(weight.grad.contiguous(memory_format=_memory_format_of(weight))))
            for weight, matrix in zip(self._filters, self._matrices, strict=True)
            if weight.grad is not None
        ]
        if moved:
            matrices, grads = zip(*moved, strict=True)
            self._move(list(matrices), list(grads))
        return loss

    def _move(self, matrices: list[torch.Tensor], grads: list[torch.Tensor]) -> None:
        (settings,) = self.param_groups
        lr, momentum = settings["lr"], settings["momentum"]
        averages = [self._average_of(matrix) for matrix in matrices]
        # Each of these is one call for all filters: a GPU is done sooner than the host with asking.
        torch._foreach_lerp_(averages, grads, 1 - momentum)
        updates = self._orthogonal_by_shape(torch._foreach_lerp(grads, averages, momentum))
        torch._foreach_mul_(matrices, 1 - lr * settings["weight_decay"])
        by_lr: dict[float, list[int]] = {}
        for index, matrix in enumerate(matrices):
            num_rows, num_columns = matrix.shape
            by_lr.setdefault(lr * math.sqrt(max(1, num_rows / num_columns)), []).append(index)
        for own_lr, own in by_lr.items():
            torch._foreach_add_(
                [matrices[i] for i in own], [updates[i] for i in own], alpha=-own_lr
            )

    def _orthogonal_by_shape(self, updates: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        (settings,) = self.param_groups
        by_shape: dict[torch.Size, list[int]] = {}
        for index, update in enumerate(updates):
            by_shape.setdefault(update.shape, []).append(index)
        result = list(updates)
        for own in by_shape.values():
            batch = orthogonal(
                torch.stack([updates[i] for i in own]).to(self._dtype),
                settings["ns_coefficients"],
                settings["ns_steps"],
                settings["eps"],
            )
            for index, update in zip(own, batch.float().unbind(), strict=True):
                result[index] = update
        return result

    def _average_of(self, matrix: torch.Tensor) -> torch.Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:  # torch's name, so that saved states fit both
            state["momentum_buffer"] = torch.zeros_like(matrix)
        return state["momentum_buffer"]  # type: ignore[no-any-return]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of the filters."""
        for weight in self._filters:
            weight.grad = None


def orthogonal(
    matrices: torch.Tensor,
    coefficients: tuple[float, float, float],
    num_iterations: int,
    least_norm: float,
) -> torch.Tensor:
    """Return matrices with the same singular vectors and singular values near 1.

    Args:
        matrices: (N, R, C) floating point, in whose format the iterations compute.
        coefficients: a, b and c of an iteration X <- a X + b (X X') X + c (X X')^2 X.
        num_iterations: Iterations; 5 bring most singular values into 0.5 to 1.5.
        least_norm: Matrices of a smaller Frobenius norm are divided by this instead of theirs.

    Returns:
        (N, R, C) in the same format.

    Source:
        Jordan et al. 2024, as for :class:`FilterMuon`.
    """
    a, b, c = coefficients
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=least_norm)
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


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
