import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tinysight.classify.averaging import build_average, update_average


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
