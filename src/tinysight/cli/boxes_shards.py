"""The arguments with which a ``tinysight boxes`` command reads many files side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinysight.cli.number_arguments import whole_number
from tinysight.cli.progress import progress_bar

if TYPE_CHECKING:
    from tinysight.boxes.engine import ShardResult
    from tinysight.boxes.geometry import Fit


def add_shard_arguments(parser: argparse.ArgumentParser, *, remark: str = "") -> None:
    """Add whether the files are shards, and who reads them.

    Args:
        parser: Of the command.
        remark: What else ``--shards`` means to this command.
    """
    parser.add_argument(
        "--shards",
        action="store_true",
        help="read the files side by side and add up; no image may be in two of them" + remark,
    )
    parser.add_argument(
        "--workers",
        type=whole_number(),
        metavar="N",
        help="with --shards: processes (default: cores)",
    )
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="with --shards: let a Dask cluster read, by its scheduler"
    )


def are_shards(arguments: argparse.Namespace) -> bool:
    """Return whether the files are shards.

    Raises:
        DataError: It is said who reads the shards, but not that the files are some.
    """
    from tinysight.errors import DataError

    is_read_by = arguments.dask is not None or arguments.workers is not None
    if is_read_by and not arguments.shards:
        raise DataError("--workers and --dask are for files that are shards. Add --shards.")
    return bool(arguments.shards)


def read_shards(
    arguments: argparse.Namespace,
    *,
    input_size_wh: tuple[int, int] | None = None,
    fit: Fit = "letterbox",
) -> ShardResult:
    """Add up what the shards hold, with a bar of how many are done.

    Args:
        arguments: With those of ``boxes_input`` and :func:`add_shard_arguments`.
        input_size_wh: Input at which the sizes of boxes are counted as well, pixels.
        fit: How images meet it.
    """
    from tinysight.boxes.engine import ShardSettings, dask_executor, summarize_shards

    settings = ShardSettings(
        input_size_wh=input_size_wh,
        fit=fit,
        format=arguments.format,
        box_order=arguments.box_order,
        policy=arguments.policy,
        images_dir=arguments.images,
        image_size_wh=arguments.image_size,
    )
    with progress_bar("counting", "shards") as report:
        if arguments.dask is None:
            return summarize_shards(
                arguments.files, settings, num_workers=arguments.workers, on_shard=report
            )
        with dask_executor(arguments.dask) as executor:
            return summarize_shards(arguments.files, settings, executor=executor, on_shard=report)


def order_note(box_orders: tuple[str, ...]) -> str:
    """Return a line where the shards were not all read in one order, else an empty text."""
    if len(box_orders) < 2:
        return ""
    return (
        f"box order   differs between the shards: {', '.join(box_orders)}. "
        f"Give --box-order if one is meant for all."
    )
