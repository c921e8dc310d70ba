"""What training changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tinysight.classify.averaging import build_average
from tinysight.classify.batches import steps_per_epoch
from tinysight.classify.checkpoint import load_weights
from tinysight.classify.optimizers import build_optimizer
from tinysight.classify.placement import number_format, place_model
from tinysight.classify.schedule import schedule_at
from tinysight.classify.settings import Recipe
from tinysight.errors import RunError


class TrainingState:
    """Everything that training changes.

    Attributes:
        model: The network itself, never a compiled or distributed wrapper, so that its names are
            the same in every file.
        optimizer: torch's optimizer over the parameters of ``model``.
        average: The moving average of the weights, or None.
        step: Optimizer steps done.
        step_losses: (steps per epoch,) float32 on the device, this epoch's losses so far.
        accuracies: Sum over the steps of this epoch so far of the share of the batch, or of this
            process's part of it, that was right; a float32 number on the device.
        seconds: Training time so far.
        epoch_seconds: Training time in this epoch so far.
        recorded_epochs: Epochs that were evaluated and handed out.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, num_images: int, device: torch.device
    ) -> None:
        settings = recipe.train
        self.model = place_model(model, settings, device)
        num_steps = steps_per_epoch(num_images, settings.batch_size)
        start = schedule_at(0, recipe.schedule, steps_per_epoch=num_steps, epochs=settings.epochs)
        self.optimizer = build_optimizer(
            self.model,
            recipe.optimizer,
            lr=start.lr,
            momentum=start.momentum,
            muon_dtype=number_format(settings, device),
        )
        self.average = build_average(self.model, settings.ema_decay)
        self.step = 0
        self.step_losses = torch.zeros(num_steps, device=device)
        self.accuracies = torch.zeros((), device=device)
        self.seconds = 0.0
        self.epoch_seconds = 0.0
        self.recorded_epochs = 0

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and numbers."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "step_losses": self.step_losses,
            "accuracies": self.accuracies,
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_seconds,
            "recorded_epochs": self.recorded_epochs,
        }

    def load_state_dict(self, state: dict[str, Any], *, where: str) -> None:
        """Go back to a saved state.

        Raises:
            RunError: The state is that of another network, or of another version of tinysight.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise RunError(
                f"{where}: must hold all that this version of tinysight needs to go on, but "
                f"{', '.join(missing)} is missing. Go on with the version that wrote it, or train "
                f"anew in another --out."
            )
        load_weights(self.model, state["model"], where=where)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.step_losses.copy_(state["step_losses"])
        self.accuracies.copy_(state["accuracies"])
        self.seconds = state["seconds"]
        self.epoch_seconds = state["epoch_seconds"]
        self.recorded_epochs = state["recorded_epochs"]
