"""What a recipe can say: every field with its unit, its bounds and its default.

These are the only defaults of a training run; the command line and the recipes only override
them. No torch here, so that a recipe can be read and checked without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LEAST_IMAGE_PX = 32  # of the networks

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
# Far beyond any use: draws of pixels must be int64, and steps of the weights float32.
_MOST_PX = 2**20
_MOST_LR = 1e30
_MOST_FACTOR = 1e6


class SettingsError(ValueError):
    """Settings that do not go together.

    Attributes:
        faults: All of them, each a sentence without its full stop.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def faults_of_length(*, epochs: int, peak_epoch: float, full_size_epoch: int) -> list[str]:
    """Return what keeps a schedule from fitting into the epochs of a run.

    Args:
        epochs: ``train.epochs``.
        peak_epoch: ``schedule.peak_epoch``.
        full_size_epoch: ``schedule.full_size_epoch``.

    Returns:
        Sentences without their full stops; none where it fits.
    """
    faults = []
    if peak_epoch > epochs:
        faults.append(
            f"schedule.peak_epoch (={peak_epoch}) must be at most train.epochs (={epochs}); of a "
            f"shorter run lower it too, for instance schedule.peak_epoch={epochs / 4:g}"
        )
    if full_size_epoch >= epochs:
        advice = f"schedule.full_size_epoch={max(1, epochs * 2 // 3)}"
        if epochs == 1:  # no epoch would be left for smaller images
            advice = "schedule.full_size_epoch=0 with schedule.first_image_px=0"
        faults.append(
            f"schedule.full_size_epoch (={full_size_epoch}) must be below train.epochs "
            f"(={epochs}), so that training ends at the last size; of a shorter run lower it too, "
            f"for instance {advice}"
        )
    return faults


class _Settings(BaseModel):
    """Frozen, typed, closed: an unknown key is a fault, not a wish."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    def _faults(self) -> Iterator[str]:
        """Yield what does not go together, each a sentence without its full stop."""
        yield from ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if faults := list(self._faults()):
            raise SettingsError(faults)
        return self


class ModelSettings(_Settings):
    """Which network."""

    name: Literal[
        "resnet18", "resnet34", "compact", "compact10", "compact12", "compact14", "compact20"
    ] = "resnet18"
    """Architecture."""
    stem: Literal["3x3", "7x7"] = "3x3"
    """First layers of a ResNet: one 3x3 convolution for 64x64 images, or 7x7 with max-pooling.
    The compact networks have their own."""
    zero_init_last_norm: bool = False
    """Start the last batch-norm gain of each residual block at 0 (Goyal et al. 2017, sec. 5.1)."""


class AugmentSettings(_Settings):
    """What happens to a training image, in the order of the fields, one draw per image."""

    pad_px: Annotated[int, Field(ge=0, le=_MOST_PX)] = 8
    """Padding on each side before the random crop back to the image's size; 0 for no crop."""
    pad_mode: Literal["reflect", "mean"] = "reflect"
    """What padding and rotation show outside the image: its mirror image, or the mean colour of
    the training part."""
    flip_probability: Probability = 0.5
    """Chance of a horizontal flip."""
    alternate_flips: bool = False
    """Draw once which half of the images is flipped, and flip these in even epochs and all others
    in odd ones: in two epochs each image is seen both ways (Jordan 2024, arXiv:2404.00498, sec.
    3.6). ``flip_probability`` must then be 0.5."""
    resized_crop_probability: Probability = 0.0
    """Chance of a resized crop: a random part of the image, with sides that are to each other as
    3:4 to 4:3, is enlarged to the image's size (Szegedy et al. 2015, sec. 6). Enlarged images are
    smoother than those of the tests, so a network should see some that are not."""
    resized_crop_min_area: Annotated[float, Field(gt=0.0, le=1.0)] = 0.35
    """Smallest share of the image's area in that part."""
    rotate_probability: Probability = 0.0
    """Chance of a rotation by an angle drawn from [-rotate_degrees, rotate_degrees]."""
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 15.0
    """Largest rotation, degrees."""
    noise_probability: Probability = 0.0
    """Chance of Gaussian noise."""
    noise_std: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """Standard deviation of the noise, fraction of the full range of a pixel; the sum is cut off
    at both ends of that range."""
    dropout_probability: Probability = 0.0
    """Chance of coarse dropout: one rectangle filled with the mean colour."""
    dropout_min_px: Annotated[int, Field(ge=1, le=_MOST_PX)] = 8
    """Shortest side of the dropped rectangle, pixels."""
    dropout_max_px: Annotated[int, Field(ge=1, le=_MOST_PX)] = 16
    """Longest side of the dropped rectangle, pixels."""
    mix_probability: Probability = 0.0
    """Chance that an image is mixed with its neighbour in the shuffled order."""
    mixup_alpha: Annotated[float, Field(ge=0.0)] = 0.2
    """Beta parameter of mixup (Zhang et al. 2018); 0 turns mixup off."""
    cutmix_alpha: Annotated[float, Field(ge=0.0)] = 1.0
    """Beta parameter of cutmix (Yun et al. 2019); 0 turns cutmix off."""
    resizemix_max_side: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Longest side of the partner that is pasted whole into the image (resizemix, Qin et al.
    2020), as a share of the image's side, at least 0.1; 0 turns resizemix off."""

    def _faults(self) -> Iterator[str]:
        if self.dropout_min_px > self.dropout_max_px:
            yield (
                f"dropout_min_px (={self.dropout_min_px}) must be at most "
                f"dropout_max_px (={self.dropout_max_px})"
            )
        if self.mix_probability > 0 and not (
            self.mixup_alpha or self.cutmix_alpha or self.resizemix_max_side
        ):
            yield (
                f"mix_probability (={self.mix_probability}) must be 0 when mixup_alpha, "
                f"cutmix_alpha and resizemix_max_side are all 0"
            )
        if self.alternate_flips and self.flip_probability != 0.5:
            yield (
                f"flip_probability (={self.flip_probability}) must be 0.5 with alternate_flips, "
                f"which shows each image both ways; set alternate_flips = false for any other"
            )
        if 0 < self.resizemix_max_side < 0.1:
            yield (f"resizemix_max_side (={self.resizemix_max_side}) must be 0 or at least 0.1")


class OptimizerSettings(_Settings):
    """How a gradient changes a weight."""

    name: Literal["sgd", "adamw", "muon"] = "sgd"
    """Optimizer, torch's own. Muon moves the convolution filters, all but those that see the
    pixels; SGD moves everything else."""
    weight_decay: Annotated[float, Field(ge=0.0, le=_MOST_FACTOR)] = 5e-4
    """Weight decay; torch's meaning for each optimizer. With muon, filters shrink in each step by
    the same share as under SGD."""
    decay_norms_and_biases: bool = False
    """Whether weight decay also pulls on batch-norm gains and on biases."""
    decay_stem: bool = True
    """Whether weight decay also pulls on the filters that see the pixels."""
    nesterov: bool = True
    """Nesterov momentum (SGD only; Muon always has it)."""
    muon_lr_ratio: Annotated[float, Field(gt=0.0, le=_MOST_FACTOR)] = 0.2
    """Learning rate of Muon as a share of that of the schedule, which is SGD's."""
    muon_iterations: Annotated[int, Field(ge=1, lt=100)] = 5
    """Newton-Schulz iterations with which Muon makes a step orthogonal; fewer are rougher and
    quicker."""


class ScheduleSettings(_Settings):
    """Learning rate and momentum as functions of the step."""

    kind: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """Rise to ``max_lr`` and fall; fall from ``max_lr`` along a cosine; stay at ``max_lr``."""
    max_lr: Annotated[float, Field(gt=0.0, le=_MOST_LR)] = 0.1
    """Highest learning rate."""
    div_factor: Annotated[float, Field(ge=1.0)] = 25.0
    """One-cycle starts at ``max_lr / div_factor``; the warm-up of the others as well."""
    final_div_factor: Annotated[float, Field(gt=0.0)] = 1e4
    """One-cycle ends at ``max_lr / div_factor / final_div_factor``."""
    peak_epoch: Annotated[float, Field(ge=0.0)] = 2.0
    """Epochs until one-cycle is at ``max_lr``; epochs of warm-up for the others."""
    anneal: Literal["linear", "cosine"] = "linear"
    """Shape of the two halves of one-cycle."""
    max_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum (AdamW: beta 1) wherever it is not cycled."""
    min_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum at the top of one-cycle; equal to ``max_momentum`` for no cycling."""
    first_image_px: Annotated[int, Field(ge=0)] = 0
    """Side to which training images are made smaller in the first epoch, which needs a
    ``full_size_epoch``; 0 for their own size throughout. While images grow, those that are tested
    on are as small."""
    image_px_step: Annotated[int, Field(ge=1)] = 16
    """Pixels from one size to the next, where images grow."""
    full_size_epoch: Annotated[int, Field(ge=0)] = 0
    """Epoch, from 0, with which images have their last size; the sizes before share the epochs
    evenly."""
    last_image_px: Annotated[int, Field(ge=0)] = 0
    """Side of the training images in the end; 0 for their own. Resized crops show objects larger
    than tests do, which smaller images set right (Touvron et al. 2019), unless sharpness differs
    as well (docs/speedrun.md)."""

    def _faults(self) -> Iterator[str]:
        if self.min_momentum > self.max_momentum:
            yield (
                f"min_momentum (={self.min_momentum}) must be at most "
                f"max_momentum (={self.max_momentum})"
            )
        for name in ("first_image_px", "last_image_px"):
            if 0 < getattr(self, name) < LEAST_IMAGE_PX:
                yield (
                    f"{name} (={getattr(self, name)}) must be 0 or at least {LEAST_IMAGE_PX}, "
                    f"the smallest image that the networks take"
                )
        if 0 < self.last_image_px < self.first_image_px:
            yield (
                f"last_image_px (={self.last_image_px}) must be 0 or at least first_image_px "
                f"(={self.first_image_px})"
            )
        if self.first_image_px > 0 and self.full_size_epoch == 0:
            yield (
                f"full_size_epoch (=0) must be above 0 with first_image_px "
                f"(={self.first_image_px}), or no epoch has images of that size; "
                f"say with which epoch they have their last size"
            )


class TrainSettings(_Settings):
    """The loop itself."""

    epochs: Annotated[int, Field(ge=1)] = 16
    """Passes over the training part."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Images per optimizer step, over all processes and all accumulated parts."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Parts into which a batch is cut; gradients are summed before the step."""
    seed: int = 0
    """Fixes weights, order and augmentation."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of activations, and of Muon's iterations; weights and sums stay fp32. ``auto``
    is bf16 where the device has units for it, which the run writes down, and fp32 elsewhere. In
    fp32 convolutions on an NVIDIA GPU round their factors to TF32's ten binary digits after the
    point, as torch does unless ``torch.backends.cudnn.allow_tf32`` is False."""
    channels_last: bool = True
    """Whether filters lie channels last in memory, as the images of a batch always do."""
    compile: bool = False
    """Whether torch.compile builds the network first."""
    loss: Literal["cross-entropy", "nll"] = "cross-entropy"
    """Cross entropy on logits, or log-softmax and negative log-likelihood as two layers."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the target spread over all classes (Szegedy et al. 2016)."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay per step of the exponential moving average of the weights; 0 for none."""
    tuning_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the training part held back for choosing; the test part stays untouched."""
    checkpoint_every_s: Annotated[float, Field(gt=0.0)] = 300.0
    """Seconds from one checkpoint to the next, which is written at the first look at the loop after
    them: a look is taken now and then between steps, and at the end of each epoch. A run ends with
    a checkpoint."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations; the last epoch is always evaluated."""

    def _faults(self) -> Iterator[str]:
        if self.batch_size % (2 * self.accumulate):
            yield (
                f"batch_size (={self.batch_size}) must be a multiple of 2 x accumulate "
                f"(={2 * self.accumulate})"
            )
        if self.loss == "nll" and self.label_smoothing > 0:
            yield (
                f"label_smoothing (={self.label_smoothing}) must be 0 with loss nll; "
                f"use cross-entropy"
            )


class Recipe(_Settings):
    """Everything that decides what a run does, apart from the store."""

    model: ModelSettings = ModelSettings()
    augment: AugmentSettings = AugmentSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    train: TrainSettings = TrainSettings()

    def _faults(self) -> Iterator[str]:
        yield from faults_of_length(
            epochs=self.train.epochs,
            peak_epoch=self.schedule.peak_epoch,
            full_size_epoch=self.schedule.full_size_epoch,
        )
