"""The training loop, readable from top to bottom.

It takes a state and data, changes the state, and hands out records; it knows no file, no plot and
no command line. Everything random is keyed by seed, epoch and position, so a state that was saved
after any step goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tinysight.classify.averaging import (
    REFRESH_BATCHES,
    average_statistics,
    refresh_batch_norms,
    update_average,
)
from tinysight.classify.batches import Batch, steps_per_epoch, training_batches
from tinysight.classify.compiling import compile_changes, compile_network
from tinysight.classify.evaluate import Score, score_model
from tinysight.classify.losses import image_hits, image_losses
from tinysight.classify.optimizers import set_schedule
from tinysight.classify.placement import autocast
from tinysight.classify.processes import Processes
from tinysight.classify.schedule import (
    StepSchedule,
    ema_decay_at,
    held_out_px_at,
    image_px_at,
    schedule_at,
)
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import (
    StepGivenUpError,
    StopRequest,
    raise_if_requested,
    step_can_be_given_up,
)
from tinysight.classify.training_images import TrainingData
from tinysight.classify.training_records import EpochRecord, StepRecord
from tinysight.classify.training_state import TrainingState
from tinysight.errors import TrainingError

# Reading a loss from an accelerator waits for it, so there it is done now and then only: by the
# clock, and where several processes have to agree by the step.
LOOK_EVERY_S = 5.0
LOOK_EVERY_STEPS_TOGETHER = 50

Network = Callable[[torch.Tensor], torch.Tensor]
"""A network as the loop calls it: a module, compiled or not, of one process or of several."""


def train(
    state: TrainingState,
    data: TrainingData,
    recipe: Recipe,
    *,
    device: torch.device,
    processes: Processes,
    stop: StopRequest,
    save: Callable[[TrainingState], None],
    on_step: Callable[[StepRecord], None],
    on_epoch: Callable[[EpochRecord], None],
) -> bool:
    """Train until the last epoch is evaluated, or until a stop is requested.

    Args:
        state: Where to start; changed in place.
        data: Images and the rows to use.
        recipe: All settings.
        device: Where to train.
        processes: This process among those that train together; each takes its part of every
            batch.
        stop: Looked at inside and between steps.
        save: Called with a state to keep: every ``checkpoint_every_s`` seconds, at the end, and
            when stopped.
        on_step: Called at every look at the loop.
        on_epoch: Called after each epoch.

    Returns:
        True when training is finished, False when it was stopped and saved.

    Raises:
        TrainingError: The loss is no longer finite.
    """
    settings = recipe.train
    steps = steps_per_epoch(len(data.train_rows), settings.batch_size)
    network = _wrap(state.model, recipe, device, processes)
    # Only here are steps so long, and several processes would have to give one up together.
    can_give_up = processes.count == 1 and device.type == "cpu" and not settings.compile
    checkpoints = _Checkpoints(state, processes, save, every_s=settings.checkpoint_every_s)
    last_look_s = time.monotonic()
    while state.recorded_epochs < settings.epochs:
        epoch = state.recorded_epochs
        first_step = looked_at = state.step - epoch * steps
        began_s = time.monotonic() - state.epoch_seconds
        batches = epoch_batches(data, recipe, epoch, device, processes, first_step=first_step)
        for steps_done, batch in enumerate(batches, first_step + 1):
            try:
                _take_step(network, batch, state, recipe, stop=stop if can_give_up else None)
            except StepGivenUpError:
                checkpoints.write()
                return False
            is_last = steps_done == steps
            if not (is_last or _is_time_to_look(steps_done, last_look_s, device, processes, stop)):
                continue
            last_look_s = time.monotonic()
            _require_finite(state, recipe, processes, since=looked_at, until=steps_done)
            looked_at = steps_done
            _note_time(state, time.monotonic() - began_s)
            on_step(_step_record(state, recipe, processes))
            is_stopped, is_due = processes.any((stop.is_made, checkpoints.are_due()), device)
            if is_stopped or is_due:
                checkpoints.write()
            if is_stopped:
                return False

        try:
            record = _finish_epoch(state, data, recipe, epoch, device, processes, stop)
        except StepGivenUpError:
            checkpoints.write()
            return False
        on_epoch(record)
        state.recorded_epochs += 1
        state.step_losses.zero_()
        state.accuracies.zero_()
        state.epoch_seconds = 0.0
        # An evaluation can take longer than the steps, and counts as they do.
        (is_due,) = processes.any((checkpoints.are_due(),), device)
        if is_due or state.recorded_epochs == settings.epochs:
            checkpoints.write()
    return True


class _Checkpoints:
    """Saves the state, and knows when it is time to."""

    def __init__(
        self,
        state: TrainingState,
        processes: Processes,
        save: Callable[[TrainingState], None],
        *,
        every_s: float,
    ) -> None:
        self._state = state
        self._processes = processes
        self._save = save
        self._every_s = every_s
        self._written_s = time.monotonic()

    def are_due(self) -> bool:
        """Whether the last one is old by the clock of this process."""
        return time.monotonic() - self._written_s > self._every_s

    def write(self) -> None:
        average_parts(self._state, self._processes)
        self._save(self._state)
        self._written_s = time.monotonic()


def _take_step(
    network: Network,
    batch: Batch,
    state: TrainingState,
    recipe: Recipe,
    *,
    stop: StopRequest | None,
) -> None:
    """Change the weights by one batch, and add what it brought to the sums of the epoch.

    Raises:
        StepGivenUpError: ``stop`` is given and was requested; the state is as it was before.
    """
    now = _schedule_of(state.step, state, recipe)
    set_schedule(state.optimizer, lr=now.lr, momentum=now.momentum)
    try:
        with step_can_be_given_up(state.model, stop) if stop else nullcontext():
            loss, accuracy = forward_backward(network, batch, recipe, stop=stop or StopRequest())
    except StepGivenUpError:
        state.optimizer.zero_grad(set_to_none=True)
        raise
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    if state.average:
        decay = ema_decay_at(state.step, recipe.train.ema_decay)
        update_average(state.average, state.model, decay=decay)
    state.step_losses[state.step % len(state.step_losses)] = loss
    state.accuracies += accuracy
    state.step += 1


def _schedule_of(step: int, state: TrainingState, recipe: Recipe) -> StepSchedule:
    return schedule_at(
        step,
        recipe.schedule,
        steps_per_epoch=len(state.step_losses),
        epochs=recipe.train.epochs,
    )


def _note_time(state: TrainingState, epoch_seconds: float) -> None:
    state.seconds += epoch_seconds - state.epoch_seconds
    state.epoch_seconds = epoch_seconds


def _step_record(state: TrainingState, recipe: Recipe, processes: Processes) -> StepRecord:
    """Describe the step that was just taken."""
    steps = len(state.step_losses)
    num_steps = steps * recipe.train.epochs
    epoch, number = divmod(state.step - 1, steps)
    seen = (number + 1) * recipe.train.batch_size
    return StepRecord(
        step=state.step,
        num_steps=num_steps,
        epoch=epoch,
        loss=float(state.step_losses[number]),
        accuracy=float(state.accuracies) / (number + 1),
        lr=_schedule_of(state.step - 1, state, recipe).lr,
        images_per_s=seen / state.epoch_seconds,
        time_left_s=(num_steps - state.step) * state.seconds / state.step,
    )


def average_parts(state: TrainingState, processes: Processes) -> None:
    """Give every process the mean of what each has gathered from its part of the batches.

    Sums and statistics are linear in the batches, so this changes none of the figures of the
    epoch; and a state that one process saves is that of all, however many go on from it.
    """
    if processes.count == 1:
        return
    average_statistics(state.model, processes)
    for tensor in (state.step_losses, state.accuracies):
        tensor.copy_(processes.sum(tensor) / processes.count)


def _is_time_to_look(
    steps_done: int,
    last_look_s: float,
    device: torch.device,
    processes: Processes,
    stop: StopRequest,
) -> bool:
    if device.type == "cpu":
        return True
    if processes.count > 1:
        return steps_done % LOOK_EVERY_STEPS_TOGETHER == 0
    return stop.is_made or time.monotonic() - last_look_s > LOOK_EVERY_S


def forward_backward(
    network: Network, batch: Batch, recipe: Recipe, *, stop: StopRequest
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of a batch to those of the parameters.

    Args:
        network: The network, possibly wrapped, in training mode.
        batch: Images and targets on the network's device.
        recipe: Loss, precision and the number of parts to cut the batch into.
        stop: Looked at between forward and backward passes.

    Returns:
        The mean loss and the share that is right, scalar tensors on the device.
    """
    settings = recipe.train
    parts = batch.split(settings.accumulate)
    loss = torch.zeros((), device=batch.images.device)
    hits = torch.zeros((), device=batch.images.device)
    for number, part in enumerate(parts, 1):
        # Gradients of several processes are summed once, with the last part.
        is_last = number == len(parts)
        waits = isinstance(network, DistributedDataParallel) and not is_last
        with network.no_sync() if waits else nullcontext():  # type: ignore[attr-defined]
            with autocast(settings, batch.images.device):
                logits = network(part.images)
            raise_if_requested(stop)
            part_loss = image_losses(logits, part, settings).mean() / len(parts)
            part_loss.backward()
        loss += part_loss.detach()
        hits += image_hits(logits.detach(), part).sum()
    return loss, hits / len(batch.targets)


def _wrap(model: nn.Module, recipe: Recipe, device: torch.device, processes: Processes) -> Network:
    """The network as the loop calls it; ``model`` keeps the parameters and their names."""
    model.train()
    network = model
    if recipe.train.compile:
        network = compile_network(model, recipe.train, device, num_processes=processes.count)
    if processes.count > 1:
        ids = [device.index] if device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=ids)
        # Statistics stay those of a process's own part until they are averaged. Not as an
        # argument: torch renames that one from 2.13 on and warns of the old name.
        network.broadcast_buffers = False
    return network


def epoch_batches(
    data: TrainingData,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    processes: Processes,
    *,
    first_step: int = 0,
) -> Iterator[Batch]:
    """Return this process's part of the batches of an epoch, from a step of it on."""
    return training_batches(
        data.images,
        data.train_rows,
        recipe.augment,
        seed=recipe.train.seed,
        epoch=epoch,
        batch_size=recipe.train.batch_size,
        first_step=first_step,
        part=(processes.rank, processes.count),
        device=device,
        image_px=image_px_at(epoch, recipe.schedule, own_px=data.own_px),
        compiler=compile_changes if recipe.train.compile else None,
    )


def _require_finite(
    state: TrainingState, recipe: Recipe, processes: Processes, *, since: int, until: int
) -> None:
    """Look at the losses of some steps of an epoch, those just taken: ``since`` up to ``until``."""
    losses = processes.sum(state.step_losses[since:until])
    is_bad = ~torch.isfinite(losses)
    if not bool(is_bad.any()):
        return
    first_bad = int(is_bad.nonzero()[0, 0])
    step = state.step - until + since + first_bad
    epoch = step // len(state.step_losses)
    lr = _schedule_of(step, state, recipe).lr
    raise TrainingError(
        f"step {step} (epoch {epoch}): the training loss must be finite, got "
        f"{float(losses[first_bad])} at learning rate {lr:.3g}. {_how_to_converge(recipe)}"
    )


def _require_finite_score(score: Score, what: str, epoch: int, lr: float, recipe: Recipe) -> None:
    if not math.isfinite(score.loss):
        raise TrainingError(
            f"epoch {epoch}: the {what} must be finite, got {score.loss} after a last step "
            f"at learning rate {lr:.3g}. {_how_to_converge(recipe)}"
        )


def _how_to_converge(recipe: Recipe) -> str:
    ways = [f"a third of schedule.max_lr (={recipe.schedule.max_lr:g})"]
    if recipe.train.precision != "fp32":
        ways.append("train.precision = fp32")
    return (
        f"Try {', '.join(ways)} or more warm-up (schedule.peak_epoch); `tinysight lr-find` shows "
        f"where the loss diverges."
    )


def _finish_epoch(
    state: TrainingState,
    data: TrainingData,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    processes: Processes,
    stop: StopRequest,
) -> EpochRecord:
    settings = recipe.train
    steps = len(state.step_losses)
    last = _schedule_of(state.step - 1, state, recipe)
    average_statistics(state.model, processes)
    score = ema_score = None
    part = "tuning" if len(data.tuning_rows) else "test"
    if (epoch + 1) % settings.evaluate_every == 0 or epoch + 1 == settings.epochs:
        score = score_held_out(state.model, data, recipe, epoch, device, processes, stop)
        _require_finite_score(score, f"{part} loss", epoch, last.lr, recipe)
        if state.average:
            refresh_average(state, data, recipe, epoch, device, processes)
            ema_score = score_held_out(state.average, data, recipe, epoch, device, processes, stop)
            what = f"{part} loss of the averaged weights"
            _require_finite_score(ema_score, what, epoch, last.lr, recipe)
    step_losses = processes.sum(state.step_losses).cpu().double().numpy() / processes.count
    seen = steps * settings.batch_size
    return EpochRecord(
        epoch=epoch,
        steps=state.step,
        train_loss=float(step_losses.mean()),
        train_accuracy=float(processes.sum(state.accuracies)) / processes.count / steps,
        lr=last.lr,
        momentum=last.momentum,
        images_per_s=seen / state.epoch_seconds,
        image_px=image_px_at(epoch, recipe.schedule, own_px=data.own_px),
        held_out_px=held_out_px_at(epoch, recipe.schedule, own_px=data.own_px),
        seconds=state.seconds,
        score=score,
        ema_score=ema_score,
        step_losses=step_losses,
    )


def refresh_average(
    state: TrainingState,
    data: TrainingData,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    processes: Processes,
) -> None:
    """Give the averaged weights batch-norm statistics from the first images of an epoch."""
    if state.average is None:
        return
    batches = epoch_batches(data, recipe, epoch, device, processes)
    refresh_batch_norms(
        state.average,
        (batch.images for batch in islice(batches, REFRESH_BATCHES)),
        device=device,
        settings=recipe.train,
        processes=processes,
    )


def score_held_out(
    model: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    processes: Processes,
    stop: StopRequest,
) -> Score:
    """Score a network after an epoch: on the tuning rows if there are any, else on the test rows.

    While training images grow, those that are looked at are as small.
    """
    rows = data.tuning_rows if len(data.tuning_rows) else data.test_rows
    return score_model(
        model,
        data.images,
        rows,
        device=device,
        settings=recipe.train,
        image_px=held_out_px_at(epoch, recipe.schedule, own_px=data.own_px),
        processes=processes,
        stop=stop,
    )
