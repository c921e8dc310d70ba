"""A store appears under its name when it is whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinysight.classify.manifest import IMAGES, MANIFEST, REJECTED, SAMPLES
from tinysight.errors import DataError

_OF_A_STORE = {IMAGES, SAMPLES, REJECTED, MANIFEST}


@contextmanager
def whole_or_nothing(out: Path, *, replace: bool) -> Iterator[Path]:
    """Give a new folder beside ``out`` that takes its name if all goes well, else vanishes.

    Args:
        out: Where the store is to be; folders above it that are missing are made. A link stays,
            and the store is where it leads to.
        replace: Put the new store in the place of one that is there, if nothing else is in that
            folder but hidden files: it would be gone.

    Raises:
        DataError: Something is in the way, or the folder cannot be written.
    """
    _check_the_way(out, replace=replace)
    place = Path(os.path.realpath(out))  # a link would be moved aside instead of its store
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise DataError(
            f"{place.parent}: must be a folder that can be written to, {error.strerror}. "
            f"Mend that or choose another --out."
        ) from error
    try:
        folder = hidden / "store"  # the hidden one is closed to others, this is as umask has it
        folder.mkdir()
        yield folder
        _put_in_place(folder, place, replace=replace)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DataError(
            f"{out}: the store must be written whole, {error.strerror or error}. "
            f"{'Free some space' if is_full else 'Mend that'} or choose another --out."
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _check_the_way(out: Path, *, replace: bool) -> None:
    try:
        is_there = out.exists()
        is_store = is_there and (out / MANIFEST).exists()
        others = sorted(
            name
            for name in (os.listdir(out) if is_store else ())
            if name not in _OF_A_STORE and not name.startswith(".")
        )
    except OSError as error:
        raise DataError(
            f"{out}: must be in folders that can be looked into, {error.strerror}. "
            f"Change their permissions or choose another --out."
        ) from error
    if is_there and not replace:
        what = "a store" if is_store else "something else"
        raise DataError(
            f"{out}: must not exist yet, there is {what}. Choose another --out or pass --force."
        )
    if is_there and not is_store:
        raise DataError(
            f"{out}: only a store can be replaced, and this is none ({MANIFEST} is missing). "
            f"Choose another --out."
        )
    if others and replace:
        raise DataError(
            f"{out}: only a store can be replaced, and in the folder of this one there is "
            f"{others[0]} as well, which would be lost. Move it away or choose another --out."
        )


def _put_in_place(folder: Path, out: Path, *, replace: bool) -> None:
    # No fsync: a store that a power failure tore is found by its checksums and packed again.
    _check_the_way(out, replace=replace)  # again: the work took a while
    if not out.exists():
        os.replace(folder, out)
        return
    aside = folder.parent.with_name(f"{folder.parent.name}.old")
    try:
        os.replace(out, aside)
        os.replace(folder, out)
    finally:
        # After a fault or a signal between the two as well: one of them is the store, and the
        # other must not stay behind under a hidden name.
        if not out.exists() and aside.exists():
            os.replace(aside, out)
        shutil.rmtree(aside, ignore_errors=True)
