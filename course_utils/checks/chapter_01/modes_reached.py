"""01.5: how many samples each mode got."""

import math

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _counts(samples, means, radius):
    counts = [0] * len(means)
    for sample in samples.tolist():
        distances = [math.dist(sample, mean) for mean in means.tolist()]
        if min(distances) <= radius:
            counts[distances.index(min(distances))] += 1
    return counts


def _ring(modes: int, size: float) -> torch.Tensor:
    angle = torch.arange(modes) * (2 * math.pi / modes) + 0.3
    return size * torch.stack([angle.cos(), angle.sin()], dim=1)


def _cases() -> tuple[Case, ...]:
    def case(says, means, modes, std, radius, seed):
        """One sample for each entry of `modes`, around that mean."""
        samples = means[modes] + std * normal(seed, len(modes), 2)
        says = f"{len(samples)} samples{says}, {len(means)} means, radius {radius}"
        return Case(says, (samples, means, radius))

    every = torch.arange(160)
    return (
        case("", _ring(8, 1.4), every % 8, 0.15, 0.3, 11),
        case(" of modes that overlap", _ring(6, 1.0), every[:120] % 6, 0.4, 0.8, 12),
        case(
            " of a generator that knows two modes", _ring(5, 1.4), 1 + every[:90] % 2, 0.2, 0.3, 13
        ),
        case(" far apart", _ring(3, 9.0), every[:60] % 3, 2.0, 2.5, 14),
        case(" around", _ring(4, 1.4), torch.arange(4), 0.1, 0.5, 15),  # as many samples as means
        case(" in a wide cloud", _ring(3, 1.0), every[:80] % 3, 1.0, 1.6, 16),
    )


def _tally(which: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    return torch.bincount(which, minlength=len(means))


def _gaps(samples, means):
    return samples[:, None] - means  # [N, K, 2]


def _nearest(size, within=None):
    """The exercise with distances size(gaps), and those compared with the radius within(gaps)."""

    def answer(samples, means, radius):
        nearest = size(_gaps(samples, means)).argmin(1)
        compared = (within or size)(_gaps(samples, means))
        return _tally(nearest[compared[range(len(samples)), nearest] <= radius], means)

    return answer


def _euclid(gaps):
    return gaps.norm(dim=-1)


_right = _nearest(_euclid)


def _beyond(samples, means, radius):
    distance, nearest = _euclid(_gaps(samples, means)).min(1)
    return _tally(nearest[distance > radius], means)


def _strays_to(k):
    """The exercise with every sample that belongs to no mode counted for mode k."""

    def answer(samples, means, radius):
        counts = _right(samples, means, radius)
        counts[k] += len(samples) - counts.sum()
        return counts

    return answer


def _several(samples, means, radius):
    return (_euclid(_gaps(samples, means)) <= radius).sum(0)


def _first(samples, means, radius):
    inside = _euclid(_gaps(samples, means)) <= radius
    return _tally(inside.int().argmax(1)[inside.any(1)], means)


def _nearest_sample(samples, means, radius):
    distance, which = _euclid(_gaps(samples, means)).min(0)
    return _tally(which[distance <= radius], means)


def _one_a_mode(samples, means, radius):
    return (_euclid(_gaps(samples, means)).min(0).values <= radius).long()


def _wrong_axis_of_norm(samples, means, radius):
    distance, which = _gaps(samples, means).norm(dim=1).min(1)
    return _tally(which[distance <= radius], means)


def _without_empty(samples, means, radius):
    counts = _right(samples, means, radius)
    return counts[counts > 0]


def _ends_early(samples, means, radius):
    counts = _right(samples, means, radius)
    return counts[: int(counts.nonzero().max()) + 1]


EXERCISE = Exercise(
    id="01.5",
    title="Which modes were found",
    difficulty=2,
    minutes=10,
    reference=_counts,
    returns=("counts",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the squared distance is compared with the radius",
            "Compare like with like: d² with radius², or d with radius. Below 1 a square is smaller, so too "
            "many samples count, and above 1 too few.",
            _nearest(_euclid, lambda gaps: gaps.square().sum(-1)),
        ),
        Misconception(
            "the distance is compared with the squared radius",
            "Compare like with like: d with radius, or d² with radius². Below 1 the square of the radius is "
            "smaller, so too few samples count, and above 1 too many.",
            _nearest(_euclid, lambda gaps: _euclid(gaps).sqrt()),
        ),
        Misconception(
            "samples that belong to no mode are counted for the first one",
            "Setting their index to 0 makes them members of mode 0. Leave them out before you count.",
            _strays_to(0),
        ),
        Misconception(
            "samples that belong to no mode are counted for the last one",
            "The index −1 is the last entry, in Python and NumPy. Leave them out before you count.",
            _strays_to(-1),
        ),
        Misconception(
            "a sample counts for every mode within the radius",
            "Where modes overlap, that counts it twice. It belongs to the nearest alone.",
            _several,
        ),
        Misconception(
            "the first mode within the radius gets the sample, not the nearest",
            "Where modes overlap, the order of the means would decide. Find the nearest first.",
            _first,
        ),
        Misconception(
            "the radius is not used",
            "Then every sample counts, even one in the middle of nowhere, and noise would seem to cover all "
            "modes.",
            _nearest(_euclid, lambda gaps: torch.zeros(gaps.shape[:2])),
        ),
        Misconception(
            "for each mode the nearest sample is sought, not for each sample the nearest mode",
            "The distances have shape [N, K], and each of the N samples chooses among the K modes: the "
            "minimum is over the axis of length K.",
            _nearest_sample,
        ),
        Misconception(
            "it says whether a mode has a sample near it, not how many",
            "A mode with one stray sample and one with a hundred are not the same: count.",
            _one_a_mode,
        ),
        Misconception(
            "the distance is summed over the modes, not over the two coordinates",
            "The differences have shape [N, K, 2]. The squares are added up over the last axis.",
            _wrong_axis_of_norm,
        ),
        Misconception(
            "the larger of the two coordinates is compared with the radius",
            "That draws a square around the mean instead of a circle; its corners are 1.41 radii away.",
            _nearest(_euclid, lambda gaps: gaps.abs().amax(-1)),
        ),
        Misconception(
            "the two coordinates are added instead of their squares",
            "|dx| + |dy| is the way along the streets. The distance is √(dx² + dy²).",
            _nearest(lambda gaps: gaps.abs().sum(-1)),
        ),
        Misconception(
            "the squares are averaged over the coordinates instead of added",
            "That makes every distance too short by √2, so too many samples count.",
            _nearest(lambda gaps: gaps.square().mean(-1).sqrt()),
        ),
        Misconception(
            "the samples beyond the radius are counted",
            "Those are near no mode. Keep the ones whose distance is at most the radius.",
            _beyond,
        ),
        Misconception(
            "shares are returned instead of counts",
            "Do not divide by N: asked for is the number of samples in each mode.",
            lambda samples, means, radius: _right(samples, means, radius) / len(samples),
        ),
        Misconception(
            "shares of the samples within the radius are returned instead of counts",
            "Do not divide: asked for is the number of samples in each mode, not their part in all that "
            "belong to some mode.",
            lambda samples, means, radius: (
                (counts := _right(samples, means, radius)) / counts.sum()
            ),
        ),
        Misconception(
            "the number of the nearest mode is returned for each sample",
            "That is half of the way. Leave out the samples beyond the radius, and count how often each "
            "number occurs: K counts.",
            lambda samples, means, radius: _euclid(_gaps(samples, means)).argmin(1),
        ),
        Misconception(
            "the modes that have a sample are counted, not the samples of each mode",
            "How many modes were reached can be read off the K counts, but not the other way round.",
            lambda samples, means, radius: (_right(samples, means, radius) > 0).sum(),
        ),
        Misconception(
            "modes without a sample are left out",
            "A mode that was missed is what we are looking for: it must stand there with a 0. K numbers.",
            _without_empty,
        ),
        Misconception(
            "the counts end at the last mode that has a sample",
            "bincount stops at the largest number that it meets: give it minlength=K.",
            _ends_early,
        ),
        Misconception(
            "all modes are counted together",
            "One number hides a collapse: a generator with a single mode may hit it always. K numbers.",
            lambda samples, means, radius: _right(samples, means, radius).sum(),
        ),
    ),
    hints=(
        "First all distances at once, as a table with a row for each sample and a column for each mode.",
        "samples[:, None] - means has shape [N, K, 2]. Norm over the last axis, then the minimum over the "
        "modes: it has values and indices.",
        "d, nearest = (samples[:, None] - means).norm(dim=-1).min(dim=1); keep nearest[d <= radius]; count "
        "with torch.bincount(…, minlength=len(means)).",
    ),
    success=(
        "The losses alone do not show a collapse. These K numbers do: look for zeros, and for one number that "
        "is far larger than the others."
    ),
)
