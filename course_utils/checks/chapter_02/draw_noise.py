"""02.4: draw the noise yourself. The answer is random, so its statistics are compared."""

import numpy as np
import torch

from course_utils.checks.chapter_02.closed_form import Factors, slips
from course_utils.checks.chapter_02.material import UNEVEN, mix, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception, Statistic
from course_utils.diffusion.schedule import from_beta, linear

FAR = 0.05  # in units of the noise


def _cases() -> tuple[Case, ...]:
    def case(says, seed, schedule=None, shape=(64, 3, 16, 16), t=4, calls=1):
        schedule = schedule or from_beta(UNEVEN)  # here every slip changes x_t by a lot
        generator = torch.Generator().manual_seed(seed)
        says = f"x0 of shape {list(shape)} at t = {t} of {says}"
        return Case(says, (schedule, pixels(21, *shape), t, generator), calls)

    return (
        case("ten uneven steps", 1),
        case("ten uneven steps, a generator with the same seed again", 1),
        case("ten uneven steps, a generator with another seed", 2),
        case("ten uneven steps, the second call with one generator", 1, calls=2),
        case("1000 linear steps", 3, linear(), (5, 1, 8, 6), 300),
    )


def _factors(answer: tuple, case: Case) -> tuple[float, float]:
    """How much of x0 and of eps is in x_t: the a and b for which a·x0 + b·eps comes closest to it."""
    (x_t, eps), (_, x0, _, _) = answer, case.arguments
    parts = np.stack([x0.double().numpy().ravel(), np.broadcast_to(eps, x_t.shape).ravel()], 1)
    (a, b), *_ = np.linalg.lstsq(parts, x_t.ravel(), rcond=None)
    return float(a), float(b)


def _rest(answer: tuple, case: Case) -> np.ndarray:
    """What is in x_t beside √ᾱ x0 + √(1−ᾱ) eps, in units of the noise."""
    (x_t, eps), (schedule, x0, t, _) = answer, case.arguments
    share = float(schedule.alpha_bar[t])
    return (x_t - mix(share, x0.double().numpy(), eps)) / (1 - share) ** 0.5


def _measure(answers: list[tuple]) -> tuple[Statistic, ...]:
    """The noise of the first answer, how it made x_t, and whether it follows the generator.

    Sampling error, 49,152 numbers: 0.005 in the mean, 0.003 in the deviation, 0.022 in the kurtosis, 0.009 in
    a share, 0.005 in a correlation; each tolerance is at least five times that. One eps for several pixels is
    spread over them first. The factors are exact in a right answer, and off by 0.007 at most where x_t holds
    another noise than eps.
    """
    (x_t, eps), (_, again), (_, other), (_, second), _ = answers
    cases = _cases()
    share = float(cases[0].arguments[0].alpha_bar[cases[0].arguments[2]])
    of_image, of_noise = _factors(answers[0], cases[0])
    rest, rest_elsewhere = _rest(answers[0], cases[0]), _rest(answers[-1], cases[-1])
    far = rest.std() > FAR
    exact = max(np.abs(rest).max(), np.abs(rest_elsewhere).max()) < 1e-3
    centred = np.broadcast_to(eps, x_t.shape) - eps.mean()
    variance = centred.var() + 1e-30
    images, channels, height, width = centred.shape
    same, new = np.array_equal(eps, again), not np.array_equal(eps, other)

    by_row, by_column, by_other = _correlations(centred)

    def shared(by: str, axes: tuple[int, ...], count: int) -> Statistic:
        share = centred.mean(axes).var() / variance
        return Statistic(f"the share of eps that is common to {by}", share, 1 / count, 0.05)

    return (
        shared("all pixels of an image", (1, 2, 3), channels * height * width),
        shared("all channels of an image", (1,), channels),
        shared("all images", (0,), images),
        Statistic("the correlation of eps with itself, shifted by a row", by_row, 0.0, 0.05),
        Statistic("the correlation of eps with itself, shifted by a column", by_column, 0.0, 0.05),
        Statistic(
            "the largest correlation of eps with itself, shifted further", by_other, 0.0, 0.05
        ),
        Statistic("the mean of eps", eps.mean(), 0.0, 0.03),
        Statistic("the standard deviation of eps", centred.std(), 1.0, 0.03),
        Statistic(
            "the kurtosis of eps (3 if normal, 1.8 if uniform)",
            (centred**4).mean() / variance**2,
            3.0,
            0.15,
        ),
        Statistic("the factor of x0 in x_t", of_image, share**0.5, 0.025),
        Statistic("the factor of eps in x_t", of_noise, (1 - share) ** 0.5, 0.025),
        Statistic(
            "how far x_t is from √ᾱ x0 + √(1−ᾱ) eps (1 = as large as the noise)",
            rest.std(),
            0.0,
            FAR,
        ),
        Statistic(  # where x_t is far off, this would only say so again
            "x_t is √ᾱ x0 + √(1−ᾱ) eps to three digits, at every t", bool(far or exact), True
        ),
        Statistic("generators with the same seed give the same eps", same, True),
        Statistic("generators with different seeds give different eps", new, True),
        Statistic(
            "a second call with the same generator gives new noise",
            not np.array_equal(eps, second),
            True,
        ),
    )


def _correlations(centred: np.ndarray) -> tuple[float, float, float]:
    """Of noise [B, C, H, W] with itself: shifted by a row, by a column, and the largest of all other shifts.

    A shift moves every axis in a circle; all of them at once are one Fourier transform of the power.
    """
    power = np.abs(np.fft.fftn(centred)) ** 2
    every = np.fft.ifftn(power).real / (power.mean() + 1e-30)
    by_row, by_column = every[0, 0, 1, 0], every[0, 0, 0, 1]
    every[0, 0, [0, 1, -1, 0, 0], [0, 0, 0, 1, -1]] = 0  # these two, and no shift at all
    return by_row, by_column, np.abs(every).max()


def _noise_from(draw):
    """The exercise done right but for how eps is drawn: draw(shape, generator)."""

    def wrong(schedule, x0, t, generator):
        eps = draw(x0.shape, generator)
        return mix(schedule.alpha_bar[t].to(x0.dtype), x0, eps), eps

    return wrong


def _normal(shape, generator):
    return torch.randn(shape, generator=generator)


def _enlarged(shape, generator):
    """Noise at half the height and width; each number fills two by two pixels."""
    small = _normal((*shape[:2], *(size // 2 for size in shape[2:])), generator)
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _started_again(shape, generator):
    return _normal(shape, generator.manual_seed(generator.initial_seed()))


def _with_factors(factors: Factors):
    def wrong(schedule, x0, t, generator):
        eps = _normal(x0.shape, generator)
        signal, noise = factors(schedule, t)
        return signal * x0 + noise * eps, eps

    return wrong


def _and_then(change):
    """The exercise done right, and the pair changed before it is returned: change(x_t, eps, ᾱ)."""

    def wrong(schedule, x0, t, generator):
        return change(*_noise_from(_normal)(schedule, x0, t, generator), schedule.alpha_bar[t])

    return wrong


def _drawn_twice(schedule, x0, t, generator):
    noisy, _ = _noise_from(_normal)(schedule, x0, t, generator)
    return noisy, _normal(x0.shape, generator)


_UNIFORM = "The step from x_0 to x_t is a sum of many steps, and sums are normal; torch.rand draws uniform numbers"

_SEEDED = "Then each call draws the same noise, and training sees one noise for ever. Only the caller seeds."

EXERCISE = Exercise(
    id="02.4",
    title="Draw the noise yourself",
    difficulty=2,
    minutes=15,
    reference=_noise_from(_normal),
    returns=("x_t", "eps"),
    cases=_cases,
    measure=_measure,
    misconceptions=(
        Misconception(
            "the noise is uniform on [0, 1)",
            f"{_UNIFORM}, which are not even centred: every image becomes brighter. torch.randn draws "
            "normal ones.",
            _noise_from(lambda shape, g: torch.rand(shape, generator=g)),
        ),
        Misconception(
            "the noise is uniform on [−1, 1)",
            f"{_UNIFORM}, here with variance 1/3. torch.randn draws normal ones.",
            _noise_from(lambda shape, g: torch.rand(shape, generator=g) * 2 - 1),
        ),
        Misconception(
            "the noise is uniform, scaled to variance 1",
            f"{_UNIFORM}. Mean and variance are right, yet no value beyond √3 ever occurs. Use torch.randn.",
            _noise_from(lambda shape, g: (torch.rand(shape, generator=g) - 0.5) * 12**0.5),
        ),
        Misconception(
            "all images share the same noise",
            "eps must have x0's whole shape, batch axis included; broadcasting would repeat it for "
            "every image.",
            _noise_from(lambda shape, g: _normal((1, *shape[1:]), g)),
        ),
        Misconception(
            "all channels share the same noise",
            "Red, green and blue each need their own: grey noise leaves an image's colours untouched.",
            _noise_from(lambda shape, g: _normal((shape[0], 1, *shape[2:]), g)),
        ),
        Misconception(
            "each image has one noise value for all its pixels",
            "Then an image only gets brighter or darker and its shapes never dissolve. Each pixel "
            "needs its own.",
            _noise_from(lambda shape, g: _normal((shape[0], 1, 1, 1), g)),
        ),
        Misconception(
            "each row has one noise value for all its pixels",
            "Then the images show stripes. The last axis of eps must be x0's, not 1: each pixel needs "
            "its own.",
            _noise_from(lambda shape, g: _normal((*shape[:3], 1), g).expand(shape)),
        ),
        Misconception(
            "each column has one noise value for all its pixels",
            "Then the images show stripes. Axis 2 of eps must be x0's, not 1: each pixel needs its own.",
            _noise_from(lambda shape, g: _normal((*shape[:2], 1, shape[3]), g).expand(shape)),
        ),
        Misconception(
            "neighbouring pixels share their noise",
            "Noise that is drawn small and enlarged comes in blocks, and the image shows through "
            "them. Each pixel needs its own.",
            _noise_from(_enlarged),
        ),
        Misconception(
            "one single number is the noise of the whole batch",
            "Then every image gets brighter or darker by the same amount. eps must have x0's whole shape.",
            _noise_from(lambda shape, g: _normal((1,), g)),
        ),
        Misconception(
            "x_t and the returned eps come from two different draws",
            "The network will be asked for the very noise that is in x_t. Draw once, use it, return it.",
            _drawn_twice,
        ),
        Misconception(
            "the noise is drawn but not used in x_t",
            "x_t = √ᾱ x0 + √(1−ᾱ) eps; without the second term the image only fades.",
            lambda s, x0, t, g: (s.alpha_bar[t] ** 0.5 * x0, _normal(x0.shape, g)),
        ),
        Misconception(
            "the generator is not used",
            "Then the numbers come from torch's global state, and no one can repeat your experiment. "
            "Pass it on: torch.randn(…, generator=generator).",
            _noise_from(lambda shape, g: torch.randn(shape)),
        ),
        Misconception(
            "the generator is seeded anew inside the function",
            _SEEDED,
            _noise_from(lambda shape, g: _normal(shape, g.manual_seed(0))),
        ),
        Misconception(
            "the generator's own seed is used anew in every call",
            f"{_SEEDED} Draw from the generator itself, and it moves on: generator=generator.",
            _noise_from(_started_again),
        ),
        Misconception(
            "the pair is swapped: (eps, x_t)",
            "The exercise asks for x_t first and the noise inside it second.",
            _and_then(lambda x_t, eps, share: (eps, x_t)),
        ),
        Misconception(
            "the returned eps has been scaled by √(1−ᾱ)",
            "Return eps as it was drawn, with deviation 1. If you wrote x = eps; x *= …, that changed "
            "eps too: x was a second name for it.",
            _and_then(lambda x_t, eps, share: (x_t, eps * (1 - share) ** 0.5)),
        ),
        Misconception(
            "x_t is returned twice, and eps is lost",
            "After x = eps, x is a second name for eps, and x *= … and x += … change both. Write "
            "x = … * eps + … instead: it makes a new tensor.",
            _and_then(lambda x_t, eps, share: (x_t, x_t)),
        ),
        *slips(_with_factors),
    ),
    hints=(
        "How many random numbers do you need: one an image, one a pixel, or one for each number in x0?",
        "torch.randn takes a shape and a generator. Keep what it gives you: you need it twice.",
        "eps = torch.randn(x0.shape, generator=generator); then the closed form with ᾱ_t; return x_t, eps.",
    ),
    success=(
        "x_t and the eps inside it: that pair is the whole training set of a diffusion model, "
        "drawn on demand.\n"
        "Measured: mean 0, deviation 1, the bell's kurtosis 3; nothing shared between images, "
        "channels or pixels; same seed same noise, other seed other noise; and eps really is inside x_t."
    ),
)
