"""What stands beside the training loop: the warm-up, the average of the weights, and the loss by t."""

import math

import pytest
import torch
from small_models import SHORT, Scales, batches, same, seeded, small_model, weights_of

from course_utils.diffusion.training import EMA, cool_down, loss_by_t, train, warm_up


def test_warm_up():
    rate = warm_up(0.3, 3)
    assert [rate(step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])
    assert warm_up(0.3, 1)(0) == 0.3
    with pytest.raises(ValueError, match="at least 1 step; got 0"):
        warm_up(0.3, 0)


@pytest.mark.parametrize("steps", [5, 20])
def test_cool_down_is_torch_s_half_cosine_over_the_last_part(steps):
    """Of a run of 20 steps."""
    sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
    rates = [1.0] * (20 - steps)
    for _ in range(steps):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        theirs.step()
    ours = [cool_down(step / 20, steps / 20) for step in range(20)]
    assert ours == pytest.approx(rates, abs=1e-12)
    assert cool_down(1.0, steps / 20) == cool_down(1.2, steps / 20) == pytest.approx(0, abs=1e-30)


def test_a_rate_need_not_cool_down():
    assert cool_down(0.0, 0.0) == cool_down(1.0, 0.0) == 1.0
    with pytest.raises(ValueError, match=r"in \[0, 1\]; got 30"):
        cool_down(0.5, 30)


# --- the average of the weights -----------------------------------------------------------------------------


def average_of(values, decay):
    """The EMA of a model that began at values[0] and went through the others."""
    model = Scales().double()
    model.scale.data.fill_(values[0])
    ema = EMA(model, decay)
    for value in values[1:]:
        model.scale.data.fill_(value)
        ema.update(model)
    return ema.model.scale.item()


@pytest.mark.parametrize("n", [1, 2, 5, 50, 300])
def test_the_start_fades_from_the_average_while_it_warms_up(n):
    """d = 1/10, 2/11, 3/12, …: their product is 1 / C(n + 9, 9)."""
    left = average_of([1.0] + n * [0.0], decay=0.999)
    assert left == pytest.approx(1 / math.comb(n + 9, 9), rel=1e-12)


def test_once_warm_it_is_an_exponential_average():
    """With d = 1/10 it is warm from the first."""
    right = 0.1**3 * 3 + 0.9 * (0.1**2 * 1 + 0.1 * 4 + 1.5)
    assert average_of([3.0, 1.0, 4.0, 1.5], decay=0.1) == pytest.approx(right, rel=1e-12)
    assert average_of([3.0, 1.0, 4.0, 1.5], decay=0) == 1.5


def test_decay_is_the_longest_memory():
    """(1 + n) / (10 + n) comes to 0.5 at n = 8."""
    start, later = average_of([1.0] + 8 * [0.0], 0.5), average_of([1.0] + 11 * [0.0], 0.5)
    assert later / start == pytest.approx(0.5**3, rel=1e-12)


class Counts(torch.nn.Module):
    """A network with buffers and dropout."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x, t):
        return self.dropout(self.norm(self.layer(x)))


def test_the_averaged_model_stands_apart():
    model = Counts()
    ema = EMA(model)
    assert model.training
    assert not any(module.training for module in ema.model.modules())
    assert not any(weight.requires_grad for weight in ema.model.parameters())
    before = weights_of(model)
    list(train(model, batches(3), SHORT, generator=seeded()))
    assert same(weights_of(ema.model), before)


def test_training_averages_after_every_step_and_takes_over_buffers():
    model = Counts()
    ema, twin = EMA(model, 0.9), weights_of(model)
    for n, _ in enumerate(train(model, batches(4), SHORT, lr=0.1, ema=ema, generator=seeded())):
        d = min(0.9, (1 + n) / (10 + n))
        twin = [d * a + (1 - d) * b for a, b in zip(twin, weights_of(model), strict=True)]
        for a, b in zip(twin, ema.model.parameters(), strict=True):
            torch.testing.assert_close(a, b)
        for a, b in zip(model.buffers(), ema.model.buffers(), strict=True):
            assert torch.equal(a, b)
    assert ema.updates == 4


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2, math.nan])
def test_a_decay_that_is_no_average_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\); got"):
        EMA(small_model(), decay)


# --- the loss by t ------------------------------------------------------------------------------------------


def test_the_loss_by_t():
    t = torch.tensor([3, 0, 9, 1, 8, 3])
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    means = loss_by_t(losses, t, T=10, bins=5)
    torch.testing.assert_close(means, torch.tensor([3, 3.5, math.nan, math.nan, 4]), equal_nan=True)
    assert loss_by_t(losses, t, T=10, bins=1) == losses.mean()


@pytest.mark.parametrize(("T", "bins"), [(1000, 10), (1000, 7), (10, 10), (6, 4), (300, 256)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_the_bins_are_as_wide_as_one_another(T, bins, dtype):
    """Bin k holds k·T/bins ≤ t < (k+1)·T/bins, told by Python's whole numbers, for every t that fits."""
    t = torch.arange(min(T, 256)).to(dtype)
    losses = torch.rand(len(t), generator=seeded(), dtype=torch.float64)
    means = loss_by_t(losses, t, T, bins)
    assert len(means) == bins
    for k in range(bins):
        inside = [
            x for i, x in zip(t.tolist(), losses, strict=True) if k * T <= i * bins < (k + 1) * T
        ]
        if inside:
            torch.testing.assert_close(means[k], torch.stack(inside).mean())
        else:
            assert means[k].isnan()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bins": 0}, "1 ≤ bins ≤ T; got bins=0 and T=10"),
        ({"bins": 11}, "got bins=11 and T=10"),
        ({"t": torch.zeros(3)}, "need t, whole numbers.*got torch.float32"),
        ({"t": torch.tensor([1, 2])}, r"got torch.int64 \[2\] and torch.float32 \[3\]"),
        ({"t": torch.tensor([1, 10, 2])}, "0 … 9; got values from 1 to 10"),
        ({"t": torch.tensor([1, -1, 2])}, "0 … 9; got values from -1 to 2"),
    ],
)
def test_bins_that_cannot_be_are_refused(given, message):
    good = {"t": torch.tensor([1, 2, 3]), "losses": torch.ones(3), "T": 10, "bins": 5}
    with pytest.raises(ValueError, match=message):
        loss_by_t(**(good | given))
