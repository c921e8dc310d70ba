import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from tinysight.classify.averaging import build_average, refresh_batch_norms, update_average
from tinysight.classify.processes import Processes
from tinysight.classify.settings import TrainSettings


def test_no_decay_is_no_average() -> None:
    assert build_average(nn.Linear(2, 2), 0.0) is None


def test_the_average_is_that_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    average = build_average(model, 0.9)
    assert average is not None
    oracle = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    oracle.update_parameters(model)  # its first call copies
    for _ in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        update_average(average, model, decay=0.9)
        oracle.update_parameters(model)
    for ours, theirs in zip(average.parameters(), oracle.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_average_shares_nothing_with_the_network() -> None:
    model = nn.Linear(3, 2)
    average = build_average(model, 0.5)
    assert average is not None
    before = average.weight.clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    assert torch.equal(average.weight, before)
    update_average(average, model, decay=0.5)
    torch.testing.assert_close(average.weight, before + 0.5)


@pytest.mark.parametrize("is_training", [True, False])
def test_statistics_are_those_that_torch_estimates(*, is_training: bool) -> None:
    torch.manual_seed(0)
    model, other = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
        for _ in range(2)
    )
    other.load_state_dict(model.state_dict())
    model(torch.randn(2, 3, 8, 8))  # statistics of before, which must go
    model.train(is_training)
    batches = [torch.randn(5, 3, 8, 8) * size for size in (1, 2, 3)]
    refresh_batch_norms(
        model,
        batches,
        device=torch.device("cpu"),
        settings=TrainSettings(precision="fp32"),
        processes=Processes(),
    )
    update_bn(batches, other)
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)
    assert model.training == is_training
    assert model[1].momentum == other[1].momentum == 0.1
    assert all(weight.grad is None for weight in model.parameters())
