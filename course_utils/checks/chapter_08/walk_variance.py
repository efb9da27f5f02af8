"""08.5: what a walk does to the variance of a Gaussian, exactly, with a perfect model."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_08.material import follow, pairs, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _walk_variance(schedule, ts, c, variance):
    """x_s given x_0 is a Gaussian around each x̂_0: the step is linear, and its slope is measured."""

    def mean(x, early, late):
        x0 = late**0.5 * c * x / (late * c + 1 - late)
        eps = (x - late**0.5 * x0) / (1 - late) ** 0.5
        return (x - (1 - late / early) / (1 - late) ** 0.5 * eps) * (early / late) ** 0.5

    found = [1.0]
    for t, s in pairs(ts):
        early, late = share(schedule, s), share(schedule, t)
        fresh = 0.0
        if s >= 0:
            fresh = 1 - late / early
            fresh *= 1 if variance == "beta" else (1 - early) / (1 - late)
        found.append(mean(1.0, early, late) ** 2 * found[-1] + fresh)
    return found


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts, c, variance):
        says = f'{says}, data of variance {c}, variance="{variance}"'
        return Case(says, (schedule, ts, c, variance))

    uneven, fifty = from_beta(UNEVEN), list(range(980, -1, -20))
    return (
        case("ten uneven steps, ts = [9, 6, 5, 1]", uneven, [9, 6, 5, 1], 0.25, "posterior"),
        case("ten uneven steps, ts = [9, 6, 5, 1]", uneven, [9, 6, 5, 1], 0.25, "beta"),
        case("ten uneven steps, ts = [7, 3, 2]", uneven, [7, 3, 2], 2.0, "posterior"),
        case("ten uneven steps, ts = [8, 4, 0]", uneven, [8, 4, 0], 0.6, "beta"),
        case("50 of 1000 linear steps", linear(1000), fifty, 0.3, "posterior"),
    )


RECIPE = {
    "early": lambda n: share(n.schedule, n.s),
    "late": lambda n: share(n.schedule, n.t),
    "kept": lambda n: n.late / n.early,
    "added": lambda n: 1 - n.kept,
    "guess": lambda n: n.late**0.5 * n.c / (n.late * n.c + 1 - n.late),  # x̂_0 is that times x_t
    "of_x0": lambda n: n.early**0.5 * n.added / (1 - n.late),
    "of_x_t": lambda n: n.kept**0.5 * (1 - n.early) / (1 - n.late),
    "gain": lambda n: n.of_x0 * n.guess + n.of_x_t,
    "beta_tilde": lambda n: n.added * (1 - n.early) / (1 - n.late),
    "sigma2": lambda n: n.added if n.variance == "beta" else n.beta_tilde,
    "fresh": lambda n: n.sigma2 if n.s >= 0 else 0.0,
    "after": lambda n: n.gain**2 * n.before + n.fresh,
}


def _off(jumps=pairs, start=lambda late, c: 1.0, finish=lambda found: found, **slips):
    """The exercise with other jumps, another variance to start from, other lines, or another end."""

    def wrong(schedule, ts, c, variance):
        found = [start(share(schedule, ts[0]), c)]
        for t, s in jumps(ts):
            given = {"schedule": schedule, "t": t, "s": s, "c": c, "variance": variance}
            found.append(float(follow(RECIPE, given | {"before": found[-1]}, slips).after))
        return finish(torch.tensor(found, dtype=torch.float64))

    return wrong


def _never_walked(schedule, ts, c, variance):
    shares = [share(schedule, t) for t in [*ts, -1]]
    return [left * c + 1 - left for left in shares]


EXERCISE = Exercise(
    id="08.5",
    title="What comes out, without drawing",
    difficulty=3,
    minutes=15,
    reference=_walk_variance,
    returns=("variances",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the factor of x is not squared",
            "Multiplying x by g multiplies its variance by g².",
            _off(after=lambda n: n.gain * n.before + n.fresh),
        ),
        Misconception(
            "the two weights are squared one by one, as if x̂_0 and x_t were independent",
            "x̂_0 is computed from x_t, so both move together: add their factors first, then square.",
            _off(after=lambda n: ((n.of_x0 * n.guess) ** 2 + n.of_x_t**2) * n.before + n.fresh),
        ),
        Misconception(
            "x̂_0 is given the variance c of the data",
            "x̂_0 is a guess, and a careful one: at large t it hardly leaves 0. It is what the formula makes of "
            "x_t, a factor times it.",
            _off(after=lambda n: n.of_x0**2 * n.c + n.of_x_t**2 * n.before + n.fresh),
        ),
        Misconception(
            "the fresh noise is left out",
            "Each jump but the last adds noise of variance σ²: it makes up for what the mean takes out.",
            _off(fresh=lambda n: 0.0),
        ),
        Misconception(
            "σ is added instead of σ²",
            "Variances add, deviations do not.",
            _off(fresh=lambda n: n.sigma2**0.5 if n.s >= 0 else 0.0),
        ),
        Misconception(
            "noise is added at the last step, where the variance is β",
            "β̃ is 0 on the way to the clean image, β is not: the last jump adds no noise with either.",
            _off(fresh=lambda n: n.sigma2),
        ),
        Misconception(
            "the variance is β̃ whatever was asked for",
            'With variance="beta" each jump adds β = 1 − ᾱ_t/ᾱ_s.',
            _off(sigma2=lambda n: n.beta_tilde),
        ),
        Misconception(
            "the variance is β whatever was asked for",
            'With variance="posterior" each jump adds β̃, which is smaller.',
            _off(sigma2=lambda n: n.added),
        ),
        Misconception(
            "the two variances have changed places",
            '"posterior" is β̃, the variance when x_0 is known as well; "beta" is β, the larger one.',
            _off(sigma2=lambda n: n.beta_tilde if n.variance == "beta" else n.added),
        ),
        Misconception(
            "c is taken for a deviation, and squared",
            "The data have the variance c: x_t has √ᾱ_t of them, and so the variance ᾱ_t c + 1 − ᾱ_t.",
            _off(guess=lambda n: n.late**0.5 * n.c**2 / (n.late * n.c**2 + 1 - n.late)),
        ),
        Misconception(
            "x̂_0 is x_t/√ᾱ_t, as if there were no noise in x_t",
            "The perfect guess asks how much of x_t is likely to be noise, and leaves that out.",
            _off(guess=lambda n: n.late**-0.5),
        ),
        Misconception(
            "x̂_0 is √ᾱ_t x_t",
            "That is right for c = 1 alone, where x_t has the variance 1 at every t. Otherwise c counts.",
            _off(guess=lambda n: n.late**0.5),
        ),
        Misconception(
            "the root of ᾱ_t is missing in x̂_0",
            "The image stands in x_t with the factor √ᾱ_t, and that root comes into the guess.",
            _off(guess=lambda n: n.late * n.c / (n.late * n.c + 1 - n.late)),
        ),
        Misconception(
            "c is left out of the numerator of x̂_0",
            "The less the data vary, the nearer to 0 is the best guess: √ᾱ_t c stands above the line.",
            _off(guess=lambda n: n.late**0.5 / (n.late * n.c + 1 - n.late)),
        ),
        Misconception(
            "the walk starts from the variance that x_t has in training",
            "The sampler starts from N(0, 1), whatever the data are. That the two differ a little is part of what "
            "comes out.",
            _off(start=lambda late, c: late * c + 1 - late),
        ),
        Misconception(
            "the variances are those of the way forward, ᾱ_t c + 1 − ᾱ_t",
            "That is where a perfect walk would pass. The walk in jumps misses it, and by how much is the "
            "question.",
            _never_walked,
        ),
        Misconception(
            "after the first, the variances are those of the way forward, ᾱ_s c + 1 − ᾱ_s",
            "That is where a perfect walk would pass. The walk in jumps misses it, and by how much is the "
            "question: follow what each jump does to the variance.",
            lambda schedule, ts, c, variance: [1.0, *_never_walked(schedule, ts, c, variance)[1:]],
        ),
        Misconception(
            "every jump goes to t − 1",
            "The jump from ts[k] leads to ts[k + 1], and the last one to −1.",
            _off(jumps=lambda ts: [(t, t - 1) for t in ts]),
        ),
        Misconception(
            "a jump is taken as one step: β_t and α_t in place of 1−ᾱ_t/ᾱ_s and ᾱ_t/ᾱ_s",
            "β_t is what step t alone adds, and α_t what it keeps. A jump makes up for all the steps "
            "s+1 … t.",
            _off(kept=lambda n: float(n.schedule.alpha[n.t])),
        ),
        Misconception(
            "the last jump is missing",
            "K steps make K jumps: from the last of them to the clean image is one, too.",
            _off(jumps=lambda ts: pairs(ts)[:-1]),
        ),
        Misconception(
            "the variance before the first jump is missing",
            "K jumps have K + 1 places: the first is the start, with variance 1.",
            _off(finish=lambda found: found[1:]),
        ),
        Misconception(
            "only the last variance is returned",
            "All are wanted, from the 1 of the start to that of the samples: K + 1 numbers.",
            _off(finish=lambda found: found[-1]),
        ),
        Misconception(
            "the deviations are returned instead of the variances",
            "Asked for are variances, the squares of these.",
            _off(finish=lambda found: found.sqrt()),
        ),
    ),
    hints=(
        "Put the guess into the mean. What multiplies x_t in it, altogether? Call it g.",
        "The jump is x_s = g x_t + σ z with fresh noise z. So the variance goes from v to g² v + σ², and σ is 0 "
        "in the last jump.",
        "found = [1.0]\n"
        "for jump in jumps(schedule, ts):\n"
        "    a = jump.alpha_bar\n"
        "    g = jump.from_x0 * a**0.5 * c / (a * c + 1 - a) + jump.from_x_t\n"
        "    sigma2 = jump.beta if variance == 'beta' and jump.t_prev >= 0 else jump.beta_tilde\n"
        "    found.append(g**2 * found[-1] + sigma2)\n"
        "return found",
    ),
    success=(
        "No network, no chance: what the sampler itself does wrong, in exact numbers, for any walk."
    ),
)
