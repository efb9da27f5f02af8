"""10.1: how many hours a training run takes."""

import math
from fractions import Fraction

from course_utils.checks.exercise import Case, Exercise, Misconception


def _hours(gflop, batch, accumulate, steps, tflops, gpus):
    images = batch * accumulate * steps
    per_second = Fraction(tflops) * gpus * 1000 / (3 * Fraction(gflop))
    return float(images / per_second / 3600)


def _cases() -> tuple[Case, ...]:
    def case(gflop, batch, accumulate, steps, tflops, gpus):
        says = (
            f"{gflop} GFLOP, batch {batch}, accumulate {accumulate}, {steps:,} steps, "
            f"{gpus} GPU{'s' * (gpus > 1)} of {tflops} TFLOP/s"
        )
        return Case(says, (gflop, batch, accumulate, steps, tflops, gpus))

    return (
        case(12, 100, 1, 600_000, 200, 1),
        case(11.56, 128, 1, 800_000, 230, 1),
        case(4.9, 32, 4, 150_000, 11.5, 1),
        case(77.5, 256, 1, 400_000, 180, 8),
        case(30.2, 48, 3, 1_000_000, 95, 2),
    )


def _times(factor):
    """The exercise with the right hours multiplied by factor(batch, accumulate, steps, tflops, gpus)."""
    return lambda gflop, *others: _hours(gflop, *others) * factor(*others)


def _rounded(settle):
    return lambda *arguments: settle(_hours(*arguments))


EXERCISE = Exercise(
    id="10.1",
    title="How long will it take?",
    difficulty=1,
    minutes=5,
    reference=_hours,
    returns=("hours",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "only the forward pass is counted",
            "Training also goes backward, which costs twice as much as forward. So the plan is three times too "
            "short.",
            _times(lambda *others: 1 / 3),
        ),
        Misconception(
            "only the backward pass is counted",
            "It costs twice as much as forward, but forward has to come before it: three in all.",
            _times(lambda *others: 2 / 3),
        ),
        Misconception(
            "the backward pass is taken to cost as much as the forward pass alone, on top of three",
            "Training is three times forward with everything in it: one forward, and two for the backward pass.",
            _times(lambda *others: 4 / 3),
        ),
        Misconception(
            "the operations are doubled",
            "gflop counts a multiplication and an addition as two already: there is nothing left to double.",
            _times(lambda *others: 2),
        ),
        Misconception(
            "a step is taken to be one batch",
            "The optimiser waits for `accumulate` batches before each step, and all of them have to be computed.",
            _times(lambda batch, accumulate, *others: 1 / accumulate),
        ),
        Misconception(
            "it is divided by accumulate",
            "A step takes several batches, so accumulating makes steps longer, not shorter: multiply.",
            _times(lambda batch, accumulate, *others: 1 / accumulate**2),
        ),
        Misconception(
            "each step is taken to see one image",
            "A step sees all images of its batches: batch · accumulate of them.",
            _times(lambda batch, accumulate, *others: 1 / (batch * accumulate)),
        ),
        Misconception(
            "the batch drops out",
            "Each batch holds `batch` images, and every one of them goes through the network.",
            _times(lambda batch, *others: 1 / batch),
        ),
        Misconception(
            "the number of GPUs drops out",
            "Either it is not used, or the batch was multiplied by it. Here batch counts the images of all GPUs "
            "together, so more of them are done with it sooner.",
            _times(lambda batch, accumulate, steps, tflops, gpus: gpus),
        ),
        Misconception(
            "more GPUs take longer",
            "They share the images of each batch between them, so their rates add up: divide by gpus.",
            _times(lambda batch, accumulate, steps, tflops, gpus: gpus**2),
        ),
        Misconception(
            "the rate is multiplied, not divided by",
            "The rate is operations per second: operations divided by it are seconds.",
            _times(lambda batch, accumulate, steps, tflops, gpus: (tflops * gpus) ** 2),
        ),
        Misconception(
            "giga and tera are taken to be the same",
            "tera is 10¹², giga 10⁹. A thousand gigas make one tera, so the answer is a thousand times too long.",
            _times(lambda *others: 1000),
        ),
        Misconception(
            "giga and tera have changed places",
            "tera is 10¹² and giga 10⁹: gflop counts in 10⁹, and tflops in 10¹².",
            _times(lambda *others: 1e6),
        ),
        Misconception(
            "it is the number of seconds",
            "An hour has 3600 of them.",
            _times(lambda *others: 3600),
        ),
        Misconception(
            "it is the number of minutes",
            "Operations divided by operations per second are seconds, and an hour has 3600 of them.",
            _times(lambda *others: 60),
        ),
        Misconception(
            "it is the number of days",
            "Hours are wanted. Divide the seconds by 3600 and leave it there.",
            _times(lambda *others: 1 / 24),
        ),
        Misconception(
            "the hours are rounded down",
            "Half an hour is half an hour: write a single /, and no int().",
            _rounded(math.floor),
        ),
        Misconception(
            "the hours are rounded up",
            "A run does not wait for the full hour, even where the bill does. Return the number as it is.",
            _rounded(math.ceil),
        ),
        Misconception(
            "the hours are rounded",
            "Return the number as it is: a run of twenty minutes would take no time at all.",
            _rounded(round),
        ),
    ),
    hints=(
        "How many images go through the network in the whole run? And what does one of them cost, there and "
        "back?",
        "Operations: 3 · gflop · 1e9 for each of batch · accumulate · steps images. All GPUs together make "
        "gpus · tflops · 1e12 of them in a second.",
        "operations = 3 * gflop * 1e9 * batch * accumulate * steps\n"
        "return operations / (gpus * tflops * 1e12) / 3600",
    ),
    success=(
        "Now you know the price of a run before you begin it, and which of your wishes to give up if it is too "
        "high."
    ),
    atol=1e-6,
)
