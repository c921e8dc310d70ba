"""The training loop most people write, as a peer: files, Pillow, a DataLoader, fp32.

Images are JPEG files, decoded and changed one by one; the network is ours with torch's own
convolutions, in torch's own memory order.
"""

from __future__ import annotations

import math
import random
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tinysight.classify.models import build_model
from tinysight.classify.models.convolution import SameConv2d
from tinysight.classify.settings import ModelSettings
from tinysight.classify.store import Store


class JpegFiles(Dataset):  # type: ignore[type-arg]
    """Files decoded and transformed one by one, as in most training scripts."""

    def __init__(
        self, folder: Path, targets: list[int], store: Store, *, is_training: bool = True
    ) -> None:
        self.folder = folder
        self.targets = targets
        self.is_training = is_training
        self.mean = torch.tensor(store.mean, dtype=torch.float32)[:, None, None]
        self.std = torch.tensor(store.std, dtype=torch.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.folder / f"{index}.JPEG") as file:
            image = file.convert("RGB")
        if self.is_training:
            pixels = np.pad(np.asarray(image), ((8, 8), (8, 8), (0, 0)), mode="reflect")
            left, top = random.randint(0, 16), random.randint(0, 16)
            image = Image.fromarray(pixels[top : top + 64, left : left + 64])
            if random.random() < 0.5:
                image = ImageOps.mirror(image)
            if random.random() < 0.5:
                image = image.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR)
        tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        tensor = (tensor - self.mean) / self.std
        if self.is_training:
            height, width = random.randint(8, 16), random.randint(8, 16)
            top, left = random.randint(0, 64 - height), random.randint(0, 64 - width)
            tensor[:, top : top + height, left : left + width] = 0.0
        return tensor, self.targets[index]


def write_files(
    store: Store, rows: NDArray[np.int64], folder: Path, *, is_training: bool = True
) -> JpegFiles:
    """Write images of the store as JPEG files, as they come in the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        Image.fromarray(store.images_u8[row]).save(folder / f"{number}.JPEG", quality=90)
    targets = [int(store.targets[row]) for row in rows]
    return JpegFiles(folder, targets, store, is_training=is_training)


def spread_rows(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return so many rows, of all classes alike, some of them twice if there are fewer."""
    rows = rows[:: math.ceil(len(rows) / count)] if len(rows) > count else np.resize(rows, count)
    return rows[:count]


class PlainLoop:
    """The loop most people write; see the module.

    Args:
        files: Training images.
        workers: Processes that decode.
        num_classes: Length of the logits.
        batch_size: Images a step.
    """

    def __init__(
        self, files: JpegFiles, workers: int, num_classes: int, *, batch_size: int
    ) -> None:
        self.loader = DataLoader(
            files, batch_size, shuffle=True, num_workers=workers, drop_last=True
        )
        self.model = build_model(ModelSettings(stem="7x7"), num_classes, seed=0)
        for module in self.model.modules():
            if isinstance(module, SameConv2d):
                module.forward = partial(nn.Conv2d.forward, module)  # torch's own
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Take one optimizer step."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(images), targets).backward()
        self.optimizer.step()

    def images_per_s(self, steps: int, warm_up_steps: int) -> float:
        """Return images a second over some steps, after those to warm up."""
        began = 0.0
        for step, (images, targets) in enumerate(self.loader):
            if step == warm_up_steps:
                began = time.perf_counter()
            self.step(images, targets)
            if step == steps + warm_up_steps - 1:
                break
        return steps * (self.loader.batch_size or 1) / (time.perf_counter() - began)
