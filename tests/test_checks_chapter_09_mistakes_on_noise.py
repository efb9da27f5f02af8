"""The mistakes of 09.4 and 09.5, made as a learner would and not as the misconception is: they are named."""

import math
from itertools import pairwise

import pytest
import torch
from test_checks_chapter_09_answers import invert_by_the_library, slerp_flattened, slerp_in_numpy

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward


def slerp_along(*dims):
    """The usual code, with the axes of the sums as they are given."""

    def slerp(a, b, u):
        a_unit = a / torch.linalg.vector_norm(a, dim=dims, keepdim=True)
        b_unit = b / torch.linalg.vector_norm(b, dim=dims, keepdim=True)
        angle = torch.acos((a_unit * b_unit).sum(dims, keepdim=True))
        weights = torch.sin((1 - u) * angle), torch.sin(u * angle)
        return (weights[0] * a + weights[1] * b) / torch.sin(angle)

    return slerp


def slerp_of_units(a, b, u):
    a, b = (x / x.square().sum((1, 2, 3), keepdim=True).sqrt() for x in (a, b))
    return slerp_flattened(a, b, u)


def invert_with(
    *, told=lambda t, s: t, base=lambda x, x_t: x, extra=0, rising=lambda ts: [-1, *ts[::-1]]
):
    """09.5 as most people write it, with a slip in one of its lines."""

    def invert(model, made, x0, ts, iterations):
        x = x0
        for s, t in pairwise(rising(ts)):
            a = made.alpha_bar[t]
            b = made.alpha_bar[s] if s >= 0 else torch.tensor(1.0)
            x_t = x
            for _ in range(iterations + extra):
                eps = model(x_t, told(t, s))
                clean = (base(x, x_t) - (1 - b) ** 0.5 * eps) / b**0.5
                x_t = a**0.5 * clean + (1 - a) ** 0.5 * eps
            x = x_t
        return x

    return invert


def invert_by_noising(model, made, x0, ts, iterations):
    x = x0
    for t in reversed(ts):
        x_t = x
        for _ in range(iterations):
            x_t = forward.q_sample(made, x, t, model(x_t, t))
        x = x_t
    return x


def invert_once(model, made, x0, ts, iterations):
    return invert_by_the_library(model, made, x0, ts, 1)


def invert_to_eps(model, made, x0, ts, iterations):
    x = x0
    for s, t in pairwise([-1, *ts[::-1]]):
        x_t = x
        for _ in range(iterations):
            eps = model(x_t, t)
            x_t = one_up(made, eps, t, s, x)
        x = x_t
    return eps


def invert_clipped(model, made, x0, ts, iterations):
    x = x0
    for s, t in pairwise([-1, *ts[::-1]]):
        x_t = x
        for _ in range(iterations):
            x_t = one_up(made, model(x_t, t), t, s, x, limit=1)
        x = x_t
    return x


def invert_that_undoes_itself(model, made, x0, ts, iterations):
    """From the second iteration on x_t is taken apart where it stands, at t, and put together there."""
    x = x0
    for s, t in pairwise([-1, *ts[::-1]]):
        x = one_up(made, model(x, t), t, s, x)
        for _ in range(iterations - 1):
            x = one_up(made, model(x, t), t, t, x)
    return x


def one_up(made, eps, t, s, x, limit=math.inf):
    """From x at s to x at t with this eps."""
    x0 = x if s < 0 else forward.x0_from_eps(made, x, s, eps)
    return forward.q_sample(made, x0.clamp(-limit, limit), t, eps)


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("09.4", torch.lerp, "it is the straight line from a to b"),
        (
            "09.4",
            lambda a, b, u: torch.lerp(a, b, u) / (1 - 2 * u * (1 - u)) ** 0.5,
            "it is the straight line, divided by √((1−u)² + u²)",
        ),
        (
            "09.4",
            lambda a, b, u: slerp_in_numpy(b, a, u),
            "u and 1−u have changed places",
        ),
        ("09.4", slerp_along(0, 1, 2, 3), "one angle is taken for the whole batch"),
        ("09.4", slerp_along(1), "each pixel has its own angle, over its channels"),
        ("09.4", slerp_along(-1), "each row of pixels has its own angle"),
        ("09.4", slerp_along(-1, -2), "each channel has its own angle"),
        ("09.4", slerp_of_units, "the unit vectors are mixed, not a and b"),
        (
            "09.4",
            lambda a, b, u: (1 - u) ** 0.5 * a + u**0.5 * b,
            "the weights are √(1−u) and √u",
        ),
        (
            "09.5",
            invert_with(told=lambda t, s: s),
            "the model is told s, where the image stands",
        ),
        (
            "09.5",
            invert_with(base=lambda x, x_t: x_t),
            "each iteration goes up from the x_t of the one before",
        ),
        ("09.5", invert_with(extra=1), "there is one iteration too many"),
        (
            "09.5",
            invert_with(rising=lambda ts: ts[::-1]),
            "the first jump, from the clean image to ts[-1], is missing",
        ),
        (
            "09.5",
            invert_with(rising=lambda ts: [-1, *ts[:0:-1]]),
            "the last jump, up to ts[0], is missing",
        ),
        ("09.5", invert_by_noising, "x at s is taken for the clean image"),
        ("09.5", invert_with(rising=lambda ts: [0, *ts[::-1]]), "x0 is taken to stand at step 0"),
        ("09.5", invert_to_eps, "the model's last eps is returned, not x"),
        ("09.5", invert_clipped, "x̂_0 is clipped"),
        ("09.5", invert_that_undoes_itself, "all iterations but the first change nothing"),
        (
            "09.5",
            invert_once,
            "all iterations but the first change nothing",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
