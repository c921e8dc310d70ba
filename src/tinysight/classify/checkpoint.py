"""Training states and weights on disk: whole or absent, read without running anything.

A checkpoint is a ``torch.save`` file read with ``weights_only=True``, so that a file from a
stranger cannot run code. Weights for later steps are safetensors.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import nn

from tinysight import run_folder, whole_files
from tinysight.errors import RunError

CHECKPOINTS_KEPT = 2

State = dict[str, Any]


def save_checkpoint(run: Path, state: State) -> Path:
    """Write the state of a training run and keep the last two.

    Args:
        run: The run folder.
        state: Tensors, numbers and texts; ``state["step"]`` names the file.

    Raises:
        RunError: The disk is full or the file cannot be written; earlier checkpoints are still
            there.
    """
    path = run_folder.checkpoint_file(run, state["step"])
    whole_files.make_folder(path.parent)
    whole_files.replace_file(path, lambda file: torch.save(state, file))
    for old in run_folder.checkpoint_files(run)[CHECKPOINTS_KEPT:]:
        whole_files.remove_file(old)
    return path


def load_checkpoint(path: Path) -> State:
    """Read a training state on the CPU.

    Raises:
        RunError: The file is not a whole checkpoint, or a bit of it is not as it was written.
    """
    try:
        _require_as_written(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise nearly anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path}: must be a whole checkpoint of tinysight, but {reason}. "
            f"Copy it anew from where the run was, or delete it."
        ) from error
    if not isinstance(state, dict) or not {"step", "model", "optimizer"} <= state.keys():
        raise RunError(
            f"{path}: must hold a step, a model and an optimizer, and does not. "
            f"Copy it anew from where the run was, or delete it."
        )
    return state


def _require_as_written(path: Path) -> None:
    """Compare every record with its checksum, which torch writes and does not read.

    Raises:
        ValueError: A record is not as it was written. zipfile raises more on files that are no zip.
    """
    with zipfile.ZipFile(path) as records:
        damaged = records.testzip()
    if damaged is not None:
        raise ValueError(f"its record {damaged} does not fit its checksum")


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Copy weights into a network of the same shape.

    Args:
        model: The network to fill.
        weights: Tensors by name.
        where: What an error message calls the file.

    Raises:
        RunError: The weights are those of another network; the network is unchanged.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise RunError(
                f"{where}: must hold weights for this network, but {name} is missing. "
                f"Use the recipe that the weights were trained with."
            )
        if weights[name].shape != tensor.shape:
            raise RunError(
                f"{where}: {name} must have shape {tuple(tensor.shape)} in this network, got "
                f"{tuple(weights[name].shape)}. Use the recipe that the weights were trained with."
            )
    unknown = [name for name in weights if name not in own]
    if unknown:
        raise RunError(
            f"{where}: must hold weights for this network only, but it also has {unknown[0]}. "
            f"Use the recipe that the weights were trained with."
        )
    model.load_state_dict(weights)


def save_model(run: Path, model: nn.Module, about: Mapping[str, Any]) -> Path:
    """Write the weights of a trained network as safetensors.

    Args:
        run: The run folder.
        model: The network; its weights are written in fp32 in their standard memory order.
        about: What a reader must know (classes, normalisation, recipe), kept as JSON texts in the
            metadata.
    """
    path = run / run_folder.MODEL
    # safetensors has no strides: every tensor is written in its plain memory order.
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    content = weights_file(weights, about)
    whole_files.replace_file(path, lambda file: file.write(content))
    return path


def weights_file(weights: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> bytes:
    """Return weights as a safetensors file that is the same to the byte each time.

    safetensors writes the metadata in another order each time; here they are in the order of their
    names. The header is the length of a JSON text in 8 bytes and this text, with spaces at its end
    so that the tensors begin at a multiple of 8; where they lie is counted from its end.

    Args:
        weights: Tensors by name, on the CPU, contiguous.
        about: What a reader must know, kept as JSON texts in the metadata.
    """
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in about.items()}
    content = safetensors_bytes(dict(weights), metadata=metadata)
    begin = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:begin]) | {"__metadata__": dict(sorted(metadata.items()))}
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[begin:]


def load_model_weights(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the weights of a trained network and what was written about it.

    Raises:
        RunError: No weights yet, or the file is damaged or was not written by training.
    """
    path = run / run_folder.MODEL
    if not path.exists():
        raise RunError(
            f"{path}: must exist, but the run has no trained weights yet. "
            f"Finish it with `tinysight train … --out {quote(str(run))} --resume`."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(
            f"{path}: must be a whole safetensors file, but {error}. Train the run again."
        ) from error
    missing = [key for key in ("recipe", "weights") if key not in metadata]
    if missing:
        raise RunError(
            f"{path}: must have the metadata that training wrote, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: another program wrote the file. "
            f"Move it away and write it again with "
            f"`tinysight train … --out {quote(str(run))} --resume`."
        )
    return weights, metadata
