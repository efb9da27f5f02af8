"""08.2: the numbers of all jumps of a walk: two weights and two variances for each."""

from itertools import pairwise

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_08.material import follow, pairs, root, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _of_one_jump(early: float, late: float) -> tuple[float, ...]:
    """Two witnesses of where x was, x_0 and x_t, weighted by their precisions."""
    if early == 1:
        return 1.0, 0.0, 1 - late, 0.0
    kept = late / early
    by_x0, by_x_t = 1 / (1 - early), kept / (1 - kept)
    both = by_x0 + by_x_t
    return early**0.5 * by_x0 / both, by_x_t / kept**0.5 / both, 1 - kept, 1 / both


def _jump_numbers(schedule, ts):
    rows = [_of_one_jump(share(schedule, s), share(schedule, t)) for t, s in pairs(ts)]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts):
        return Case(f"{says}, ts = {_shown(ts)}", (schedule, ts))

    uneven = from_beta(UNEVEN)
    return (
        case("ten uneven steps", uneven, [9, 6, 5, 1]),
        case("ten uneven steps", uneven, [7, 4, 3, 2, 0]),
        case("1000 linear steps", linear(1000), list(range(999, 0, -20))),
        case("ten uneven steps", uneven, [8, 3]),
    )


def _shown(ts: list[int]) -> str:
    return str(ts) if len(ts) < 8 else f"[{ts[0]}, {ts[1]}, …, {ts[-1]}]"


NAMES = ("from_x0", "from_x_t", "beta", "beta_tilde")
RECIPE = {
    "early": lambda n: share(n.schedule, n.s),
    "late": lambda n: share(n.schedule, n.t),
    "kept": lambda n: n.late / n.early,
    "added": lambda n: 1 - n.kept,
    "from_x0": lambda n: root(n.early) * n.added / (1 - n.late),
    "from_x_t": lambda n: root(n.kept) * (1 - n.early) / (1 - n.late),
    "beta": lambda n: n.added,
    "beta_tilde": lambda n: n.added * (1 - n.early) / (1 - n.late),
}


def _off(jumps=pairs, names=NAMES, **slips):
    """The exercise with other jumps, or returning other names, or with other lines in the recipe."""

    def wrong(schedule, ts):
        seen = [follow(RECIPE, {"schedule": schedule, "t": t, "s": s}, slips) for t, s in jumps(ts)]
        return tuple(
            torch.stack([torch.as_tensor(getattr(n, name)).double() for n in seen])
            for name in names
        )

    return wrong


def _sums_to_one(name):
    def weight(n):
        weights = {key: RECIPE[key](n) for key in ("from_x0", "from_x_t")}
        return weights[name] / sum(weights.values())

    return weight


EXERCISE = Exercise(
    id="08.2",
    title="The numbers of a walk",
    difficulty=2,
    minutes=15,
    reference=_jump_numbers,
    returns=NAMES,
    cases=_cases,
    misconceptions=(
        Misconception(
            "every jump goes to t − 1",
            "A walk through 50 of 1000 steps does not stop there: the jump from ts[k] leads to ts[k + 1], and "
            "its numbers are those of the whole way between.",
            _off(jumps=lambda ts: [(t, t - 1) for t in ts]),
        ),
        Misconception(
            "a jump is taken as one step: β_t and α_t stand where 1−ᾱ_t/ᾱ_s and ᾱ_t/ᾱ_s belong",
            "β_t is what step t alone adds, and α_t what it keeps. A jump makes up for all the steps "
            "s+1 … t: they keep ᾱ_t/ᾱ_s.",
            _off(kept=lambda n: n.schedule.alpha[n.t]),
        ),
        Misconception(
            "β_t of the single step stands where 1−ᾱ_t/ᾱ_s belongs",
            "β_t is the noise of step t alone. A jump has that of all the steps s+1 … t.",
            _off(added=lambda n: n.schedule.beta[n.t]),
        ),
        Misconception(
            "in the weight of x_t, α_t of the single step stands where ᾱ_t/ᾱ_s belongs",
            "√α_t is the fading of step t alone. From s to t an image fades by √(ᾱ_t/ᾱ_s).",
            _off(
                from_x_t=lambda n: n.schedule.alpha[n.t].sqrt() * (1 - n.early) / (1 - n.late),
            ),
        ),
        Misconception(
            "ᾱ_t stands where ᾱ_t/ᾱ_s belongs",
            "ᾱ_t is what all steps since the clean image keep. Those up to s lie before the jump: divide them "
            "out.",
            _off(kept=lambda n: n.late),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "1−ᾱ is the variance of all the noise so far, 1−α that of one step alone.",
            _off(
                early=lambda n: float(n.schedule.alpha[n.s]) if n.s >= 0 else 1.0,
                late=lambda n: float(n.schedule.alpha[n.t]),
            ),
        ),
        Misconception(
            "the ratio is upside down: ᾱ_s/ᾱ_t",
            "The later ᾱ is the smaller one. What the jump keeps is ᾱ_t/ᾱ_s, at most 1; yours makes a variance "
            "negative.",
            _off(kept=lambda n: n.early / n.late),
        ),
        Misconception(
            "the difference ᾱ_s−ᾱ_t stands where 1−ᾱ_t/ᾱ_s belongs",
            "Shares multiply: what the steps between keep is a ratio, and what they add is 1 minus that ratio.",
            _off(added=lambda n: n.early - n.late),
        ),
        Misconception(
            "the β between are added up",
            "Each step also shrinks the noise of those before it, so together they add 1 − ∏(1−β), which is "
            "less than the sum.",
            _off(added=lambda n: n.schedule.beta[n.s + 1 : n.t + 1].sum()),
        ),
        Misconception(
            "at the last jump ᾱ_s is read from alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 the image is clean: ᾱ = 1.",
            _off(early=lambda n: float(n.schedule.alpha_bar[n.s])),
        ),
        Misconception(
            "the last jump ends at step 0",
            "x_t at t = 0 has had a step of noise. The walk ends one before it, at −1, where ᾱ is 1.",
            _off(jumps=lambda ts: pairwise([*ts, 0])),
        ),
        Misconception(
            "the last jump is missing",
            "K steps make K jumps: from the last of them to the clean image is one, too.",
            _off(jumps=lambda ts: pairs(ts)[:-1]),
        ),
        Misconception(
            "the jumps come in the wrong order, from the last to the first",
            "The walk begins at ts[0], the noisiest step; so do its numbers.",
            _off(jumps=lambda ts: pairs(ts)[::-1]),
        ),
        Misconception(
            "the square root of ᾱ_s is missing",
            "At s the image has faded to √ᾱ_s x_0: the root multiplies x_0.",
            _off(from_x0=lambda n: n.early * n.added / (1 - n.late)),
        ),
        Misconception(
            "the square root of ᾱ_t/ᾱ_s is missing",
            "From s to t an image is multiplied by √(ᾱ_t/ᾱ_s), and the weight of x_t has that root from it.",
            _off(from_x_t=lambda n: n.kept * (1 - n.early) / (1 - n.late)),
        ),
        Misconception(
            "the weights are made to add up to 1",
            "They need not: x_t and x_0 are not two estimates of one size, since x_t has faded. Together they "
            "give the right mean as they are.",
            _off(from_x0=_sums_to_one("from_x0"), from_x_t=_sums_to_one("from_x_t")),
        ),
        Misconception(
            "the two weights have changed places",
            "The weight of x_0 holds what the jump adds; that of x_t how much noise there was before it, and is "
            "0 on the way to the clean image.",
            _off(names=("from_x_t", "from_x0", "beta", "beta_tilde")),
        ),
        Misconception(
            "√β̃ stands where β̃ belongs",
            "Asked for is the variance. Whoever draws takes its root then, and would take it twice.",
            _off(beta_tilde=lambda n: root(RECIPE["beta_tilde"](n))),
        ),
        Misconception(
            "the deviations √β and √β̃ stand where the variances belong",
            "Asked for are variances. Whoever draws takes the root then, and would take it twice.",
            _off(beta=lambda n: root(n.added), beta_tilde=lambda n: root(RECIPE["beta_tilde"](n))),
        ),
        Misconception(
            "the two variances have changed places",
            "β is what the jump adds on the way forward. Knowing x_0 as well narrows the choice: β̃ is smaller.",
            _off(names=("from_x0", "from_x_t", "beta_tilde", "beta")),
        ),
        Misconception(
            "in β̃ the fraction is upside down",
            "1−ᾱ grows with t, so (1−ᾱ_s)/(1−ᾱ_t) is below 1, and 0 on the way to the clean image.",
            _off(beta_tilde=lambda n: n.added * (1 - n.late) / torch.tensor(1 - n.early)),
        ),
    ),
    hints=(
        "First write down the jumps as pairs: from ts[0] to ts[1], from ts[1] to ts[2] … where does the last "
        "one lead?",
        "Put ᾱ of every t into one row, and ᾱ of every goal into another: the first without its first entry, "
        "and a 1 at its end. All four are formulas of these two rows.",
        "late = schedule.alpha_bar[ts]; early = torch.cat([late[1:], torch.ones(1)]); kept = late / early; "
        "n = 1 - late; return early.sqrt() * (1 - kept) / n, kept.sqrt() * (1 - early) / n, 1 - kept, "
        "(1 - kept) * (1 - early) / n",
    ),
    success=(
        "These four rows are all that a sampler needs to know of the schedule; made once, before the first step."
    ),
)
