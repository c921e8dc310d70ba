"""One process or several: what ``torchrun`` says, and sums over all processes.

Without torchrun every function here is the identity, so the training loop has one text for both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist

from tinysight.errors import RunError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        local_rank: Number of this process on its machine, from 0.
        are_on_one_machine: Whether no process is on another machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    are_on_one_machine: bool = True

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

    def any(self, claims: Sequence[bool], device: torch.device) -> list[bool]:
        """Return for each of some claims whether it holds in any process."""
        if self.count == 1:
            return list(claims)
        counts = self.sum(torch.tensor(claims, dtype=torch.int64, device=device))
        return [count > 0 for count in counts.tolist()]

    def first_does(self, work: Callable[[], object], device: torch.device) -> None:
        """Let the first process do something, and wait for it in the others.

        Args:
            work: What only one process may do, such as writing a file of the run.
            device: Where this process computes.

        Raises:
            BaseException: What ``work`` raised.
            RunError: In the others, where it raised something; else they would wait for ever.
        """
        fault: BaseException | None = None
        if self.is_first:
            try:
                work()
            except BaseException as error:  # raised below, once the others know
                fault = error
        (has_failed,) = self.any((fault is not None,), device)
        if fault is not None:
            raise fault
        if has_failed:
            raise RunError(
                f"process {self.rank} of {self.count}: the first process must be able to go on "
                f"with the run, but it could not. Its own message says why."
            )


def started_processes() -> Processes:
    """Return what torchrun says of this process before it has joined the others."""
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        return Processes()
    count = int(os.environ["WORLD_SIZE"])
    return Processes(
        rank=int(os.environ["RANK"]),
        count=count,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        are_on_one_machine=int(os.environ.get("LOCAL_WORLD_SIZE", count)) == count,
    )


@contextmanager
def joined_processes(backend: str) -> Iterator[Processes]:
    """Join the processes that torchrun started; alone, yield a single one.

    After a fault they are not taken apart: the others may be waiting for this process in a sum, and
    then NCCL would wait for them before the fault is told and torchrun ends them.

    Args:
        backend: ``"nccl"`` for CUDA, ``"gloo"`` for the CPU.

    Raises:
        RunError: There are more processes on this machine than GPUs.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield Processes()
        return
    started = started_processes()
    own_gpu = None
    if backend == "nccl":
        # Otherwise whatever is asked of "the GPU" goes to the first one, from every process.
        num_gpus = torch.cuda.device_count()
        if started.local_rank >= num_gpus:
            raise RunError(
                f"LOCAL_RANK (={started.local_rank}): every process must have a GPU of its own, "
                f"but this machine has {num_gpus}. Start torchrun with "
                f"--nproc-per-node={max(num_gpus, 1)}, or train with --device cpu."
            )
        own_gpu = torch.device("cuda", started.local_rank)
        torch.cuda.set_device(own_gpu)
    dist.init_process_group(backend, device_id=own_gpu)
    yield replace(started, rank=dist.get_rank(), count=dist.get_world_size())
    dist.destroy_process_group()
