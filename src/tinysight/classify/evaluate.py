"""What a network says about images it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tinysight.classify.augment import shrink_batch
from tinysight.classify.batches import LabelledImages, evaluation_batches
from tinysight.classify.placement import autocast
from tinysight.classify.processes import Processes
from tinysight.classify.settings import TrainSettings
from tinysight.classify.stopping import StopRequest, raise_if_requested

BATCH_SIZE = 500
TOP_K = 5

Finding = TypeVar("Finding")


@dataclass(frozen=True)
class Score:
    """How a network did on a set of images.

    Attributes:
        loss: Mean cross entropy, without label smoothing.
        accuracy: Share of images whose first guess is right.
        top5: Share of images whose first five guesses hold the right class.
    """

    loss: float
    accuracy: float
    top5: float


@dataclass(frozen=True)
class Predictions:
    """What a network says about each image.

    Attributes:
        logits: (N, C) float32.
        targets: (N,) int64, the right class index.
    """

    logits: NDArray[np.float32]
    targets: NDArray[np.int64]


@torch.inference_mode()
def score_model(
    model: nn.Module,
    images: LabelledImages,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    settings: TrainSettings,
    image_px: int | None = None,
    processes: Processes | None = None,
    stop: StopRequest | None = None,
) -> Score:
    """Score a network, each process on its share of the images.

    Sums are taken over images and divided once, so the score does not depend on the batches.

    Args:
        model: The network; its mode is left as it was.
        images: Those of the whole store, on ``device``.
        rows: (n,) rows of ``images`` to look at.
        device: Where the network is.
        settings: Number format to run it in.
        image_px: Side to which the images are made smaller; as they are if not given.
        processes: This process among those that share the work; alone when not given.
        stop: Looked at between batches.

    Raises:
        StepGivenUpError: A stop was requested.
    """
    processes = processes or Processes()
    own_rows = rows[processes.rank :: processes.count]

    def add_up(batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if stop is not None and processes.count == 1:
            raise_if_requested(stop)
        batch = shrink_batch(batch, image_px or batch.shape[2])
        logits = _compute_logits(model, batch, settings)
        ranks = rank_targets(logits, targets)
        loss = F.cross_entropy(logits, targets, reduction="sum")
        return torch.stack([loss, (ranks == 0).sum(), (ranks < TOP_K).sum()])

    with evaluation_mode(model):
        parts = list(look_at_batches(add_up, images, own_rows, device=device))
    # On the host, after the last batch: not every device has float64, and reading a sum waits.
    sums = torch.zeros(3, dtype=torch.float64)
    for part in parts:
        sums += part.cpu()
    if processes.count > 1:
        sums = processes.sum(sums.to(device))
    loss, hits, hits5 = (sums / len(rows)).tolist()
    return Score(loss=loss, accuracy=hits, top5=hits5)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: LabelledImages,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    settings: TrainSettings,
    mirror: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run a network over images and return its logits.

    Args:
        model: The network; its mode is left as it was.
        images: Those of the whole store, on ``device``.
        rows: (n,) rows of ``images`` to look at.
        device: Where the network is.
        settings: Number format to run it in.
        mirror: Show every image flipped from left to right.
        on_progress: Called with the number of images done and of all.
    """

    def logits_of(batch: torch.Tensor, _: torch.Tensor) -> NDArray[np.float32]:
        if mirror:
            batch = batch.flip(3)
        return _compute_logits(model, batch, settings).cpu().numpy()

    with evaluation_mode(model):
        logits = list(
            look_at_batches(logits_of, images, rows, device=device, on_progress=on_progress)
        )
    return Predictions(logits=np.concatenate(logits), targets=images.targets[rows])


def look_at_batches(
    look: Callable[[torch.Tensor, torch.Tensor], Finding],
    images: LabelledImages,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    batch_size: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """Yield what a function finds in each batch of images, in the order of ``rows``.

    Args:
        look: Called with a batch, (B, 3, S, S) float32, normalised, and its ``targets``, (B, …).
        images: Those of the whole store, on ``device``.
        rows: (n,) rows of ``images`` to look at.
        device: Where ``look`` computes.
        batch_size: Images of a batch, of which the last may be short; ``BATCH_SIZE`` when not
            given.
        on_progress: Called after each batch with the number of images done and of all.
    """
    done = 0
    for batch, targets in evaluation_batches(
        images, rows, batch_size=batch_size or BATCH_SIZE, device=device
    ):
        finding = look(batch, targets)
        done += len(batch)
        if on_progress:
            on_progress(done, len(rows))
        yield finding


def rank_targets(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how many classes come before the right one, 0 for a first guess that is right.

    Of equal logits, which bf16 often gives, the lower class comes first, as in
    :func:`.metrics.top_classes`: otherwise a score would depend on how a sort breaks ties.

    Args:
        logits: (B, C).
        targets: (B,) int64.

    Returns:
        (B,) int64. A logit that is no number puts its class last.
    """
    own = logits.gather(1, targets[:, None])
    is_lower = torch.arange(logits.shape[1], device=logits.device) < targets[:, None]
    is_not_before = (logits < own) | ((logits == own) & ~is_lower)
    return logits.shape[1] - is_not_before.sum(dim=1)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation, and each of its modules back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def _compute_logits(
    model: nn.Module, images: torch.Tensor, settings: TrainSettings
) -> torch.Tensor:
    with autocast(settings, images.device):
        logits: torch.Tensor = model(images)
    return logits.float()
