"""Chapter 02's exercises, answered in a learner's own words: right answers pass, and mistakes are still named."""

import functools
import math

import numpy as np
import pytest
import torch
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward

# --- right answers, written differently ---------------------------------------------------------------------


class InAClass:
    """A right answer to 02.1 that is an object."""

    def __call__(self, beta, x_prev, t, eps):
        return (
            torch.lerp(torch.zeros_like(x_prev), x_prev, float((1 - beta[t]) ** 0.5))
            + beta[t] ** 0.5 * eps
        )


class AsAModule(torch.nn.Module):
    """A right answer to 02.2 with a parameter in it, so that a gradient hangs on the result."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, beta):
        return (self.one - beta.float()).cumprod(0)


def half_done(prefix, beta, x_prev, t, eps):
    return np.sqrt(1 - beta.numpy()[t]) * x_prev.numpy() + np.sqrt(beta.numpy()[t]) * eps.numpy()


def loop(beta):
    left, shares = 1.0, []
    for b in beta:
        left = left * (1 - b.item())
        shares.append(left)
    return shares


def in_a_tuple(beta):
    return tuple(torch.cumprod(1 - beta, 0))


def from_the_int_1(beta):
    shares = [1]
    for b in beta:
        shares.append(shares[-1] * (1 - b.item()))
    return np.array(shares)[1:]


def einsum(made, x0, t, eps):
    a = made.alpha_bar[t].float()
    return torch.einsum("b,bchw->bchw", a.sqrt(), x0) + torch.einsum(
        "b,bchw->bchw", (1 - a).sqrt(), eps
    )


def image_by_image(made, x0, t, eps):
    return [
        made.alpha_bar[s] ** 0.5 * x + (1 - made.alpha_bar[s]) ** 0.5 * e
        for x, s, e in zip(x0, t, eps, strict=True)
    ]


def transposed(made, x0, t, eps):
    signal, noise = made.alpha_bar[t] ** 0.5, made.one_minus_alpha_bar[t] ** 0.5
    return (x0.permute(1, 2, 3, 0) * signal + eps.permute(1, 2, 3, 0) * noise).permute(3, 0, 1, 2)


def drawn_in_numpy(made, x0, t, generator):
    rng = np.random.default_rng(torch.randint(2**31, (1,), generator=generator).item())
    eps = rng.standard_normal(x0.shape)
    a = made.alpha_bar[t].item()
    return math.sqrt(a) * x0.numpy() + math.sqrt(1 - a) * eps, eps


def drawn_by_box_and_muller(made, x0, t, generator):
    u, v = torch.rand(2, *x0.shape, generator=generator, dtype=torch.float64)
    eps = torch.sqrt(-2 * torch.log1p(-u)) * torch.cos(2 * math.pi * v)
    return [forward.q_sample(made, x0.double(), t, eps), eps]


def drawn_in_place(made, x0, t, generator):
    eps = torch.empty_like(x0).normal_(generator=generator)
    return forward.q_sample(made, x0, t, eps), eps


def cosine_in_float32(T, s=0.008, beta_max=0.999):
    f = torch.cos((torch.arange(T + 1) / T + s) / (1 + s) * torch.pi / 2) ** 2
    share = f / f[0]
    return (1 - share[1:] / share[:-1]).clamp(max=beta_max)


def cosine_by_half_angle(T, s, beta_max):
    angle = (torch.arange(T + 1) / T + s) / (1 + s) * torch.pi / 2
    f = (1 + torch.cos(2 * angle)) / 2  # loses digits near the end
    return (1 - f[1:] / f[:-1]).clamp(max=beta_max)


def cosine_by_sine(T, s, beta_max):
    f = 1 - torch.sin((torch.arange(T + 1) / T + s) / (1 + s) * torch.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=beta_max)


def cosine_in_numpy(T, s, beta_max):
    share = np.cos((np.linspace(0, 1, T + 1) + s) / (1 + s) * np.pi / 2) ** 2
    return np.minimum(-np.diff(share) / share[:-1], beta_max)


def cosine_in_a_loop(T, s, beta_max):
    def f(u):
        return (1 + math.cos((u + s) / (1 + s) * math.pi)) / 2  # cos² by the half angle

    return [min(1 - f((t + 1) / T) / f(t / T), beta_max) for t in range(T)]


def kl_in_float32(made, x0, t):
    a = made.alpha_bar[t].float()
    return 0.5 * (a * x0**2 + (1 - a) - 1 - (1 - a).log()).sum(dim=(1, 2, 3))


def kl_in_numpy(made, x0, t):
    a, x = made.alpha_bar[t].item(), x0.numpy().reshape(len(x0), -1)
    return ((a * x**2).sum(1) - x.shape[1] * (a + math.log1p(-a))) / 2


def kl_by_torch(made, x0, t):
    q = torch.distributions.Normal(
        made.alpha_bar[t].sqrt() * x0, made.one_minus_alpha_bar[t].sqrt()
    )
    each = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    return [image.sum() for image in each]


def kl_in_a_tuple(made, x0, t):
    return tuple(kl_by_torch(made, x0, t))


RIGHT = {
    "02.1": [
        InAClass(),
        functools.partial(half_done, "unused"),
        lambda beta, x_prev, t, eps: (
            x_prev.double() * (1 - beta)[t].sqrt() + eps.double() * beta.sqrt()[t]
        ),
        lambda beta, x, t, eps, scale=1.0: torch.addcmul(
            (1 - beta[t]).sqrt() * x, beta[t].sqrt().float(), eps
        ),
    ],
    "02.2": [
        AsAModule(),
        loop,
        in_a_tuple,
        from_the_int_1,
        lambda beta: np.cumprod(1 - beta.numpy()),
        lambda beta: torch.exp((-beta).log1p().cumsum(0)),
    ],
    "02.3": [einsum, image_by_image, transposed, forward.q_sample],
    "02.4": [drawn_in_numpy, drawn_by_box_and_muller, drawn_in_place],
    "02.5": [
        cosine_in_float32,
        cosine_by_half_angle,
        cosine_by_sine,
        cosine_in_numpy,
        cosine_in_a_loop,
    ],
    "02.6": [kl_in_float32, kl_in_numpy, kl_by_torch, kl_in_a_tuple],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "02")


# --- wrong answers, written as a learner would and not as the misconception is ------------------------------


def no_shape_for_eps(made, x0, t, generator):
    eps = torch.randn(x0.shape[1:], generator=generator)
    return forward.q_sample(made, x0, t, eps.expand_as(x0)), eps


def uniform_by_numpy(made, x0, t, generator):
    rng = np.random.default_rng(torch.randint(2**31, (1,), generator=generator).item())
    eps = rng.random(x0.shape)
    a = made.alpha_bar[t].item()
    return a**0.5 * x0.numpy() + (1 - a) ** 0.5 * eps, eps


def eps_first_then_x_t(made, x0, t, generator):
    eps = torch.randn(x0.shape, generator=generator)
    return forward.q_sample(made, x0, t, torch.randn(x0.shape, generator=generator)), eps


def ends_alike(draw):
    """02.4 done right with the noise that draw(x0, t, generator) gives."""

    def answer(made, x0, t, generator):
        eps = draw(x0, t, generator)
        return forward.q_sample(made, x0, t, eps), eps

    return answer


def seeds_torch(x0, t, generator):
    torch.manual_seed(generator.initial_seed())
    return torch.randn_like(x0)


def seeds_another(x0, t, generator):
    return torch.randn(
        x0.shape, generator=torch.Generator().manual_seed(generator.initial_seed() + t)
    )


def draws_from_a_copy(x0, t, generator):
    return torch.randn(x0.shape, generator=generator.clone_state())


def stripes(x0, t, generator):
    return torch.randn(*x0.shape[:3], 1, generator=generator).expand_as(x0)


def two_halves_alike(x0, t, generator):
    half = torch.randn(x0.shape[0], x0.shape[1], x0.shape[2] // 2, x0.shape[3], generator=generator)
    return torch.cat([half, half], 2)


def images_in_pairs(x0, t, generator):
    half = torch.randn((len(x0) + 1) // 2, *x0.shape[1:], generator=generator)
    return torch.cat([half, -half])[: len(x0)]


@pytest.mark.parametrize(
    ("draw", "seen"),
    [
        (seeds_torch, "a second call with the same generator gives new noise: no; expected: yes"),
        (seeds_another, "a second call with the same generator gives new noise: no; expected: yes"),
        (draws_from_a_copy, "a second call with the same generator gives new noise: no"),
        (stripes, "the correlation of eps with itself, shifted by a column: 1; expected: 0"),
        (two_halves_alike, "shifted further: 1; expected: 0"),
        (images_in_pairs, "shifted further: 1; expected: 0"),
    ],
)
def test_noise_that_is_not_new_everywhere_is_rejected(draw, seen):
    assert seen in " ".join(judge(EXERCISES["02.4"], ends_alike(draw)).text.split())


def names_eps_twice(made, x0, t, generator):
    eps = torch.randn(x0.shape, generator=generator)
    x = eps
    x *= made.one_minus_alpha_bar[t].sqrt()
    x += made.alpha_bar[t].sqrt() * x0
    return x, eps


def multiplied_in_place(beta):
    p, out = torch.ones((), dtype=beta.dtype), []
    for b in beta:
        p *= 1 - b
        out.append(p)
    return out


def upside_down_in_float32(T, s, beta_max):
    f = torch.cos((torch.arange(T + 1) / T + s) / (1 + s) * torch.pi / 2) ** 2
    return (1 - f[:-1] / f[1:]).clamp(max=beta_max)


def kl_of_a_narrow_normal(made, x0, t):
    share = made.alpha_bar[t]
    q = torch.distributions.Normal(share.sqrt() * x0, 1 - share)
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum((1, 2, 3))


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        (
            "02.1",
            lambda beta, x, t, e: x + np.sqrt(beta[t].item()) * e,
            "noise is added but the image is not shrunk",
        ),
        ("02.2", lambda beta: [1 - b.item() for b in beta], "α stands where ᾱ belongs"),
        (
            "02.3",
            lambda s, x0, t, e: (
                s.alpha_bar.float()[t].sqrt() * x0 + (1 - s.alpha_bar.float()[t]).sqrt() * e
            ),
            "t runs along the columns of the images",
        ),
        ("02.4", no_shape_for_eps, "all images share the same noise"),
        ("02.4", uniform_by_numpy, "the noise is uniform on [0, 1)"),
        ("02.4", eps_first_then_x_t, "x_t and the returned eps come from two different draws"),
        (
            "02.1",
            lambda beta, x, t, e: torch.sqrt(1 - beta) * x + torch.sqrt(beta) * e,
            "all of beta is used instead of beta[t]",
        ),
        ("02.2", multiplied_in_place, "every entry is the product over all steps"),
        ("02.4", names_eps_twice, "x_t is returned twice, and eps is lost"),
        ("02.4", ends_alike(seeds_torch), "the generator's own seed is used anew in every call"),
        ("02.4", ends_alike(seeds_another), "the generator's own seed is used anew in every call"),
        ("02.4", ends_alike(stripes), "each row has one noise value for all its pixels"),
        ("02.5", lambda T, s, cap: cosine_in_numpy(T, s, 1.0), "the cap is missing"),
        ("02.5", lambda T, s, cap: cosine_in_float32(T, s), "the cap is always 0.999"),
        ("02.5", lambda T, s, cap: cosine_in_float32(T, 0.008, cap), "the offset is always 0.008"),
        ("02.5", upside_down_in_float32, "the ratio is upside down"),
        ("02.6", kl_of_a_narrow_normal, "the variance is (1−ᾱ)² instead of 1−ᾱ"),
        ("02.6", lambda s, x0, t: kl_in_numpy(s, x0, t) * 2, "the factor ½ is missing"),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name
