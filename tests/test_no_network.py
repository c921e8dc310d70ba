from __future__ import annotations

import socket

import pytest


def test_a_test_that_leaves_this_machine_fails() -> None:
    with socket.socket() as client:
        client.settimeout(1)
        with pytest.raises(AssertionError, match="must not use the network, it connects to"):
            client.connect(("192.0.2.1", 80))  # an address for documentation


def test_a_test_may_talk_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert client.getpeername() == server.getsockname()
