"""05.5: where along the chain the loss sits."""

import math

import torch

from course_utils.checks.chapter_02.material import pixels
from course_utils.checks.exercise import Case, Exercise, Misconception


def _by_step(losses, t, T, bins):
    inside = [[] for _ in range(bins)]
    for loss, step in zip(losses.tolist(), t.tolist(), strict=True):
        inside[step // (T // bins)].append(loss)
    return [math.fsum(some) / len(some) if some else math.nan for some in inside]


def _cases() -> tuple[Case, ...]:
    def case(says, t, T, bins, seed):
        t = torch.tensor(t)
        losses = 0.2 + 2 * (t / T - 0.3) ** 2 + 0.3 * pixels(seed, len(t)).abs()
        says = f"{len(t)} losses{says}, T = {T}, {bins} bins"
        return Case(says, (losses.double(), t, T, bins))

    rising = [i + i * i * 940 // 3600 for i in range(60)]  # each once, denser at the beginning
    scattered = [rising[7 * i % 60] for i in range(60)]
    return (
        case(" at t = 0 … 11", [3, 0, 11, 7, 5, 9, 1, 2, 10, 4, 8, 6], 12, 4, 81),
        case(" at t = 0, 1, 2, 3, 8 and 9", [2, 8, 1, 3, 9, 0], 10, 5, 82),
        case("", scattered, 1000, 10, 83),
        case(" in the first half only", [t // 2 for t in scattered if t % 2 == 0], 1000, 4, 84),
        case("", [0, 5, 4, 3, 1], 6, 3, 85),
        case(" that share steps", [5, 0, 2, 0, 3, 5, 2, 0, 4, 2, 0, 1, 2, 5, 0], 6, 3, 86),
    )


def _bin(t, T, bins):
    return t * bins // T


def _average(losses, which, bins):
    """The mean of the losses in each bin; NaN in empty ones."""
    sums = torch.bincount(which, weights=losses, minlength=bins)
    return sums / torch.bincount(which, minlength=bins)


def _right(losses, t, T, bins):
    return _average(losses, _bin(t, T, bins), bins)


def _binned(which):
    """The exercise with which(t, T, bins) as the number of the bin, kept within 0 … bins−1."""
    return lambda losses, t, T, bins: _average(
        losses, which(t, T, bins).long().clamp(0, bins - 1), bins
    )


def _masked(inside):
    """The exercise with inside(t, first, width) as the samples of the bin that begins at the step `first`."""

    def wrong(losses, t, T, bins):
        width = T // bins
        return torch.stack([losses[inside(t, k * width, width)].mean() for k in range(bins)])

    return wrong


def _sums(losses, t, T, bins):
    return torch.bincount(_bin(t, T, bins), weights=losses, minlength=bins)


def _observed_range(t, T, bins):
    low, high = t.min(), t.max()
    return ((t - low) * bins / (high - low)).floor()


def _equal_parts(order):
    def wrong(losses, t, T, bins):
        return torch.stack([part.mean() for part in torch.tensor_split(losses[order(t)], bins)])

    return wrong


def _medians(losses, t, T, bins):
    which = _bin(t, T, bins)
    return [
        losses[which == b].quantile(0.5) if (which == b).any() else math.nan for b in range(bins)
    ]


def _each_step_first(losses, t, T, bins):
    return _average(losses, t, T).reshape(bins, -1).nanmean(1)


def _last_one_alone(losses, t, T, bins):
    sums, which = losses.new_zeros(bins), _bin(t, T, bins)
    for b, loss in zip(which, losses, strict=True):
        sums[b] = loss
    return sums / torch.bincount(which, minlength=bins)


def _ends_early(losses, t, T, bins):
    return _right(losses, t, T, bins)[: int(_bin(t, T, bins).max()) + 1]


def _without_empty(losses, t, T, bins):
    means = _right(losses, t, T, bins)
    return means[~means.isnan()]


EXERCISE = Exercise(
    id="05.5",
    title="Where the loss sits",
    difficulty=2,
    minutes=15,
    reference=_by_step,
    returns=("means",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the losses of each bin are summed, not averaged",
            "A bin with more samples would look worse. Divide each sum by the number of samples in that bin.",
            _sums,
        ),
        Misconception(
            "each bin's sum is divided by the number of all samples",
            "That gives the bin's part in the total loss. For its mean, divide by the samples in this bin.",
            lambda losses, t, T, bins: _sums(losses, t, T, bins) / len(losses),
        ),
        Misconception(
            "each bin's sum is divided by the same number, as if all bins had equally many samples",
            "On average they have N/bins each, but t is drawn at random: count them.",
            lambda losses, t, T, bins: _sums(losses, t, T, bins) * bins / len(losses),
        ),
        Misconception(
            "each bin's sum is divided by the number of its steps, not of its samples",
            "T/bins steps belong to a bin, but t is drawn at random: some occur often, some never. Count the "
            "samples.",
            lambda losses, t, T, bins: _sums(losses, t, T, bins) / (T // bins),
        ),
        Misconception(
            "the losses of each t are averaged first, and then those means",
            "Then a step with one sample counts as much as one with a hundred. In the mean of the bin each "
            "sample counts once.",
            _each_step_first,
        ),
        Misconception(
            "only one loss of each bin is in its sum",
            "sums[which] += losses does that: of entries that occur several times one alone is kept. bincount "
            "with weights, or index_add_, adds them all.",
            _last_one_alone,
        ),
        Misconception(
            "the number of samples is returned",
            "That is what each sum is to be divided by: the counts are needed, but as divisor.",
            lambda losses, t, T, bins: torch.bincount(_bin(t, T, bins), minlength=bins),
        ),
        Misconception(
            "the mean of all losses is returned for every bin",
            "The mean over everything hides what we look for: which steps are hard, and which are easy.",
            lambda losses, t, T, bins: losses.mean().expand(bins),
        ),
        Misconception(
            "an empty bin is given 0",
            "A loss of 0 would be perfect; nothing is known here. NaN says so, and curves leave a gap.",
            lambda losses, t, T, bins: _right(losses, t, T, bins).nan_to_num(0),
        ),
        Misconception(
            "empty bins are left out",
            "Then all bins after it move up, and stand for other steps. Keep all of them, with NaN where "
            "nothing fell.",
            _without_empty,
        ),
        Misconception(
            "the bins end at the last one that has a sample",
            "bincount stops at the largest number that it meets: give it minlength=bins.",
            _ends_early,
        ),
        Misconception(
            "the losses are sorted by t and cut into parts of equal number",
            "Those are quantiles. Here each bin spans T/bins steps, however many samples fall into it.",
            _equal_parts(torch.argsort),
        ),
        Misconception(
            "t is not used: the losses are cut into parts in the order in which they came",
            "That order is the order of training. Each loss goes into the bin of its own t.",
            _equal_parts(lambda t: slice(None)),
        ),
        Misconception(
            "the bins divide the range of the t that occurred, not 0 … T",
            "np.histogram does that if it is not told range=(0, T). Then bins mean other steps in each batch.",
            _binned(_observed_range),
        ),
        Misconception(
            "a t on the edge of two bins falls into the lower one",
            "Bin k holds k·T/bins ≤ t < (k+1)·T/bins: its first step belongs to it, the next bin's does not.",
            _binned(lambda t, T, bins: (t - 1).clamp(min=0) * bins // T),
        ),
        Misconception(
            "a t on the edge of two bins falls into the lower one, and t = 0 into none",
            "Bin k holds k·T/bins ≤ t < (k+1)·T/bins: < belongs above, and ≤ below.",
            _masked(lambda t, first, width: (t > first) & (t <= first + width)),
        ),
        Misconception(
            "a t on the edge of two bins is counted in both",
            "Bin k holds k·T/bins ≤ t < (k+1)·T/bins: the step at its upper end is the next bin's first.",
            _masked(lambda t, first, width: (t >= first) & (t <= first + width)),
        ),
        Misconception(
            "the first step of each bin is in no bin",
            "Bin k holds k·T/bins ≤ t < (k+1)·T/bins: its first step belongs to it.",
            _masked(lambda t, first, width: (t > first) & (t < first + width)),
        ),
        Misconception(
            "t is divided by the number of bins, not by their width",
            "t // bins puts `bins` steps into each bin. A bin has T/bins steps: t // (T // bins).",
            lambda losses, t, T, bins: torch.stack(
                [losses[t // bins == k].mean() for k in range(bins)]
            ),
        ),
        Misconception(
            "t is divided by the number of bins, not by their width, and more bins may come out than asked for",
            "t // bins puts `bins` steps into each bin. A bin has T/bins steps: t // (T // bins).",
            lambda losses, t, T, bins: _average(losses, t // bins, bins),
        ),
        Misconception(
            "t is off by one",
            "t starts at 0 here, so the first bin begins at t = 0; the papers' t is ours plus one.",
            _binned(lambda t, T, bins: (t + 1) * bins // T),
        ),
        Misconception(
            "t is off by one, so that t = T−1 begins a bin of its own",
            "t starts at 0 here, and T−1 is the last step: t * bins // T is never above bins−1.",
            lambda losses, t, T, bins: _average(losses, _bin(t + 1, T, bins), bins),
        ),
        Misconception(
            "t is rounded to the nearest bin instead of down",
            "A bin begins at its edge: with rounding the first is half as wide, and the last takes too much.",
            _binned(lambda t, T, bins: (t * bins / T).round()),
        ),
        Misconception(
            "the remainder of t is taken, not the quotient",
            "t % bins deals the steps out like cards. Neighbouring steps belong together: divide.",
            _binned(lambda t, T, bins: t % bins),
        ),
        Misconception(
            "the bins come in the wrong order, from T−1 down to 0",
            "Bin 0 holds the first steps, with hardly any noise.",
            lambda losses, t, T, bins: _right(losses, t, T, bins).flip(0),
        ),
        Misconception(
            "the median is taken instead of the mean",
            "The loss is a mean, and its floor is one, too; a median would leave out the few large errors.",
            _medians,
        ),
    ),
    hints=(
        "With T = 1000 and 10 bins, which bin has t = 0, t = 99, t = 100, t = 999? Find the one division.",
        "The bin is t * bins // T. For each bin you need a sum and a count; 0/0 gives NaN by itself in torch.",
        "which = t * bins // T; torch.bincount(which, weights=losses, minlength=bins) / "
        "torch.bincount(which, minlength=bins).",
    ),
    success=(
        "One number for the loss hides a range of a hundred or a thousand to one: near t = 0 the noise is "
        "faint and hard to find, near T−1 there is hardly anything else."
    ),
)
