import pytest
import torch
import torch.nn.functional as F

from tinysight.classify.batches import Batch
from tinysight.classify.losses import image_hits, image_losses
from tinysight.classify.settings import TrainSettings

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.5]])
TARGETS = torch.tensor([0, 2])
IMAGES = torch.zeros(2, 3, 1, 1)


def test_the_loss_is_that_of_torch_with_label_smoothing() -> None:
    batch = Batch(IMAGES, TARGETS)
    losses = image_losses(LOGITS, batch, TrainSettings(label_smoothing=0.1))
    expected = F.cross_entropy(LOGITS, TARGETS, label_smoothing=0.1, reduction="none")
    assert torch.equal(losses, expected)


def test_log_softmax_with_nll_is_cross_entropy() -> None:
    batch = Batch(IMAGES, TARGETS)
    as_layers = image_losses(LOGITS, batch, TrainSettings(loss="nll"))
    assert torch.allclose(as_layers, image_losses(LOGITS, batch, TrainSettings()), atol=1e-6)


def test_a_mixed_image_has_the_cross_entropy_with_its_mixed_target() -> None:
    batch = Batch(IMAGES, TARGETS, torch.tensor([1, 2]), torch.tensor([0.75, 0.25]))
    losses = image_losses(LOGITS, batch, TrainSettings(label_smoothing=0.1))
    soft_targets = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    expected = F.cross_entropy(LOGITS, soft_targets, label_smoothing=0.1, reduction="none")
    assert torch.allclose(losses, expected, atol=1e-6)


def test_the_loss_of_bf16_logits_is_computed_in_fp32() -> None:
    losses = image_losses(LOGITS.bfloat16(), Batch(IMAGES, TARGETS), TrainSettings())
    assert losses.dtype == torch.float32


def test_hits_count_first_guesses_by_their_share() -> None:
    assert image_hits(LOGITS, Batch(IMAGES, TARGETS)).tolist() == [1.0, 0.0]
    mixed = Batch(IMAGES, TARGETS, torch.tensor([1, 1]), torch.tensor([0.75, 0.25]))
    assert image_hits(LOGITS, mixed).tolist() == pytest.approx([0.75, 0.75])
