"""The training loss: one value an image, mixed targets and label smoothing included."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tinysight.classify.batches import Batch
from tinysight.classify.settings import TrainSettings


def image_losses(logits: torch.Tensor, batch: Batch, settings: TrainSettings) -> torch.Tensor:
    """Return the loss of each image of a batch.

    Cross entropy in the two forms that people write, which are the same function: on logits, or a
    log-softmax layer and the negative log-likelihood. A mixed image has two targets, weighted by
    their shares.

    Args:
        logits: (B, C), any floating dtype; the loss is computed in fp32.
        batch: Targets of these logits.
        settings: Kind of loss and label smoothing.

    Returns:
        (B,) float32.
    """
    logits = logits.float()
    loss = _one_target(logits, batch.targets, settings)
    if batch.other_targets is None or batch.share is None:
        return loss
    other = _one_target(logits, batch.other_targets, settings)
    return batch.share * loss + (1 - batch.share) * other


def image_hits(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return how right the first guess for each image is, in [0, 1].

    For a mixed image this is the share of the class that was guessed.

    Returns:
        (B,) float32.
    """
    guesses = logits.argmax(dim=1)
    hits = (guesses == batch.targets).float()
    if batch.other_targets is None or batch.share is None:
        return hits
    other = (guesses == batch.other_targets).float()
    return batch.share * hits + (1 - batch.share) * other


def _one_target(
    logits: torch.Tensor, targets: torch.Tensor, settings: TrainSettings
) -> torch.Tensor:
    if settings.loss == "nll":
        return F.nll_loss(F.log_softmax(logits, dim=1), targets, reduction="none")
    return F.cross_entropy(
        logits, targets, label_smoothing=settings.label_smoothing, reduction="none"
    )
