"""What a network says about images it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tinysight.classify.batches import Images, evaluation_batches
from tinysight.classify.placement import autocast
from tinysight.classify.processes import Processes
from tinysight.classify.settings import TrainSettings
from tinysight.classify.stopping import StopRequest, raise_if_requested

BATCH_SIZE = 500
TOP_K = 5


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
    images_u8: Images,
    rows: NDArray[np.int64],
    targets: NDArray[np.int64],
    *,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    device: torch.device,
    settings: TrainSettings,
    processes: Processes | None = None,
    stop: StopRequest | None = None,
) -> Score:
    """Score a network, each process on its share of the images.

    Sums are taken over images and divided once, so the score does not depend on the batches.

    Args:
        model: The network; its mode is left as it was.
        images_u8: (N, S, S, 3) uint8.
        rows: Rows of ``images_u8`` to look at.
        targets: (N,) class index of each image.
        mean: (3,) in [0, 1], for normalisation.
        std: (3,) likewise.
        device: Where the network is.
        settings: Number format to run it in.
        processes: This process among those that share the work; alone when not given.
        stop: Looked at between batches.

    Raises:
        StepGivenUpError: A stop was requested.
    """
    processes = processes or Processes()
    own_rows = rows[processes.rank :: processes.count]
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    with evaluation_mode(model):
        for images, batch_targets in evaluation_batches(
            images_u8, own_rows, targets, mean=mean, std=std, batch_size=BATCH_SIZE, device=device
        ):
            if stop is not None and processes.count == 1:
                raise_if_requested(stop)
            with autocast(settings, device):
                logits = model(images)
            logits = logits.float()
            best = logits.topk(min(TOP_K, logits.shape[1]), dim=1).indices
            is_hit = best == batch_targets[:, None]
            sums[0] += F.cross_entropy(logits, batch_targets, reduction="sum")
            sums[1] += is_hit[:, 0].sum()
            sums[2] += is_hit.sum()
    loss, hits, hits5 = (processes.sum(sums) / len(rows)).tolist()
    return Score(loss=loss, accuracy=hits, top5=hits5)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images_u8: Images,
    rows: NDArray[np.int64],
    targets: NDArray[np.int64],
    *,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    device: torch.device,
    settings: TrainSettings,
    on_progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run a network over images and return its logits.

    Args:
        model: The network; its mode is left as it was.
        images_u8: (N, S, S, 3) uint8.
        rows: Rows of ``images_u8`` to look at.
        targets: (N,) class index of each image.
        mean: (3,) in [0, 1], for normalisation.
        std: (3,) likewise.
        device: Where the network is.
        settings: Number format to run it in.
        on_progress: Called with the number of images done and of all.
    """
    logits = []
    done = 0
    with evaluation_mode(model):
        for images, _ in evaluation_batches(
            images_u8, rows, targets, mean=mean, std=std, batch_size=BATCH_SIZE, device=device
        ):
            with autocast(settings, device):
                batch_logits = model(images)
            logits.append(batch_logits.float().cpu().numpy())
            done += len(images)
            if on_progress:
                on_progress(done, len(rows))
    return Predictions(logits=np.concatenate(logits), targets=targets[rows])


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation, and back to the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
