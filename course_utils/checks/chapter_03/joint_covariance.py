"""03.5: the covariance of the chain at several steps, given x_0."""

from collections.abc import Callable

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import Schedule, from_beta, linear


def _covariance(schedule: Schedule, ts):
    """From the chain: x_t − √ᾱ_t x_0 is a sum of all noises so far; two such sums share the earlier ones."""
    inside = torch.zeros(schedule.T, dtype=torch.float64)  # how much of each step's noise is in x_t
    rows = []
    for t, beta in enumerate(schedule.beta):
        inside = (1 - beta).sqrt() * inside
        inside[t] = beta.sqrt()
        rows.append(inside)
    chosen = torch.stack(rows)[ts]
    return chosen @ chosen.T


# One entry, from the shares ᾱ_s and ᾱ_t of the earlier and the later step.
Entry = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _right(early, late):
    return (late / early).sqrt() * (1 - early)


def _table(entry: Entry):
    """Every entry from its own two steps, put in the order of time."""

    def wrong(schedule, ts):
        share = schedule.alpha_bar[ts]
        return entry(torch.maximum(share[:, None], share), torch.minimum(share[:, None], share))

    return wrong


def _by_place(schedule, ts):
    """The step that stands first in the list is taken as the earlier one."""
    share = schedule.alpha_bar[ts]
    whole = _right(share[:, None], share)
    return whole.triu() + whole.triu(1).T


def _by_place_above(schedule, ts):
    """The same, and what is below the diagonal stays 0."""
    return _by_place(schedule, ts).triu()


def _row_first(schedule, ts):
    share = schedule.alpha_bar[ts]
    return _right(share[:, None], share)


def _where(chosen: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
    """Right where `chosen`, from the step of the row and that of the column, is true; else 0."""
    return lambda schedule, ts: _covariance(schedule, ts) * chosen(ts[:, None], ts)


def _diagonal(schedule, ts):
    return torch.diag(1 - schedule.alpha_bar[ts])


def _correlation(schedule, ts):
    covariance = _covariance(schedule, ts)
    deviation = covariance.diagonal().sqrt()
    return covariance / deviation[:, None] / deviation


def _one_step_shares(schedule, ts):
    first, last = torch.minimum(ts[:, None], ts), torch.maximum(ts[:, None], ts)
    return _right(schedule.alpha[first], schedule.alpha[last])


def _early(schedule, ts):
    return _covariance(schedule, (ts - 1) % schedule.T)


def _shortened(schedule, ts):
    """ts as places in the list, 0 … K−1."""
    return _covariance(schedule, torch.arange(len(ts)))


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts):
        return Case(f"{says}ts = {ts}", (schedule, torch.tensor(ts)))

    return (
        case("", from_beta(UNEVEN), [1, 4, 7]),
        case("", from_beta(UNEVEN), [6, 0, 3, 9]),
        case("", from_beta(UNEVEN), [5]),
        case("", from_beta(UNEVEN), [4, 8, 5]),
        case("1000 linear steps, ", linear(1000), [400, 20, 150]),
    )


EXERCISE = Exercise(
    id="03.5",
    title="The whole chain as one Gaussian",
    difficulty=2,
    minutes=15,
    reference=_covariance,
    returns=("covariance",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the earlier and the later step have changed places",
            "What x_s and x_t share is the noise of the steps up to the earlier one, s, and it fades "
            "from there to t: √(ᾱ_t/ᾱ_s)(1−ᾱ_s).",
            _table(lambda early, late: _right(late, early)),
        ),
        Misconception(
            "the square root of ᾱ_t/ᾱ_s is missing",
            "ᾱ_t/ᾱ_s is the share of variance that is kept. x_s itself is multiplied by its root on "
            "the way to t, and so is the covariance.",
            _table(lambda early, late: late / early * (1 - early)),
        ),
        Misconception(
            "the fading from s to t is missing",
            "1−ᾱ_s is the shared noise as it was at s. On the way to t it is multiplied by √(ᾱ_t/ᾱ_s).",
            _table(lambda early, late: 1 - early),
        ),
        Misconception(
            "the ratio is upside down: √(ᾱ_s/ᾱ_t)",
            "The chain fades what it carries, so the factor is below 1: the later ᾱ, the smaller one, "
            "stands above the line.",
            _table(lambda early, late: (early / late).sqrt() * (1 - early)),
        ),
        Misconception(
            "the noise of the later step is taken: 1−ᾱ_t",
            "x_s knows nothing of the noise that came after it. Shared is only what was there at s, "
            "1−ᾱ_s.",
            _table(lambda early, late: (late / early).sqrt() * (1 - late)),
        ),
        Misconception(
            "each entry is the product of the two deviations",
            "√(1−ᾱ_s)√(1−ᾱ_t) is the covariance if both are the same noise, only scaled: correlation "
            "1. But x_t has new noise in it.",
            _table(lambda early, late: ((1 - early) * (1 - late)).sqrt()),
        ),
        Misconception(
            "the steps are taken as independent: only the diagonal is filled",
            "x_t is made from x_s, so whatever noise is in x_s is, faded, in x_t too.",
            _diagonal,
        ),
        Misconception(
            "the variance of x_s is missing: √(ᾱ_t/ᾱ_s) stands alone",
            "√(ᾱ_t/ᾱ_s) is only the factor of x_s in x_t. Cov(x_s, x_t) is that factor times "
            "Var(x_s | x_0) = 1−ᾱ_s. (The same numbers come out if x_0 is taken as random with "
            "variance 1; here it is given.)",
            _table(lambda early, late: (late / early).sqrt()),
        ),
        Misconception(
            "correlations are returned instead of covariances",
            "A correlation is divided by both deviations, so that the diagonal is 1. Here it is 1−ᾱ_t.",
            _correlation,
        ),
        Misconception(
            "the step of the row is always taken as the earlier one",
            "A covariance is symmetric. In each entry s is the smaller of the two steps: torch.minimum "
            "and torch.maximum find them.",
            _row_first,
        ),
        Misconception(
            "the step of the column is always taken as the earlier one",
            "A covariance is symmetric. In each entry s is the smaller of the two steps: torch.minimum "
            "and torch.maximum find them.",
            lambda schedule, ts: _row_first(schedule, ts).T,
        ),
        Misconception(
            "the step that stands first in ts is taken as the earlier one",
            "ts may come in any order. Which of two steps is the earlier is decided by their numbers.",
            _by_place,
        ),
        Misconception(
            "the steps are sorted first, and the matrix follows the sorted order",
            "Row i and column i belong to ts[i], in the order in which the steps were given.",
            lambda schedule, ts: _covariance(schedule, ts.sort().values),
        ),
        Misconception(
            "the step that stands first in ts is taken as the earlier one, and below the diagonal "
            "there are zeros",
            "Two things. Which of two steps is the earlier is decided by their numbers, not by their "
            "places; and Cov(x_s, x_t) = Cov(x_t, x_s), so the lower triangle mirrors the upper.",
            _by_place_above,
        ),
        Misconception(
            "only the entries whose row has the earlier step are filled",
            "Cov(x_s, x_t) = Cov(x_t, x_s): the entries with ts[i] > ts[j] mirror the others.",
            _where(lambda row, column: row <= column),
        ),
        Misconception(
            "steps that are not neighbours get 0",
            "In a Markov chain x_t is made from its neighbour alone, but the noise of x_s is still in "
            "it, fainter. The zeros are in the inverse of this matrix: see below.",
            _where(lambda row, column: (row - column).abs() <= 1),
        ),
        Misconception(
            "only the upper triangle is filled",
            "Cov(x_s, x_t) = Cov(x_t, x_s): fill the lower triangle with the same numbers.",
            lambda schedule, ts: _covariance(schedule, ts).triu(),
        ),
        Misconception(
            "only the lower triangle is filled",
            "Cov(x_s, x_t) = Cov(x_t, x_s): fill the upper triangle with the same numbers.",
            lambda schedule, ts: _covariance(schedule, ts).tril(),
        ),
        Misconception(
            "the numbers in ts are not used, only their places 0 … K−1",
            "The loop runs over places i and j; the steps are ts[i] and ts[j].",
            _shortened,
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "α_t is what one step keeps. x_t has the steps 0 … t behind it: their product ᾱ_t.",
            _one_step_shares,
        ),
        Misconception(
            "t is off by one",
            "alpha_bar[t] already includes step t, and t starts at 0. The papers' t is ours plus one.",
            _early,
        ),
    ),
    hints=(
        "Take two steps s < t. Write x_t with x_s in it: x_t = √(ᾱ_t/ᾱ_s) x_s + new noise. What is the "
        "covariance of x_s with each of the two parts?",
        "So the covariance is √(ᾱ_t/ᾱ_s) Var(x_s | x_0), s being the smaller step. For all pairs at once: "
        "torch.minimum(ts[:, None], ts) is [K, K].",
        "early = schedule.alpha_bar[torch.minimum(ts[:, None], ts)]; late = "
        "schedule.alpha_bar[torch.maximum(ts[:, None], ts)]; then (late / early).sqrt() * (1 - early).",
    ),
    success=(
        "q(x_{1:T} | x_0), all thousand steps of it, is one Gaussian, and you hold its covariance: "
        "shared noise, faded. Under the linear schedule x_500 and x_501 are correlated by 0.9945."
    ),
)
