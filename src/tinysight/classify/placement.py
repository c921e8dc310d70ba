"""Where a network computes, in which memory order and in which number format."""

from __future__ import annotations

import torch
from torch import nn

from tinysight.classify.processes import Processes
from tinysight.classify.settings import TrainSettings
from tinysight.errors import RunError

# Instructions for products of bf16 numbers, as torch.cpu.get_capabilities names them.
_BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")


def choose_device(name: str, processes: Processes | None = None) -> torch.device:
    """Return the device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the first of CUDA, MPS and the CPU that
            is there; torch cannot add up over several processes what is on MPS.
        processes: Those that train together; each takes the GPU of its number on its machine.
            Alone when not given.

    Raises:
        RunError: The device is not there, or several processes cannot train on it.
    """
    processes = processes or Processes()
    has_mps = torch.backends.mps.is_available()
    is_there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": has_mps}
    if name == "auto":
        order = ("cuda", "cpu") if processes.count > 1 else ("cuda", "mps", "cpu")
        name = next(name for name in order if is_there[name])
    if name == "mps" and processes.count > 1:
        raise RunError(
            f"--device: {processes.count} processes must train where torch can add up their "
            f"gradients, but it cannot on mps. Train with --device cpu, or without torchrun."
        )
    if not is_there[name]:
        raise RunError(
            f"--device: {name} must be present on this machine, but torch {torch.__version__} "
            f"finds none. Use --device auto."
        )
    return torch.device(name, processes.local_rank) if name == "cuda" else torch.device(name)


def place_model(model: nn.Module, settings: TrainSettings, device: torch.device) -> nn.Module:
    """Move a network to a device and its filters into the memory order of the recipe."""
    model = model.to(device)
    if settings.channels_last:
        # torch's own annotation of Module.to leaves this form out.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in the precision of the recipe."""
    is_bf16 = number_format(settings, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16)


def number_format(settings: TrainSettings, device: torch.device) -> torch.dtype:
    """Return the number format that the recipe, or the device where it leaves it open, asks for."""
    settled = settle_precision(settings, device)
    return torch.bfloat16 if settled.precision == "bf16" else torch.float32


def settle_precision(
    settings: TrainSettings, device: torch.device, processes: Processes | None = None
) -> TrainSettings:
    """Return settings that name the number format to train in, where the recipe leaves it open.

    Args:
        settings: Those of the recipe.
        device: Where the network computes.
        processes: Those that train together; one whose device has no units for bf16 decides for
            all. Alone when not given.
    """
    if settings.precision != "auto":
        return settings
    processes = processes or Processes()
    (is_missing,) = processes.any((not multiplies_bf16(device),), device)
    return settings.model_copy(update={"precision": "fp32" if is_missing else "bf16"})


def settings_to_look(settings: TrainSettings, device: torch.device) -> TrainSettings:
    """Return settings to look at images with a trained network, perhaps on another device.

    The weights of a run are fp32 whatever it was trained in, so fp32 is right everywhere; the
    format of the run is kept where it is quick, to repeat its figures.
    """
    keeps_bf16 = settings.precision != "fp32" and multiplies_bf16(device)
    return settings.model_copy(update={"precision": "bf16" if keeps_bf16 else "fp32"})


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether a device is quicker in bf16 than in fp32.

    For processors without instructions for bf16 torch converts every number back and forth, and is
    many times slower than in fp32 (docs/design.md). GPUs have units for it from compute capability
    8.0 on. Of other devices, those of Apple and ARM among them, nothing was measured, and they get
    fp32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in _BF16_INSTRUCTIONS)
    return False
