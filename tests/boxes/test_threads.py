import threading

import pytest

from tinysight.boxes.threads import map_in_threads
from tinysight.errors import DataError


def test_results_come_in_the_order_of_the_items() -> None:
    late = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            late.wait(0.2)  # the first ends last
        else:
            late.set()
        return item * item

    assert map_in_threads(work, range(20)) == [item * item for item in range(20)]


def test_the_first_fault_is_raised() -> None:
    def work(item: int) -> int:
        if item >= 2:
            raise DataError(f"item {item}")
        return item

    with pytest.raises(DataError, match="item 2"):
        map_in_threads(work, range(5))


def test_nothing_to_do_is_nothing() -> None:
    assert map_in_threads(lambda item: item, []) == []
