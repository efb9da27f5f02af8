"""08.4: the walk through any falling list of steps, from noise to images, with every state on the way."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.chapter_08.jump_step import jump_step, of_clipped_eps, off
from course_utils.checks.chapter_08.material import Network, pairs, told_another_step
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.samplers import ddpm_step
from course_utils.diffusion.schedule import from_beta, linear


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts, variance, seed, *shape):
        x_T, noises = points(seed, *shape), points(seed + 1, len(ts), *shape)
        says = f'x_T of shape {list(shape)}, {says}, variance="{variance}"'
        return Case(says, (Network(schedule.T), schedule, x_T, ts, noises, variance))

    uneven, thousand = from_beta(UNEVEN), list(range(980, -1, -140))
    return (
        case("ten uneven steps, ts = [9, 6, 5, 1]", uneven, [9, 6, 5, 1], "beta", 31, 2, 1, 4, 3),
        case("ten uneven steps, ts = [8, 4, 0]", uneven, [8, 4, 0], "posterior", 33, 3, 2, 2, 4),
        case(
            "1000 linear steps, ts = [980, 840, …, 0]",
            linear(1000),
            thousand,
            "beta",
            35,
            2,
            1,
            3,
            3,
        ),
    )


def _path(
    model,
    schedule,
    x_T,
    ts,
    noises,
    variance,
    *,
    jumps=pairs,
    told=lambda k, t, s, K: t,
    noise=lambda k, K: k,
    step=jump_step,
):
    """x_T, and x after each jump.

    `jumps` makes the pairs (t, t_prev) of ts, `told` is what the model hears in the k-th of K jumps, `noise` which of
    the noises it uses, and `step` makes it.
    """
    path, K = [x_T], len(ts)
    for k, (t, t_prev) in enumerate(jumps(ts)):
        eps = model(path[-1], told(k, t, t_prev, K))
        path.append(step(schedule, eps, t, t_prev, path[-1], noises[noise(k, K)], variance))
    return torch.stack(path)


def _walk(**wrong):
    """The exercise with other jumps, times, noises or steps."""
    return lambda model, schedule, x_T, ts, noises, variance: _path(
        model, schedule, x_T, ts, noises, variance, **wrong
    )


def _edited(change):
    """The right path, packed wrongly."""
    return lambda model, schedule, x_T, ts, noises, variance: change(
        _path(model, schedule, x_T, ts, noises, variance)
    )


def _asking(how):
    """The exercise with another way to ask the model: how(model, x_T, ts) gives what is asked in its place."""
    return lambda model, schedule, x_T, ts, noises, variance: _path(
        how(model, x_T, ts), schedule, x_T, ts, noises, variance
    )


def _once(model, x_T, ts):
    eps = model(x_T, ts[0])
    return lambda x, t: eps


def _every_step(ts):
    return [(t, t - 1) for t in range(ts[0], -1, -1)]


def _ending_at_0(ts):
    return [*pairs(ts)[:-1], (ts[-1], 0)]


def _library_step(schedule, eps, t, t_prev, x, noise, variance):
    options = {"t_prev": t_prev, "variance": variance, "clip": 1, "noise": noise}
    return ddpm_step(schedule, eps, t, x, **options).x


def _from_x_T(model, schedule, x_T, ts, noises, variance):
    """Each jump begins at x_T."""
    made = [
        jump_step(schedule, model(x_T, t), t, s, x_T, noise, variance)
        for (t, s), noise in zip(pairs(ts), noises, strict=True)
    ]
    return torch.stack([x_T, *made])


def _guesses(model, schedule, x_T, ts, noises, variance):
    """What the model takes for the clean image, in place of where x is."""
    path, guess = _path(model, schedule, x_T, ts, noises, variance), off(x_prev=lambda n: n.x0)
    seen = [
        guess(schedule, model(x, t), t, s, x, None, variance)
        for x, (t, s) in zip(path[:-1], pairs(ts), strict=True)
    ]
    return torch.stack([x_T, *seen])


EXERCISE = Exercise(
    id="08.4",
    title="The walk",
    difficulty=2,
    minutes=15,
    reference=_walk(),
    returns=("path",),
    cases=_cases,
    entries="places",
    misconceptions=(
        Misconception(
            "every jump goes to t − 1, not to the next step of the list",
            "Then x has the noise of step t − 1 when the model is told of one far below: it takes out too "
            "little, and the images stay noisy.",
            _walk(jumps=lambda ts: [(t, t - 1) for t in ts]),
        ),
        Misconception(
            "the last jump is missing",
            "The walk does not end at ts[-1]: x there still has noise. One more jump leads to −1, the clean "
            "image.",
            _walk(jumps=lambda ts: pairs(ts)[:-1]),
        ),
        Misconception(
            "the last jump ends at step 0",
            "x at step 0 has had a step of noise. The walk ends one before it, at −1, where ᾱ is 1.",
            _walk(jumps=_ending_at_0),
        ),
        Misconception(
            "the last jump ends at step 0, not at −1",
            "x at step 0 has had a step of noise, and if ts ends there, the library finds no way from 0 to 0. The "
            "walk ends at −1, where ᾱ is 1.",
            _walk(jumps=_ending_at_0, step=_library_step),
        ),
        Misconception(
            "all steps are made, not only those of the list",
            "That is a walk, too, but a longer one, and the model is asked at each step. Only those in ts were "
            "wanted.",
            _walk(jumps=_every_step, noise=lambda k, K: min(k, K - 1)),
        ),
        *told_another_step(_walk),
        Misconception(
            "the model is asked once, before the loop",
            "Each jump needs an answer for the images where it stands: ask inside the loop.",
            _asking(_once),
        ),
        Misconception(
            "the model is shown x_T at every step",
            "Then it reports the noise of the beginning over and over. It must see the present x.",
            _asking(lambda model, x_T, ts: lambda x, t: model(x_T, t)),
        ),
        Misconception(
            "each jump begins at x_T again",
            "Give the result of one jump to the next: x = … of x.",
            _from_x_T,
        ),
        Misconception(
            "the noises are taken from the last to the first",
            "As random draws they are as good, but it was agreed that jump k uses noises[k].",
            _walk(noise=lambda k, K: K - 1 - k),
        ),
        Misconception(
            "the same noise is used in each jump",
            "Then all jumps push in one direction, and their variances no longer simply add.",
            _walk(noise=lambda k, K: 0),
        ),
        Misconception(
            "the noises are off by one",
            "Jump k uses noises[k]. The first jump is number 0.",
            _walk(noise=lambda k, K: (k + 1) % K),
        ),
        Misconception(
            "noise is added at the last step, where the variance is β",
            "β is not 0 on the way to the clean image, so leave the noise out there: what has arrived is the "
            "result.",
            _walk(step=off(scale=lambda n: n.sigma2**0.5)),
        ),
        Misconception(
            "no noise is added on the way",
            "Without it each jump only goes to the mean, and the walks draw together: in chapter 05 all of them "
            "ended in one place.",
            _walk(step=off(scale=lambda n: 0.0)),
        ),
        Misconception(
            "the jumps take the variance β̃ whatever was asked for",
            "The loop is right. Hand `variance` on to each step.",
            _walk(step=off(sigma2=lambda n: n.beta_tilde)),
        ),
        Misconception(
            "the jumps take the variance β whatever was asked for",
            "The loop is right. Hand `variance` on to each step.",
            _walk(step=off(sigma2=lambda n: n.beta)),
        ),
        Misconception(
            "x̂_0 is not clipped",
            "The loop is right. Ask for clip=1 in each step.",
            _walk(step=off(x0=lambda n: n.seen)),
        ),
        Misconception(
            "ε is clipped instead of x̂_0",
            "The loop is right. Noise may well be beyond ±1; it is the clean image whose range is known.",
            _walk(step=off(x0=of_clipped_eps)),
        ),
        Misconception(
            "x is clipped instead of x̂_0",
            "On the way x is image and noise, and reaches beyond ±1 by right. Only x̂_0 is to lie within.",
            _walk(
                step=off(
                    x0=lambda n: n.seen, x_prev=lambda n: (n.mean + n.scale * n.noise).clamp(-1, 1)
                )
            ),
        ),
        Misconception(
            "the model's x̂_0 goes on to the next jump, not x",
            "A step of the library has both: .x0 is what the model believes, .x is where the jump arrives.",
            _walk(step=off(x_prev=lambda n: n.x0)),
        ),
        Misconception(
            "the path holds the model's guesses x̂_0, not where x was",
            "The guesses are good to look at, and show what the model believes. Here the walk itself is asked "
            "for: .x of each step.",
            _guesses,
        ),
        Misconception(
            "x_T is missing in the path",
            "K jumps have K + 1 places: the first is x_T, where the walk begins.",
            _edited(lambda path: path[1:]),
        ),
        Misconception(
            "only the end of the walk is returned",
            "Here all of the path is wanted, from x_T to the images: stack its K + 1 places.",
            _edited(lambda path: path[-1]),
        ),
        Misconception(
            "the path is in the wrong order, images first",
            "The walk begins at x_T, and so does its path.",
            _edited(lambda path: path.flip(0)),
        ),
        Misconception(
            "all places of the path are the same: the last one",
            "The list holds one and the same tensor many times, changed in place by +=, .mul_() or x[:] = …. Make "
            "a new x at each jump.",
            _edited(lambda path: path[-1].expand_as(path).clone()),
        ),
    ),
    hints=(
        "In the loop: ask the model about x at t, make the jump to t_prev, let x be the result, and keep it in a "
        "list. Which pairs (t, t_prev) are there, and how many?",
        "zip(ts, [*ts[1:], -1]) gives the pairs. The list begins with x_T; torch.stack(list) makes the path.",
        "path = [x_T]\n"
        "for t, t_prev, noise in zip(ts, [*ts[1:], -1], noises):\n"
        "    x = path[-1]\n"
        "    how = {'t_prev': t_prev, 'variance': variance, 'clip': 1, 'noise': noise}\n"
        "    path.append(ddpm_step(schedule, model(x, t), t, x, **how).x)\n"
        "return torch.stack(path)",
    ),
    success=(
        "That is the whole sampler. A thousand steps, fifty or three: the loop is the same, and asks the model "
        "once for each."
    ),
)
