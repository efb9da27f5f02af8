"""The training loop: what it yields, that it repeats itself, and that it learns."""

import itertools
import math

import pytest
import torch
from devices import on_every_device
from scipy import stats
from small_models import SHORT, Scales, batches, same, seeded, small_model, weights_of

from course_utils.data import two_gaussians
from course_utils.diffusion import schedule
from course_utils.diffusion.mlp import MLP
from course_utils.diffusion.objective import PREDICTIONS, squared_error
from course_utils.diffusion.training import train


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


# --- the optimizer and its settings -------------------------------------------------------------------------


def test_an_optimizer_of_one_s_own_has_its_learning_rate_set():
    model, twin = small_model(), small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=77.0, momentum=0.9)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    steps = list(train(model, batches(3), SHORT, lr=0.1, optimizer=optimizer, generator=seeded()))
    generator = seeded()
    for x0, step in zip(batches(3), steps, strict=True):
        assert torch.equal(step.t, torch.randint(10, (8,), generator=generator))
        eps = torch.randn(8, 2, generator=generator)
        theirs.zero_grad()
        squared_error(twin, SHORT, x0, step.t, eps).mean().backward()
        theirs.step()
    assert same(weights_of(model), weights_of(twin))


def change_of(model, **options):
    """How plain gradient descent moves the weights in one step: minus the gradient, as one long vector."""
    before = torch.cat([p.flatten() for p in weights_of(model)])
    optimizer = torch.optim.SGD(model.parameters())
    list(
        train(model, batches(1), SHORT, lr=1.0, optimizer=optimizer, generator=seeded(), **options)
    )
    return torch.cat([p.flatten() for p in weights_of(model)]) - before


def test_long_gradients_are_scaled_down_and_short_ones_are_left_alone():
    free = change_of(small_model())
    length = free.norm().item()
    for max_norm in (0.01 * length, 0.9 * length):
        clipped = change_of(small_model(), max_norm=max_norm)
        torch.testing.assert_close(clipped, free * max_norm / length, rtol=1e-4, atol=1e-7)
    assert torch.equal(change_of(small_model(), max_norm=1.1 * length), free)


def test_a_step_tells_how_long_its_gradient_was_before_it_was_clipped():
    length = change_of(small_model()).norm().item()
    for max_norm in (0.1 * length, math.inf):
        (step,) = train(small_model(), batches(1), SHORT, generator=seeded(), max_norm=max_norm)
        assert step.norm.item() == pytest.approx(length, rel=1e-5)
    (step,) = train(small_model(), batches(1), SHORT, generator=seeded())
    assert step.norm is None


def test_an_infinite_max_norm_clips_nothing():
    assert torch.equal(change_of(small_model(), max_norm=math.inf), change_of(small_model()))


def test_a_run_that_goes_on_counts_from_its_start():
    asked = []
    steps = train(small_model(), batches(3), SHORT, lr=lambda k: asked.append(k) or 0.1, start=41)
    assert [state.step for state in steps] == [41, 42, 43]
    assert set(asked) == {41, 42, 43}


# --- accumulation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(8, 8, 8), (5, 2, 8), (1, 1)])
def test_accumulated_batches_are_one_large_batch(sizes):
    model, twin = small_model().double(), small_model().double()
    parts = [torch.randn(n, 2, generator=seeded(n), dtype=torch.float64) for n in sizes]
    (state,) = train(model, parts, SHORT, lr=0.1, accumulate=len(parts), generator=seeded())

    generator, drawn = seeded(), []
    for n in sizes:
        t = torch.randint(10, (n,), generator=generator)
        drawn.append((t, torch.randn(n, 2, generator=generator, dtype=torch.float64)))
    t, eps = (torch.cat(column) for column in zip(*drawn, strict=True))
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.1)
    losses = squared_error(twin, SHORT, torch.cat(parts), t, eps)
    losses.mean().backward()
    optimizer.step()
    assert torch.equal(state.t, t)
    torch.testing.assert_close(state.losses, losses.detach())
    torch.testing.assert_close(state.loss, losses.mean().detach())
    for ours, theirs in zip(weights_of(model), weights_of(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_every_step_takes_as_many_batches_and_the_last_what_is_left():
    taken = []
    source = (taken.append(k) or batch for k, batch in enumerate(batches(7)))
    seen = [
        (state.step, len(state.losses), len(taken))
        for state in train(small_model(), source, SHORT, accumulate=3)
    ]
    assert seen == [(0, 24, 3), (1, 24, 6), (2, 8, 7)]


# --- the steps of noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw", [lambda n: torch.arange(n) % 10, lambda n: torch.tensor(4), lambda n: 4]
)
def test_steps_of_noise_can_be_given(draw):
    model, twin = small_model(), small_model()
    steps = list(train(model, batches(3), SHORT, draw_t=draw, generator=seeded()))
    generator, optimizer = seeded(), torch.optim.Adam(twin.parameters(), lr=1e-3)
    for x0, state in zip(batches(3), steps, strict=True):
        assert torch.equal(state.t, torch.as_tensor(draw(8)).expand(8))
        eps = torch.randn(8, 2, generator=generator)  # the generator is the noise's alone
        optimizer.zero_grad()
        squared_error(twin, SHORT, x0, state.t, eps).mean().backward()
        optimizer.step()
    torch.testing.assert_close(weights_of(model), weights_of(twin))


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (torch.arange(3), "each of the 8 samples"),
        (torch.full((8,), 10), "0 … 9; got values from 10 to 10"),
        (torch.rand(8), "whole numbers"),
    ],
)
def test_steps_of_noise_that_cannot_be_are_refused(t, message):
    model = small_model()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        next(train(model, batches(1), SHORT, draw_t=lambda n: t))
    assert same(before, weights_of(model))


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate ≥ 1 and max_norm > 0; got accumulate=0, max_norm=None"),
        ({"max_norm": 0.0}, "got accumulate=1, max_norm=0.0"),
        ({"max_norm": -1.0}, "max_norm=-1.0"),
        ({"max_norm": math.nan}, "max_norm=nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        next(train(small_model(), batches(1), SHORT, **options))


def test_a_bad_batch_among_accumulated_ones_is_refused():
    bad = torch.full((4, 2), math.nan)
    with pytest.raises(ValueError, match="x0 must be finite"):
        next(train(small_model(), [*batches(1), bad], SHORT, accumulate=2))


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="prediction must be one of"):
        next(train(small_model(), batches(1), SHORT, prediction="noise"))
