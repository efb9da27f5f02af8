"""09.3: DDIM through some of the steps, from noise to images."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.chapter_08.material import Network, pairs, share, told_another_step
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion import samplers
from course_utils.diffusion.schedule import from_beta, linear


def ddim_step(schedule, eps, t, t_prev, x):
    """From x_t to x_{t_prev} without chance."""
    early, late = share(schedule, t_prev), share(schedule, t)
    return (early / late) ** 0.5 * (x - (1 - late) ** 0.5 * eps) + (1 - early) ** 0.5 * eps


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts, seed, *shape):
        says = f"x_T of shape {list(shape)}, {says}"
        return Case(says, (Network(schedule.T), schedule, points(seed, *shape), ts))

    uneven, leading = from_beta(UNEVEN), list(range(980, -1, -20))
    return (
        case("ten uneven steps, ts = [9, 6, 5, 1]", uneven, [9, 6, 5, 1], 52, 3, 2, 2, 4),
        case("ten uneven steps, ts = [7, 3, 0]", uneven, [7, 3, 0], 53, 1, 1, 3, 5),
        case("ten uneven steps, ts = [8, 2]", uneven, [8, 2], 54, 2, 1, 3, 3),
        case("50 of 1000 linear steps", linear(1000), leading, 51, 2, 1, 4, 3),
    )


def _states(model, schedule, x_T, ts, *, jumps=pairs, told=None, step=ddim_step):
    """x_T, and x after each jump. `told` is what the model hears, from (k, t, t_prev, K); t when left out."""
    x = x_T
    yield x
    for k, (t, t_prev) in enumerate(jumps(ts)):
        eps = model(x, told(k, t, t_prev, len(ts)) if told else t)
        x = step(schedule, eps, t, t_prev, x)
        yield x


def _walk(end=lambda states: states[-1], **wrong):
    """The exercise with other jumps, times or steps, or returning something else of the way."""
    return lambda model, schedule, x_T, ts: end(list(_states(model, schedule, x_T, ts, **wrong)))


def _by_stride(ts):
    return [(t, max(t - (ts[0] - ts[1]), -1)) for t in ts]


def _by_T_over_steps(model, schedule, x_T, ts):
    stride = schedule.T // len(ts)
    return _walk(jumps=lambda ts: [(t, max(t - stride, -1)) for t in ts])(model, schedule, x_T, ts)


def _ending_at_0(ts):
    return [*pairs(ts)[:-1], (ts[-1], 0)]


def _library_step(schedule, eps, t, t_prev, x):
    return samplers.ddim_step(schedule, eps, t, x, t_prev=t_prev).x


def _shown_x_T(model, schedule, x_T, ts):
    return _walk()(lambda x, t: model(x_T, t), schedule, x_T, ts)


def _asked_once(model, schedule, x_T, ts):
    eps = model(x_T, ts[0])
    return _walk()(lambda x, t: eps, schedule, x_T, ts)


def _last_from_x_T(model, schedule, x_T, ts):
    return ddim_step(schedule, model(x_T, ts[-1]), ts[-1], -1, x_T)


def _posterior_mean(schedule, eps, t, t_prev, x):
    return samplers.ddpm_step(schedule, eps, t, x, t_prev=t_prev, noise=torch.zeros_like(x)).x


def _clipped(fitted):
    """A step from the clipped guess, with the model's eps or with the noise that fits the guess."""

    def step(schedule, eps, t, t_prev, x):
        early, late = share(schedule, t_prev), share(schedule, t)
        x0 = ((x - (1 - late) ** 0.5 * eps) / late**0.5).clamp(-1, 1)
        if fitted:
            eps = (x - late**0.5 * x0) / (1 - late) ** 0.5
        return early**0.5 * x0 + (1 - early) ** 0.5 * eps

    return step


def _last_entry(schedule, eps, t, t_prev, x):
    late, early = schedule.alpha_bar[t], schedule.alpha_bar[t_prev]
    return (early / late).sqrt() * (x - (1 - late).sqrt() * eps) + (1 - early).sqrt() * eps


EXERCISE = Exercise(
    id="09.3",
    title="Fifty steps instead of a thousand",
    difficulty=2,
    minutes=10,
    reference=lambda model, schedule, x_T, ts: _walk()(model, schedule, x_T, ts),
    returns=("x_0",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the previous step is taken to be t − 1, not the next of the list",
            "Fifty steps of that kind go fifty steps down, not a thousand. x keeps nearly all of its noise, and "
            "the model is told that it has less and less.",
            _walk(jumps=lambda ts: [(t, t - 1) for t in ts]),
        ),
        Misconception(
            "the previous step is t minus a fixed stride",
            "That is right for evenly spaced steps only. The list says itself where each jump goes.",
            _walk(jumps=_by_stride),
        ),
        Misconception(
            "the previous step is t − T // K",
            "Some libraries do that, and it is right for evenly spaced steps only. The list says itself where each "
            "jump goes.",
            _by_T_over_steps,
        ),
        Misconception(
            "the last jump is missing",
            "x at ts[-1] still has noise. One more jump leads to −1, the clean image.",
            _walk(jumps=lambda ts: pairs(ts)[:-1]),
        ),
        Misconception(
            "the last jump ends at step 0",
            "At step 0 there is still a step of noise. The clean image is at −1, where ᾱ is 1.",
            _walk(jumps=_ending_at_0),
        ),
        Misconception(
            "the last jump ends at step 0, not at −1",
            "At step 0 there is still a step of noise, and if ts ends there, the library finds no way from 0 to 0. "
            "The clean image is at −1, where ᾱ is 1.",
            _walk(jumps=_ending_at_0, step=_library_step),
        ),
        Misconception(
            "at the last jump ᾱ is read from alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 the image is clean: ᾱ = 1.",
            _walk(step=_last_entry),
        ),
        Misconception(
            "all steps are made, not only those of the list",
            "That is DDIM as well, but the model is asked at each step. The point of the list is to leave most out.",
            _walk(jumps=lambda ts: [(t, t - 1) for t in range(ts[0], -1, -1)]),
        ),
        *told_another_step(_walk),
        Misconception(
            "the model is asked once, before the loop",
            "Then all jumps together are one large jump. Each needs an answer for the images where it stands.",
            _asked_once,
        ),
        Misconception(
            "the model is shown x_T at every step",
            "Then it reports the noise of the beginning over and over. It must see the present x.",
            _shown_x_T,
        ),
        Misconception(
            "each jump begins at x_T again",
            "Give the result of one jump to the next: x = … of x. As it is, all jumps but the last are thrown "
            "away.",
            _last_from_x_T,
        ),
        Misconception(
            "the jumps go to the posterior's mean, as DDPM without noise",
            "That takes out too much: ancestral sampling counts on noise to come in. DDIM puts the model's eps back "
            "instead.",
            _walk(step=_posterior_mean),
        ),
        Misconception(
            "the model's x̂_0 goes on to the next jump, not x",
            "A step of the library has both: .x0 is what the model believes, .x is where the jump arrives.",
            _walk(step=lambda schedule, eps, t, t_prev, x: ddim_step(schedule, eps, t, -1, x)),
        ),
        Misconception(
            "x̂_0 is clipped",
            "08.4 asked for that, this walk does not: what is cut off on the way could not be found again in 09.5, "
            "which walks back.",
            _walk(step=_clipped(fitted=False)),
        ),
        Misconception(
            "x̂_0 is clipped, and its noise made to fit",
            "That is the guess of 08.1. This walk does not clip: what is cut off on the way could not be found again "
            "in 09.5, which walks back.",
            _walk(step=_clipped(fitted=True)),
        ),
        Misconception(
            "the images are clipped at the end",
            "To show an image, clip it; but what the walk returns is where it arrived.",
            _walk(end=lambda states: states[-1].clamp(-1, 1)),
        ),
        Misconception(
            "the return stands inside the loop",
            "The function ends after its first jump. Move return to the left, so that it comes after the loop.",
            _walk(end=lambda states: states[1]),
        ),
        Misconception(
            "the whole path is returned",
            "A path is good to look at, but here only its end is asked for: the images.",
            _walk(end=torch.stack),
        ),
    ),
    hints=(
        "As in 08.4: ask the model about x at t, make the jump to t_prev, let x be the result. There is no noise to "
        "think of.",
        "zip(ts, [*ts[1:], -1]) gives the pairs (t, t_prev).",
        "x = x_T\n"
        "for t, t_prev in zip(ts, [*ts[1:], -1]):\n"
        "    x = ddim_step(schedule, model(x, t), t, x, t_prev=t_prev).x\n"
        "return x",
    ),
    success=(
        "Twenty times fewer questions to the model than with all thousand steps, and the same noise always gives "
        "the same images."
    ),
)
