"""Names that every file and every screen can hold.

The name of a file may be bytes that are no UTF-8. Python has lone surrogates for them, which open
the file again but which no encoding can write.
"""

from __future__ import annotations


def writable(name: str) -> str:
    r"""Return a name with ``\udcff`` spelt out in place of each lone surrogate."""
    return name.encode("utf-8", "backslashreplace").decode()


def all_writable(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names with :func:`writable` where one needs it."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return tuple(map(writable, names))
    return names
