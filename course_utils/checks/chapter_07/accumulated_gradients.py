"""07.4: the gradient of a large batch from those of small ones."""

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _step_gradients(gradients, sizes, accumulate):
    steps = []
    for first in range(0, len(gradients), accumulate):
        group = range(first, min(first + accumulate, len(gradients)))
        samples = sum(int(sizes[i]) for i in group)
        steps.append(sum(gradients[i].double() * (int(sizes[i]) / samples) for i in group))
    return torch.stack(steps)


def _cases() -> tuple[Case, ...]:
    def case(sizes, accumulate, seed):
        says = f"batches of {sizes} samples, accumulate = {accumulate}"
        return Case(says, (normal(seed, len(sizes), 3), torch.tensor(sizes), accumulate))

    return (
        case([8, 8, 8, 2], 4, 251),
        case([6, 2, 5, 1, 4], 2, 252),
        case([4, 4, 4, 4, 4, 4], 3, 253),
        case([5, 3, 4], 1, 254),
        case([7, 3], 5, 255),
        case([3, 1, 2, 6, 4, 2, 5], 3, 256),
    )


def _groups(count, accumulate):
    return [slice(i, i + accumulate) for i in range(0, count, accumulate)]


def _grouped(merge, groups=_groups):
    """The exercise with merge(gradients, sizes, accumulate) for each group, sizes in a column [n, 1]."""

    def wrong(gradients, sizes, accumulate):
        return torch.stack(
            [
                merge(gradients[group], sizes[group, None].float(), accumulate)
                for group in groups(len(gradients), accumulate)
            ]
        )

    return wrong


def _weighted_mean(gradients, sizes, accumulate):
    return (gradients * sizes).sum(0) / sizes.sum()


def _whole_groups(count, accumulate):
    return [group for group in _groups(count, accumulate) if group.stop <= count]


def _without_the_rest(gradients, sizes, accumulate):
    if not _whole_groups(len(gradients), accumulate):
        return gradients[:0]
    return _grouped(_weighted_mean, _whole_groups)(gradients, sizes, accumulate)


def _after_the_first(count, accumulate):
    """The batches before each step, where steps come when i % accumulate == 0."""
    return [slice(max(0, i - accumulate + 1), i + 1) for i in range(0, count, accumulate)]


def _after_the_first_and_at_the_end(count, accumulate):
    groups = _after_the_first(count, accumulate)
    rest = slice(groups[-1].stop, count)
    return [*groups, rest] if rest.start < count else groups


def _dealt_out(count, accumulate):
    steps = -(-count // accumulate)
    return [slice(i, None, steps) for i in range(steps)]


def _as_many_steps(count, accumulate):
    """About `accumulate` groups, as torch.chunk makes them."""
    return _groups(count, -(-count // accumulate))


def _since_the_last_step(count, accumulate):
    """One entry for each batch: what has been collected after it."""
    return [slice(i - i % accumulate, i + 1) for i in range(count)]


def _piled_up(gradients, sizes, accumulate):
    return _grouped(_weighted_mean)(gradients, sizes, accumulate).cumsum(0)


EXERCISE = Exercise(
    id="07.4",
    title="A large batch in small pieces",
    difficulty=2,
    minutes=10,
    reference=_step_gradients,
    returns=("step gradients",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "it is the mean of the batches' means",
            "Then a sample of a small batch counts more than one of a large batch. In one large batch all "
            "count the same: weight each gradient by its size.",
            _grouped(lambda g, n, a: g.mean(0)),
        ),
        Misconception(
            "the gradients of a step are only added up",
            "That is what backward() does by itself. The step would be about `accumulate` times as long: each "
            "batch must count by its share of the samples.",
            _grouped(lambda g, n, a: g.sum(0)),
        ),
        Misconception(
            "each step's sum is divided by accumulate, even where it has fewer batches",
            "The last step may have fewer, and sizes differ. Divide by what is there: weight by the share of "
            "the samples.",
            _grouped(lambda g, n, a: g.sum(0) / a),
        ),
        Misconception(
            "the gradients are divided by the samples, but were never multiplied by their sizes",
            "Each is the mean over its batch already. Times its size it is a sum over samples, and only sums "
            "may be added.",
            _grouped(lambda g, n, a: g.sum(0) / n.sum()),
        ),
        Misconception(
            "the sums over samples are not divided by their number",
            "Then the step grows with the batch. What is wanted is the gradient of the mean over all samples "
            "of the step.",
            _grouped(lambda g, n, a: (g * n).sum(0)),
        ),
        Misconception(
            "the sums over samples are divided by the number of batches",
            "Multiplied by its size, each gradient is a sum over samples: divide by how many samples there are "
            "in the step.",
            _grouped(lambda g, n, a: (g * n).mean(0)),
        ),
        Misconception(
            "the sums over samples are divided by the samples, and by the number of batches too",
            "Divided by the samples of the step, their sum is the mean already. Divided again, the step comes "
            "out several times too short.",
            _grouped(lambda g, n, a: (g * n).mean(0) / n.sum()),
        ),
        Misconception(
            "each step is divided by the samples of all steps",
            "Only the samples of its own batches take part in a step. The more steps there are, the shorter "
            "all of them would be.",
            lambda gradients, sizes, accumulate: (
                _grouped(lambda g, n, a: (g * n).sum(0))(gradients, sizes, accumulate) / sizes.sum()
            ),
        ),
        Misconception(
            "each gradient is divided by its size once more, and then they are averaged",
            "It is a mean already. Now small batches count most, and all steps come out far too short.",
            _grouped(lambda g, n, a: (g / n).mean(0)),
        ),
        Misconception(
            "all batches are taken to be as large as the first of the step",
            "The last batch of a data set often is smaller, and so is the last step: add up the sizes that "
            "are there.",
            _grouped(lambda g, n, a: (g * n).sum(0) / (a * n[0])),
        ),
        Misconception(
            "only the last batch of each step counts",
            "The others are forgotten, as with zero_grad() before every backward(). It belongs before the "
            "first batch of a step.",
            _grouped(lambda g, n, a: g[-1]),
        ),
        Misconception(
            "the gradients of earlier steps are still in it",
            "They pile up, as if zero_grad() had been forgotten. Each step begins from zero.",
            _piled_up,
        ),
        Misconception(
            "each step averages over all batches since the beginning",
            "A step uses its own `accumulate` batches. The earlier ones belong to weights that have changed "
            "since.",
            _grouped(
                _weighted_mean, lambda count, a: [slice(0, g.stop) for g in _groups(count, a)]
            ),
        ),
        Misconception(
            "the batches that are left over at the end make no step",
            "Their samples would never be learned from. The last step may have fewer batches than the others.",
            _without_the_rest,
        ),
        Misconception(
            "the batches that are left over at the end make no step, and if there are no others, all fails",
            "Their samples would never be learned from. The last step may have fewer batches than the others.",
            _grouped(_weighted_mean, _whole_groups),
        ),
        Misconception(
            "`accumulate` is taken for the number of steps",
            "It is the number of batches in a step; how many steps that makes depends on N. chunk(k) cuts into "
            "k pieces, split(k) into pieces of k.",
            _grouped(_weighted_mean, _as_many_steps),
        ),
        Misconception(
            "the first step comes after one batch alone, and the last batches make none",
            "i % accumulate == 0 is true for i = 0 already. A step is due when (i + 1) % accumulate == 0, and "
            "after the last batch.",
            _grouped(_weighted_mean, _after_the_first),
        ),
        Misconception(
            "the first step comes after one batch alone",
            "i % accumulate == 0 is true for i = 0 already. A step is due when (i + 1) % accumulate == 0, and "
            "after the last batch.",
            _grouped(_weighted_mean, _after_the_first_and_at_the_end),
        ),
        Misconception(
            "the batches are dealt out to the steps like cards",
            "They come one after another, and a step cannot wait for later ones: the first `accumulate` make "
            "step 0, the next ones step 1.",
            _grouped(_weighted_mean, _dealt_out),
        ),
        Misconception(
            "all batches make one step together",
            "`accumulate` of them make one step; then the next begins.",
            _grouped(_weighted_mean, lambda count, a: [slice(None)]),
        ),
        Misconception(
            "there is a row for each batch, with what has been collected so far",
            "The optimiser moves after `accumulate` batches only: keep the row that is complete.",
            _grouped(_weighted_mean, _since_the_last_step),
        ),
        Misconception(
            "accumulate is not used: each batch makes a step",
            "The first `accumulate` batches make step 0 together, the next ones step 1, and so on.",
            lambda gradients, sizes, accumulate: gradients,
        ),
    ),
    hints=(
        "The gradient of a mean over 8 samples, times 8, is the gradient of their sum. Sums may be added.",
        "For the batches of one step: add up gradient times size, and divide by the sum of the sizes. The "
        "last step takes what is left.",
        "for i in range(0, len(gradients), accumulate): g, n = gradients[i : i + accumulate], "
        "sizes[i : i + accumulate, None]; append (g * n).sum(0) / n.sum(); at the end torch.stack them.",
    ),
    success=(
        "A batch too large for the memory, made of small ones, has the very same gradient, as long as no layer "
        "mixes the samples of a batch. Group norm does not; batch norm does."
    ),
)
