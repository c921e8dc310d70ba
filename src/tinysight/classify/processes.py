"""One process or several: what ``torchrun`` says, and sums over all processes.

Without torchrun every function here is the identity, so the training loop has one text for both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        local_rank: Number of this process on its machine, from 0.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes."""
        if self.count > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def any(self, claim: bool, device: torch.device) -> bool:
        """Return whether the claim holds in any process."""
        if self.count == 1:
            return claim
        return bool(self.sum(torch.tensor(int(claim), device=device)).item())

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def joined_processes(backend: str) -> Iterator[Processes]:
    """Join the processes that torchrun started; alone, yield a single one.

    Args:
        backend: ``"nccl"`` for CUDA, ``"gloo"`` for the CPU.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield Processes()
        return
    dist.init_process_group(backend)
    try:
        yield Processes(
            rank=dist.get_rank(),
            count=dist.get_world_size(),
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )
    finally:
        dist.destroy_process_group()
