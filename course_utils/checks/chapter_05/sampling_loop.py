"""05.4: all steps back, from pure noise to samples."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.ancestral_step import ancestral_step
from course_utils.checks.chapter_05.material import Network, points
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.samplers import ddpm_step
from course_utils.diffusion.schedule import from_beta, linear


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, size, seed):
        x_T, noises = points(seed, size, 2), points(seed + 1, schedule.T, size, 2)
        says = f"{size} points through {says}"
        return Case(says, (Network(schedule.T), schedule, x_T, noises))

    return (
        case("four uneven steps", from_beta(UNEVEN[2:6]), 3, 71),
        case("ten uneven steps", from_beta(UNEVEN), 5, 73),
        case("a single step", from_beta([0.4]), 2, 75),
        case("30 linear steps", linear(30, 0.001, 0.2), 2, 77),
    )


def _after_each_step(
    model,
    schedule,
    x_T,
    noises,
    *,
    ts=reversed,
    told=lambda t, T: t,
    noise=lambda k, t: t,
    step=ancestral_step,
):
    """x after each step. `ts` orders the steps, `told` is what the model hears, `noise` which noise is used.

    The last two are asked with t, and T or the number k of steps made so far. `step` makes the step.
    """
    x = x_T
    for k, t in enumerate(ts(range(schedule.T))):
        eps = model(x, told(t, schedule.T))
        x = step(schedule, eps, t, x, noises[noise(k, t)])
        yield x


def _last(**wrong):
    """Where the loop ends; x_T where it makes no step."""

    def sample(model, schedule, x_T, noises):
        return [x_T, *_after_each_step(model, schedule, x_T, noises, **wrong)][-1]

    return sample


def _whole_path(model, schedule, x_T, noises):
    return torch.stack(list(_after_each_step(model, schedule, x_T, noises)))


def _returns_at_once(model, schedule, x_T, noises):
    return next(_after_each_step(model, schedule, x_T, noises))


def _never_moves_on(model, schedule, x_T, noises):
    """Each step starts from x_T, so the last one alone counts."""
    return ancestral_step(schedule, model(x_T, 0), 0, x_T, noises[0])


def _asked_once(model, schedule, x_T, noises):
    eps = model(x_T, schedule.T - 1)
    return _last()(lambda x, t: eps, schedule, x_T, noises)


def _shown_x_T(model, schedule, x_T, noises):
    return _last()(lambda x, t: model(x_T, t), schedule, x_T, noises)


def _without_noise(model, schedule, x_T, noises):
    return _last()(model, schedule, x_T, torch.zeros_like(noises))


def _library_step(read, **options):
    """A step of the library, with the part of it that is read."""
    return lambda schedule, eps, t, x_t, noise: read(
        ddpm_step(schedule, eps, t, x_t, noise=noise, **options)
    )


def _noise_at_the_end(schedule, eps, t, x_t, noise):
    """The step whose alpha_bar[t−1] is the last entry at t = 0."""
    x = ancestral_step(schedule, eps, t, x_t, noise)
    if t > 0:
        return x
    lost = (1 - schedule.alpha_bar[-1]) / (1 - schedule.alpha_bar[0])
    return x + (lost * schedule.beta[0]).sqrt() * noise


EXERCISE = Exercise(
    id="05.4",
    title="All the way back",
    difficulty=2,
    minutes=10,
    reference=lambda model, schedule, x_T, noises: _last()(model, schedule, x_T, noises),
    returns=("x_0",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the loop runs forward, from t = 0 to T−1",
            "x_T is pure noise, and the way back begins where the noise is: at t = T−1.",
            _last(ts=iter),
        ),
        Misconception(
            "the loop stops at t = 1",
            "range leaves its end out. t = 0 is a step like the others, the last one: a little noise is still "
            "there before it.",
            _last(ts=lambda steps: reversed(steps[1:])),
        ),
        Misconception(
            "the loop begins at t = T−2",
            "There are T steps, and x_T needs them all, beginning with t = T−1.",
            _last(ts=lambda steps: reversed(steps[:-1])),
        ),
        Misconception(
            "the model is told t+1",
            "In training it heard t = 0 for points with one step of noise. Told t+1, it takes out the noise "
            "of another step.",
            _last(told=lambda t, T: t + 1),
        ),
        Misconception(
            "the model is told t−1",
            "It must hear the step whose noise is in x: t itself.",
            _last(told=lambda t, T: t - 1),
        ),
        Misconception(
            "the model is told how many steps have been made, T−1−t",
            "That is the loop's count. The model learned what t means in training: much noise at T−1, hardly "
            "any at 0.",
            _last(told=lambda t, T: T - 1 - t),
        ),
        Misconception(
            "the model always hears T−1",
            "The noise in x becomes less with each step, and the model must be told.",
            _last(told=lambda t, T: T - 1),
        ),
        Misconception(
            "each step begins at x_T again",
            "Give the result of one step to the next: x = … of x. As it is, all steps but the last are "
            "thrown away.",
            _never_moves_on,
        ),
        Misconception(
            "the model is shown x_T at every step",
            "Then it reports the noise of the beginning over and over. It must see the present x.",
            _shown_x_T,
        ),
        Misconception(
            "the model is asked once, before the loop",
            "Each step needs an answer for the point where it stands: ask inside the loop.",
            _asked_once,
        ),
        Misconception(
            "the same noise is used in each step",
            "Then all steps push in one direction, and variances no longer add. Step t uses noises[t].",
            _last(noise=lambda k, t: 0),
        ),
        Misconception(
            "the noises are taken in the order of the loop instead of by t",
            "As random draws they are as good, but it was agreed that step t uses noises[t].",
            _last(noise=lambda k, t: k),
        ),
        Misconception(
            "the noises are off by one",
            "Step t uses noises[t]; noises[t−1] is for the step after it.",
            _last(noise=lambda k, t: t - 1),
        ),
        Misconception(
            "no noise is added on the way",
            "Without it the points contract: the samples crowd in the middle of what is possible. Step t adds "
            "noises[t].",
            _without_noise,
        ),
        Misconception(
            "the model's clean point x̂_0 goes on to the next step, not x_{t−1}",
            "A step of the library has both: .x0 is what the model believes, .x is where the step arrives.",
            _last(step=_library_step(lambda step: step.x0)),
        ),
        Misconception(
            "the steps take the variance β_t, not β̃_t",
            'The loop is right. Try the step by itself in 05.3, or take ddpm_step without variance="beta".',
            _last(step=_library_step(lambda step: step.x, variance="beta")),
        ),
        Misconception(
            "the step at t = 0 adds noise, because alpha_bar[t−1] is the last entry there",
            "The loop is right, and your step is right but for t = 0, where β̃ is 0. Try it by itself in 05.3.",
            _last(step=_noise_at_the_end),
        ),
        Misconception(
            "the return stands inside the loop",
            "The function ends after its first step. Move return to the left, so that it comes after the loop.",
            _returns_at_once,
        ),
        Misconception(
            "the whole path is returned",
            "A path is good to look at, but here only its end is asked for: the samples, [B, 2].",
            _whole_path,
        ),
    ),
    hints=(
        "The loop needs three lines: ask the model about x, make the step, and let x be the result.",
        "for t in reversed(range(schedule.T)) runs from the last step down to 0. Step t uses noises[t].",
        "x = x_T; in the loop: eps = model(x, t); x = ddpm_step(schedule, eps, t, x, noise=noises[t]).x; after "
        "it: return x.",
    ),
    success=(
        "That is a sampler. Nothing in it knows about points: given a network for images, it makes images."
    ),
)
