"""Processes that train together: they stop and save as one, and nothing of a part is lost."""

import re
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
from tinysight import run_folder, whole_files
from tinysight.classify.models import build_model
from tinysight.classify.placement import choose_device
from tinysight.classify.processes import Processes, joined_processes, started_processes
from tinysight.classify.run import RunResult, _require_same_step, train_run
from tinysight.classify.run_writer import RunWriter
from tinysight.classify.stopping import StopRequest
from tinysight.classify.training import _step_record, average_parts
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
@pytest.mark.parametrize("fault", [None, RunError("the disk is full."), OSError(28, "full")])
def test_a_fault_of_the_first_process_ends_all(
    rank: int, fault: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each of two processes does; what both have is added up by hand."""
    worked: list[int] = []

    def work() -> None:
        worked.append(rank)
        if fault:
            raise fault

    claims: list[torch.Tensor] = []

    def add_up(_: Processes, tensor: torch.Tensor) -> torch.Tensor:
        claims.append(tensor)
        return torch.tensor([int(fault is not None)])

    monkeypatch.setattr(Processes, "sum", add_up)
    own, words = (
        (type(fault), "full"),
        (
            RunError,
            r"^process 1 of 2: the first process must be able to go on with the run, but it could "
            r"not\. Its own message says why\.$",
        ),
    )[rank]
    with pytest.raises(own, match=words) if fault else nullcontext():
        Processes(rank=rank, count=2).first_does(work, CPU)
    assert worked == [0] * (rank == 0)
    assert [claim.tolist() for claim in claims] == [[int(fault is not None and rank == 0)]]


def test_processes_are_not_taken_apart_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others may be in a sum, and NCCL would wait for them."""
    taken_apart: list[bool] = []
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: taken_apart.append(True))
    with pytest.raises(RunError, match=r"full"), joined_processes("gloo"):
        raise RunError("the disk is full.")
    assert not taken_apart
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    with joined_processes("gloo") as processes:
        assert processes == Processes(rank=0, count=2)
    assert taken_apart
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    with joined_processes("gloo") as processes:
        assert processes == Processes(rank=0, count=2, are_on_one_machine=False)


def test_processes_that_found_other_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number 1 of two has not found the checkpoint of step 3 that the first one has."""
    recipe = make_recipe()
    state = TrainingState(build_model(recipe.model, 3, seed=0), recipe, 40, CPU)
    monkeypatch.setattr(Processes, "sum", lambda _, tensor: tensor + 3 * (tensor.ndim == 0))
    words = (
        f"{tmp_path}: all 2 processes must go on from one checkpoint, but the first of them found "
        f"that of step 3 and number 1 that of step 0. Give them a folder that all machines share"
    )
    with pytest.raises(RunError, match=f"^{re.escape(words)}"):
        _require_same_step(state, tmp_path, Processes(rank=1, count=2), CPU)
    state.step = 3
    _require_same_step(state, tmp_path, Processes(rank=1, count=2), CPU)


def test_each_process_takes_the_gpu_of_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Processes]] = []

    def choose(name: str, processes: Processes) -> torch.device:
        asked.append((name, processes))
        raise RunError("no device")

    monkeypatch.setattr("tinysight.classify.run.choose_device", choose)
    this = Processes(rank=3, count=4, local_rank=1)
    with pytest.raises(RunError, match="no device"):
        train_run(make_store(tmp_path / "store"), make_recipe(), tmp_path / "run", processes=this)
    assert asked == [("auto", this)]


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "alone", "together"),
    [
        (False, False, "cpu", "cpu"),
        (False, True, "mps", "cpu"),
        (True, False, "cuda:0", "cuda:1"),
    ],
)
def test_several_processes_leave_a_device_without_sums_alone(
    has_cuda: bool, has_mps: bool, alone: str, together: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    second = Processes(rank=1, count=2, local_rank=1)
    assert str(choose_device("auto")) == alone
    assert str(choose_device("auto", second)) == together
    text = (
        "--device: 2 processes must train where torch can add up their gradients, but it cannot on "
        "mps. Train with --device cpu, or without torchrun."
    )
    with pytest.raises(RunError, match=f"^{re.escape(text)}$"):
        choose_device("mps", second)


def test_torchrun_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert started_processes() == Processes()
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert started_processes() == Processes(rank=5, count=8, local_rank=1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert not started_processes().are_on_one_machine


def test_what_two_processes_saved_is_right_for_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe()
    state, other = (
        TrainingState(build_model(recipe.model, 3, seed=0), recipe, 40, CPU) for _ in range(2)
    )
    state.step, state.seconds, state.epoch_seconds = 2, 1.0, 1.0
    state.accuracies += 0.5 + 1.0  # of this process's halves of two batches
    monkeypatch.setattr(Processes, "sum", lambda _, tensor: 2 * tensor)
    average_parts(state, Processes(count=2))
    other.load_state_dict(state.state_dict(), where="step-2.pt")
    for processes in (Processes(), Processes(count=2)):
        assert _step_record(other, recipe, processes).accuracy == 0.75


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
    rows, other_rows = (
        whole_files.read_records(run / run_folder.HISTORY) for run in (whole, parts)
    )
    for row, other in zip(rows, other_rows, strict=True):
        for name in ("train_loss", "train_accuracy", "test_accuracy", "ema_test_accuracy"):
            assert row[name] == pytest.approx(other[name], rel=1e-6), name
    losses, other_losses = (
        [row["loss"] for row in whole_files.read_records(run / run_folder.STEPS)]
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
