"""The training loop: what it yields, that it repeats itself, and that it learns."""

import itertools
import math

import pytest
import torch
from devices import on_every_device
from scipy import stats

from course_utils.data import two_gaussians
from course_utils.diffusion import schedule
from course_utils.diffusion.mlp import MLP
from course_utils.diffusion.objective import PREDICTIONS, squared_error
from course_utils.diffusion.training import train

SHORT = schedule.linear(10)


def small_model(seed=0, T=10):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLP(T, width=16, depth=1, frequencies=4)


def batches(n, size=8, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, generator=generator).to(device) for _ in range(n)]


def weights_of(model):
    return [p.detach().clone() for p in model.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def seeded(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


@on_every_device
def test_it_yields_once_for_each_batch_after_the_model_has_changed(device):
    model = small_model().to(device)
    before = weights_of(model)
    steps = []
    for step in train(model, batches(5, device=device), SHORT, generator=seeded(device=device)):
        assert not same(before, weights_of(model))
        before = weights_of(model)
        steps.append(step)
    assert [step.step for step in steps] == list(range(5))
    for step in steps:
        assert step.t.shape == step.losses.shape == (8,)
        assert step.loss.shape == ()
        assert step.losses.device.type == device
        assert not step.loss.requires_grad
        assert not step.losses.requires_grad
        torch.testing.assert_close(step.loss, step.losses.mean())


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_step_is_adam_on_the_simple_loss(prediction):
    """The same by hand: t first, then the noise, from the same generator."""
    model, twin = small_model(), small_model()
    steps = list(
        train(model, batches(3), SHORT, lr=0.01, prediction=prediction, generator=seeded())
    )
    generator, optimizer = seeded(), torch.optim.Adam(twin.parameters(), lr=0.01)
    for x0, step in zip(batches(3), steps, strict=True):
        t = torch.randint(10, (8,), generator=generator)
        eps = torch.randn(8, 2, generator=generator)
        errors = squared_error(twin, SHORT, x0, t, eps, prediction)
        assert torch.equal(step.t, t)
        torch.testing.assert_close(step.losses, errors.detach())
        optimizer.zero_grad()
        errors.mean().backward()
        optimizer.step()
    torch.testing.assert_close(weights_of(model), weights_of(twin))


def test_seeds_decide_everything():
    def run(seed):
        model = small_model()
        losses = [s.loss.item() for s in train(model, batches(4), SHORT, generator=seeded(seed))]
        return losses, weights_of(model)

    (losses, weights), (again, weights_again), (other, _) = run(1), run(1), run(2)
    assert losses == again
    assert same(weights, weights_again)
    assert losses != other


def test_the_learning_rate_may_depend_on_the_step():
    asked = []

    def warm_up(step):
        asked.append(step)
        return 0.0 if step < 2 else 1e-2

    model = small_model()
    before = weights_of(model)
    changed = []
    for _ in train(model, batches(4), SHORT, lr=warm_up, generator=seeded()):
        changed.append(not same(before, weights_of(model)))
    assert changed == [False, False, True, True]
    assert set(asked) == {0, 1, 2, 3}


def test_it_takes_no_more_than_the_caller_asks_for():
    taken = []

    def endless():
        for k in itertools.count():
            taken.append(k)
            yield torch.zeros(4, 2)

    steps = train(small_model(), endless(), SHORT)
    assert len(list(itertools.islice(steps, 3))) == 3
    assert taken == [0, 1, 2]


def test_a_loss_that_is_not_finite_stops_it_before_the_model_changes():
    class Blows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = small_model(), 0

        def forward(self, x, t):
            self.calls += 1
            return self.inner(x, t) * (math.inf if self.calls == 3 else 1)

    model = Blows()
    steps = train(model, batches(5), SHORT)
    next(steps), next(steps)
    before = weights_of(model)
    with pytest.raises(FloatingPointError, match=r"the loss is (inf|nan) at step 2"):
        next(steps)
    assert same(before, weights_of(model))


def test_it_learns():
    """From the loss of a network that knows nothing, about 1, towards the floor."""
    made = schedule.linear(50, 1e-3, 0.2)
    data, generator = two_gaussians(), seeded()
    source = (data.sample(256, generator) for _ in range(300))
    model = MLP(50, width=32, depth=2)
    losses = torch.stack([s.loss for s in train(model, source, made, lr=5e-3, generator=generator)])
    assert losses[:5].mean() > 0.8
    assert losses[-50:].mean() < 0.55


class Scales(torch.nn.Module):
    """The simplest network: one number."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, t):
        return self.scale * x


def test_every_step_of_noise_is_drawn_equally_often():
    many = [torch.zeros(20_000, 1)] * 2
    first, second = (step.t for step in train(Scales(), many, SHORT, generator=seeded()))
    counts = torch.bincount(torch.cat([first, second]), minlength=10)
    assert len(counts) == 10
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(4,), (4, 1, 3, 3)])
def test_batches_of_any_shape(shape):
    (step,) = train(Scales(), [torch.ones(shape)], SHORT)
    assert step.losses.shape == (4,)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(4, 2, dtype=torch.uint8), "to_model"),
        (
            torch.zeros(4, 2, dtype=torch.int64),
            "x0 must be a floating-point tensor; got torch.int64",
        ),
        ((torch.zeros(4, 2), torch.zeros(4)), "x0 must be a floating-point tensor; got tuple"),
        (torch.full((4, 2), math.nan), "x0 must be finite; 8 of its 8"),
    ],
)
def test_a_bad_batch_is_refused_and_the_model_stays(batch, message):
    model = small_model()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        next(train(model, [batch], SHORT))
    assert same(before, weights_of(model))


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="prediction must be one of"):
        next(train(small_model(), batches(1), SHORT, prediction="noise"))
