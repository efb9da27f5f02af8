"""Every public function on tensors refuses what it cannot use, and says what was given and what is needed."""

import importlib
import inspect
import math
import pkgutil
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_models import SHORT as S
from small_models import Scales

from course_utils import diffusion
from course_utils.diffusion import forward, objective, posterior, samplers, schedule, training


def model(x, t):
    return 0.5 * x


def train(batch):
    return list(training.train(Scales(), [batch], S))


def target(schedule, x0, t, eps):
    """For the one prediction that depends on t."""
    return objective.target(schedule, x0, t, eps, "v")


def ddpm(x_T):
    return list(samplers.ddpm(model, x_T, S))


def ddim_step(schedule, output, t, x_t, noise):
    """With an eta that needs the noise."""
    return samplers.ddim_step(schedule, output, t, x_t, eta=0.5, noise=noise)


def ddim(x_T):
    return list(samplers.ddim(model, x_T, S, steps=5))


def ddim_invert(x0):
    return list(samplers.ddim_invert(model, x0, S, steps=5))


def good(*shape):
    return torch.linspace(-1, 1, 24)[: torch.Size(shape).numel()].reshape(shape)


@dataclass(frozen=True)
class Call:
    """A function with arguments that it takes.

    Attributes:
        function: takes all of these by name.
        tensors: the names of those that must be finite and floating point.
        others: what else it needs; `t` among them where it takes one.
    """

    function: Any
    tensors: tuple[str, ...]
    others: tuple[str, ...] = ("schedule", "t")

    @property
    def alike(self) -> tuple[str, ...]:
        """The tensors that must have one shape."""
        return tuple(name for name in self.tensors if name != "data")

    def __call__(self, **changed):
        known = {"schedule": S, "t": 3, "model": model} | {
            name: good(4, 3) for name in self.tensors
        }
        known = {k: v for k, v in known.items() if k in self.others or k in self.tensors}
        return self.function(**(known | changed))


def name_of(call: Call) -> str:
    return call.function.__name__


CALLS = {
    name_of(call): call
    for call in (
        Call(forward.q_step, ("x_prev", "eps")),
        Call(forward.q_sample, ("x0", "eps")),
        Call(forward.eps_from_x0, ("x_t", "x0")),
        Call(forward.x0_from_eps, ("x_t", "eps")),
        Call(forward.v_from, ("x0", "eps")),
        Call(forward.x0_from_v, ("x_t", "v")),
        Call(posterior.q_posterior, ("x0", "x_t")),
        Call(target, ("x0", "eps")),
        Call(objective.to_x0_eps, ("output", "x_t")),
        Call(objective.score_from_eps, ("eps",)),
        Call(objective.eps_from_score, ("score",)),
        Call(objective.squared_error, ("x0", "eps"), others=("model", "schedule", "t")),
        Call(objective.simple_loss, ("x0", "eps"), others=("model", "schedule", "t")),
        Call(objective.prior_term, ("x0",), others=("schedule",)),
        Call(objective.denoising_term, ("x0", "eps"), others=("model", "schedule", "t")),
        Call(objective.reconstruction_term, ("x0", "eps"), others=("model", "schedule")),
        Call(objective.optimal_x0, ("x_t", "data")),
        Call(objective.optimal_eps, ("x_t", "data")),
        Call(samplers.ddpm_step, ("output", "x_t", "noise")),
        Call(ddim_step, ("output", "x_t", "noise")),
        Call(ddpm, ("x_T",), others=()),
        Call(ddim, ("x_T",), others=()),
        Call(ddim_invert, ("x0",), others=()),
        Call(train, ("batch",), others=()),
    )
}
# They take tables, weights, numbers or settings rather than data, and each has tests of what it refuses.
TESTED_ELSEWHERE = (
    {"posterior_weights", "q_joint", "snr", "kl_gaussians", "loss_weight"}
    | {"from_beta", "linear", "scaled_linear", "cosine", "sigmoid", "zero_terminal_snr"}
    | {"gather", "between", "timesteps", "jumps", "dynamic_threshold"}
    | {"warm_up", "cool_down", "loss_by_t", "time_embedding"}
)
# The insides of those above, and of the UNet, which have checked by then.
CORES = (
    {"loop", "add_gradients", "walk", "walk_up", "ask", "evenly_spaced"}
    | {"ddpm_update", "ddim_update", "x0_and_eps", "eps_beside", "clipped"}
    | {"way_down", "way_up"}
)
HELPERS = (
    {"each_sample", "as_vectors"}
    | {"check_like", "check_jump", "check_steps", "check_range", "check_one_of"}
    | {"check_after_first", "check_finite", "check_input"}
)

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
with_t = pytest.mark.parametrize(
    "call", [c for c in CALLS.values() if "t" in c.others], ids=name_of
)


def test_no_public_function_is_missing_here():
    names = [
        f"{diffusion.__name__}.{module.name}" for module in pkgutil.iter_modules(diffusion.__path__)
    ]
    public = {
        name
        for module in map(importlib.import_module, names)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }
    listed = [*CALLS, *TESTED_ELSEWHERE, *CORES, *HELPERS]
    assert sorted(listed) == sorted(public)


@every_call
def test_good_arguments_are_taken(call):
    call()


@every_call
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(call, number):
    for name in call.tensors:
        spoilt = good(4, 3)
        spoilt[1, 2] = number
        with pytest.raises(ValueError, match="must be finite; 1 of its 12 numbers"):
            call(**{name: spoilt})


@every_call
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_images_of_whole_numbers_are_sent_to_to_model(call, dtype):
    for name in call.tensors:
        with pytest.raises(ValueError, match=rf"floating-point tensor; got {dtype}.*to_model"):
            call(**{name: good(4, 3).to(dtype)})


@every_call
@pytest.mark.parametrize("thing", [None, [[0.0]], 0.5, good(4, 3).numpy()], ids=type)
def test_what_is_no_tensor_is_refused(call, thing):
    for name in call.tensors:
        with pytest.raises(ValueError, match=f"tensor; got {type(thing).__name__}"):
            call(**{name: thing})


@pytest.mark.parametrize("call", [c for c in CALLS.values() if len(c.alike) > 1], ids=name_of)
def test_shapes_that_differ_are_both_named(call):
    for name in call.alike:
        with pytest.raises(ValueError, match=r"needs the shape of .*; got") as raised:
            call(**{name: good(4, 2)})
        assert "[4, 2]" in str(raised.value)
        assert "[4, 3]" in str(raised.value)


@with_t
@pytest.mark.parametrize(
    ("t", "message"),
    [
        (10, "0 … 9; got values from 10 to 10"),
        (torch.tensor([1, 2, 3, 99]), "0 … 9; got values from 1 to 99"),
        (torch.tensor([1, 2]), r"t of shape \[2\] does not match x of shape \[4, .*each of the 4"),
        (2.0, "whole numbers; got dtype torch.float32"),
        (torch.tensor([True] * 4), "whole numbers; got dtype torch.bool"),
    ],
)
def test_steps_that_cannot_be_are_refused(call, t, message):
    with pytest.raises(ValueError, match=message):
        call(t=t)


@with_t
def test_a_step_before_the_first_is_refused(call):
    with pytest.raises(ValueError, match=r"got values from -1|got t = -1"):
        call(t=-1)


@pytest.mark.parametrize(
    ("t", "t_prev", "message"),
    [
        (3, 3, "t_prev must be below t, .* got t_prev=3 and t=3"),
        (3, 7, "t_prev must be below t, .* got t_prev=7 and t=3"),
        (3, -2, "t_prev must lie in -1 … 9; got values from -2 to -2"),
        (3, 10, "t_prev must lie in -1 … 9; got values from 10 to 10"),
        (3, 1.0, "t_prev must hold whole numbers"),
        (torch.tensor([1, 5, 9, 2]), torch.tensor([0, 4, 9, 1]), r"got t_prev=\[0, 4, 9, 1\]"),
        (3, torch.tensor([0, 1]), r"t_prev of shape \[2\] does not match x of shape \[4, 3\]"),
    ],
)
def test_a_jump_that_does_not_lead_back_is_refused(t, t_prev, message):
    with pytest.raises(ValueError, match=message):
        posterior.q_posterior(S, good(4, 3), good(4, 3), t, t_prev)
    with pytest.raises(ValueError, match=message):
        posterior.posterior_weights(S, t, t_prev, good(4, 3))


def test_a_weight_for_whole_numbers_is_refused():
    whole = torch.zeros(4, 3, dtype=torch.int64)
    for call in (
        lambda: posterior.posterior_weights(S, 3, None, whole),
        lambda: objective.loss_weight(S, 3, whole),
        lambda: schedule.gather(S.beta, 3, whole),
    ):
        with pytest.raises(ValueError, match=r"floating-point tensor; got torch.int64"):
            call()
