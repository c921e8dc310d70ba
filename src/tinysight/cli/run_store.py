"""The store of a run, where it was or where it is now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinysight.classify.store import Store


def load_run_store(run: Path, named: Path | None) -> Store:
    """Open the store that a run was trained on, its checksums not compared.

    Args:
        run: A run folder.
        named: Where the user says that the store is; None for where it was.

    Raises:
        RunError: Not a run folder, or no store is where it was.
        DataError: The store is damaged, or there is none at ``named``.
    """
    from tinysight.classify.manifest import MANIFEST
    from tinysight.classify.store import load_store
    from tinysight.errors import RunError
    from tinysight.run_folder import read_run

    if named is not None:
        return load_store(named, verify=False)
    path = Path(read_run(run)["store"])
    # Unlike Path.exists this takes folders that may not be looked into.
    if not os.path.exists(path / MANIFEST):
        raise RunError(
            f"{run}: its store must still be where it was, none is seen at {path}. "
            f"Name the place where it is now with --store."
        )
    return load_store(path, verify=False)
