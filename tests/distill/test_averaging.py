import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kd_trainer.distill import averaging, embedding

ARGS = {"extra_args": {"args": SimpleNamespace()}}
CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def batches(number, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 3, generator=generator) for _ in range(number)]


def train(model, loss_func, opt, scheduler, view, dev, epoch, *, steps=None, seen=None, **kwargs):
    """A loop like weaver's; `seen` gets all tensors after each step."""
    model.train()
    for number, batch in enumerate(view, 1):
        opt.zero_grad()
        model(batch).square().sum().backward()
        opt.step()
        if seen is not None:
            seen.append(tensors(model))
        if number == steps:  # weaver does not ask for another batch
            break


def tensors(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


class View(list):
    dataset = None


def run(model, epochs, decay=0.9, steps=None, seen=None):
    """Train so many epochs with averages."""
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    train_averaged = averaging.averaging(train, decay)
    for epoch in range(epochs):
        train_averaged(model, None, opt, None, View(batches(5, epoch)), CPU, epoch, steps=steps, seen=seen, **ARGS)


def closed_form(seen, decay):
    """The average of weights after each step, a loop by hand."""
    average = {name: value.double() for name, value in seen[0].items()}
    for n, weights in enumerate(seen[1:], 1):
        d = min(decay, (1 + n) / (10 + n))
        average = {name: d * value + (1 - d) * weights[name] for name, value in average.items()}
    return average


@pytest.mark.parametrize("steps", [None, 3, 5])
@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_network_has_the_average_after_an_epoch(decay, steps):
    model, seen = network(), []
    run(model, 2, decay, steps, seen)
    assert len(seen) == 2 * (steps or 5)
    expected = closed_form(seen, decay)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)
    assert model[1].num_batches_tracked == len(seen)
    assert not torch.equal(model[0].weight, seen[-1]["0.weight"])


def test_the_raw_weights_go_their_way():
    seen, plain_seen = [], []
    run(network(), 3, seen=seen)
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(3):
        train(model, None, opt, None, batches(5, epoch), CPU, epoch, seen=plain_seen)
    for ours, plain in zip(seen, plain_seen, strict=True):
        assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_a_state_gives_back_raw_weights_and_number_of_steps():
    model = network()
    average = averaging.Averaging(model, 0.9)
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    train(model, None, opt, None, average.follow(batches(5)), CPU, 0)
    raw = tensors(model)
    average.end_epoch()
    state, other = average.state_dict(), copy.deepcopy(model)
    again = averaging.Averaging(other, 0.9)
    again.load_state_dict(state)
    assert again.is_average and int(again.other.n_averaged) == state["steps"] == 5
    again.start_epoch()
    assert all(torch.equal(value, raw[name]) for name, value in other.state_dict().items())
    again.start_epoch()  # it has them already
    assert torch.equal(other[0].weight, raw["0.weight"])


def test_wrapped_networks_and_a_projection():
    """The tensors are those of the student itself, the projection included, which no state dict has."""
    model = nn.Sequential()
    model.mod = nn.ModuleDict({"fc": nn.Linear(3, 2)})
    embedding.attach(model, 5)
    wrapped = nn.DataParallel(model)
    average = averaging.Averaging(wrapped, 0.5)
    before = [p.clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    average.end_epoch()  # the first step: its weights are the average
    with torch.no_grad():
        for p in model.parameters():
            p += 8
    average.is_average = False
    average.end_epoch()
    assert len(average.state_dict()["raw"]) == len(before) == 4
    for p, start, raw in zip(model.parameters(), before, average.state_dict()["raw"]):
        assert (p - start).min() > 1 and (raw - start).min() > (p - start).max()


def test_weights_of_an_epoch_without_its_raw_ones_are_told(caplog):
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    with caplog.at_level("WARNING"):
        averaging.averaging(train, 0.9)(model, None, opt, None, View(batches(1)), CPU, 3, **ARGS)
    assert "The raw weights of epoch 2 are not known: training continues from its" in caplog.text
