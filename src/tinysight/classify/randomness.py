"""Random draws that depend on what they are for and on nothing else.

Every draw is keyed by a seed, an epoch (or another counter) and a purpose. No state is carried
from one draw to the next, so a resumed run needs only its step number to go on with the same
numbers, and nothing here touches the global generators of NumPy or torch.
"""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a generator whose stream depends only on ``seed`` and ``key``.

    Args:
        seed: The seed of the run, any integer.
        key: What the draw is for, for instance ``("order", 3)`` for the order of epoch 3.

    Returns:
        A NumPy generator (Philox) at the start of its stream; the same on every platform.
    """
    text = ":".join(str(part) for part in (seed, *key))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
