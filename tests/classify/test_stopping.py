import pytest
import torch
from torch import nn

from tinysight.classify.stopping import (
    StepGivenUpError,
    StopRequest,
    buffers_kept_on_error,
    step_can_be_given_up,
)


def test_a_backward_pass_is_given_up_when_a_stop_is_requested() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    stop = StopRequest()
    with step_can_be_given_up(network, stop):
        network(torch.ones(1, 2)).sum().backward()
        stop.make()
        with pytest.raises(StepGivenUpError):
            network(torch.ones(1, 2)).sum().backward()


def test_no_hook_is_left_behind() -> None:
    network = nn.Linear(2, 2)
    stop = StopRequest()
    with step_can_be_given_up(network, stop):
        pass
    stop.make()
    network(torch.ones(1, 2)).sum().backward()
    assert network.weight.grad is not None


def test_buffers_are_put_back_after_an_error() -> None:
    network = nn.BatchNorm2d(3)
    network(torch.randn(4, 3, 5, 5))
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def fail() -> None:
        network(torch.randn(4, 3, 5, 5) + 5)
        raise StepGivenUpError

    with pytest.raises(StepGivenUpError), buffers_kept_on_error(network):
        fail()
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    with buffers_kept_on_error(network):
        network(torch.randn(4, 3, 5, 5))
    assert network.num_batches_tracked == 2
