"""Processes that train together: they stop and save as one, and nothing of a part is lost."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from tests.classify.conftest import make_recipe, make_store
from tests.classify.test_run import StopAtLook
from tinysight import run_folder
from tinysight.classify.models import build_model
from tinysight.classify.processes import Processes, joined_processes
from tinysight.classify.run import RunResult, train_run
from tinysight.classify.run_writer import RunWriter
from tinysight.classify.stopping import StopRequest
from tinysight.classify.training_state import TrainingState
from tinysight.errors import RunError

CPU = torch.device("cpu")
STOP_AFTER = 8  # the third step of the second of three epochs of five


def run_in_this_process(
    folder: Path, rank: int, *, stop: StopRequest | None = None, resume: bool = False
) -> RunResult:
    return train_run(
        make_store(folder / "store"),
        make_recipe(train={"accumulate": 2}),
        folder / "run",
        device=CPU,
        processes=Processes(rank=rank, count=2, local_rank=rank),
        resume=resume,
        stop=stop,
    )


@contextmanager
def joined_to_the_other(rank: int, folder: Path) -> Iterator[None]:
    """Join this process and another one, which fail if they wait for each other for a minute."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def train_whole_and_in_parts(rank: int, folder: Path) -> None:
    """What each of two processes does; only the second one is asked to stop."""
    with joined_to_the_other(rank, folder):
        assert run_in_this_process(folder / "whole", rank).is_finished
        # The loop looks at a stop once a step when it has company.
        stop = StopAtLook(STOP_AFTER - 1) if rank == 1 else None
        stopped = run_in_this_process(folder / "parts", rank, stop=stop)
        assert not stopped.is_finished
        assert stopped.steps == STOP_AFTER
        assert run_in_this_process(folder / "parts", rank, resume=True).is_finished


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("is_faulty", [False, True])
def test_a_fault_of_the_first_process_ends_all(
    rank: int, is_faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each of two processes does; what both have is added up by hand."""
    worked: list[int] = []

    def work() -> None:
        worked.append(rank)
        if is_faulty:
            raise RunError("run: the disk is full.")

    claims: list[torch.Tensor] = []

    def add_up(_: Processes, tensor: torch.Tensor) -> torch.Tensor:
        claims.append(tensor)
        return torch.tensor([int(is_faulty)])

    monkeypatch.setattr(Processes, "sum", add_up)
    own = (
        r"^run: the disk is full\.$",
        r"^process 1 of 2: the first process must be able to write the run, but it could not\. "
        r"Its own message says why\.$",
    )[rank]
    with pytest.raises(RunError, match=own) if is_faulty else nullcontext():
        Processes(rank=rank, count=2).first_does(work, CPU)
    assert worked == [0] * (rank == 0)
    assert [claim.tolist() for claim in claims] == [[int(is_faulty and rank == 0)]]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_that_the_first_process_cannot_go_on_with_ends_all(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history of a run lacks the epoch that its state has behind it."""
    recipe = make_recipe()
    state = TrainingState(build_model(recipe.model, 3, seed=0), recipe, 40, CPU)
    state.recorded_epochs = 1
    monkeypatch.setattr(Processes, "sum", lambda _, tensor: torch.ones_like(tensor))
    own = (r"must have a line for each of the 1 epochs", r"^process 1 of 2: the first process must")
    with pytest.raises(RunError, match=own[rank]):
        RunWriter(tmp_path, state, recipe, processes=Processes(rank=rank, count=2), is_tuning=False)


def test_one_process_asked_to_stop_stops_both_and_they_go_on_as_if_never_stopped(
    tmp_path: Path,
) -> None:
    mp.spawn(train_whole_and_in_parts, (tmp_path,), nprocs=2)
    whole, parts = tmp_path / "whole" / "run", tmp_path / "parts" / "run"
    names = [path.name for path in run_folder.checkpoint_files(parts)]
    assert f"step-{STOP_AFTER:08d}.pt" in names
    weights, others = (load_file(run / run_folder.MODEL) for run in (whole, parts))
    for name, tensor in weights.items():
        if "running" in name:  # averaged once more on the way, which rounds once more
            torch.testing.assert_close(tensor, others[name])
        else:
            assert torch.equal(tensor, others[name]), name
    rows, other_rows = (run_folder.read_records(run / run_folder.HISTORY) for run in (whole, parts))
    for row, other in zip(rows, other_rows, strict=True):
        for name in ("train_loss", "train_accuracy", "test_accuracy", "ema_test_accuracy"):
            assert row[name] == pytest.approx(other[name], rel=1e-6), name
    losses, other_losses = (
        [row["loss"] for row in run_folder.read_records(run / run_folder.STEPS)]
        for run in (whole, parts)
    )
    assert losses == pytest.approx(other_losses, rel=1e-6)


@pytest.mark.parametrize("claims", [(True, False), (False, False)])
def test_alone_a_claim_holds_if_it_is_made(claims: tuple[bool, bool]) -> None:
    assert Processes().any(claims, CPU) == list(claims)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(
            RunError,
            match=r"^LOCAL_RANK \(=1\): every process must have a GPU of its own, but this machine "
            r"has 1\. Start torchrun with --nproc-per-node=1, or train with --device cpu\.$",
        ),
        joined_processes("nccl"),
    ):
        pass
