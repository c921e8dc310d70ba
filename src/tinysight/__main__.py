"""``python -m tinysight``."""

from tinysight.cli import entry_point

entry_point()
