"""10.4: the share that one of several processes has in a batch, and in the loss."""

import math

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _share(losses, process, processes, combine):
    bounds = torch.arange(processes + 1) * len(losses) // processes
    first, stop = bounds[process].item(), bounds[process + 1].item()
    factor = processes if combine == "mean" else 1
    return first, stop, sum(losses[first:stop].tolist()) * factor / len(losses)


def _cases() -> tuple[Case, ...]:
    def case(B, process, processes, combine, seed):
        losses = torch.rand(B, generator=torch.Generator().manual_seed(seed)) + 0.5
        says = f"{B} losses, process {process} of {processes}, gradients combined by {combine}"
        return Case(says, (losses, process, processes, combine))

    return (
        case(8, 1, 4, "sum", 501),
        case(8, 1, 4, "mean", 502),
        case(10, 0, 4, "sum", 503),
        case(10, 1, 4, "mean", 504),
        case(10, 3, 4, "sum", 505),
        case(7, 2, 3, "mean", 506),
        case(13, 3, 5, "sum", 507),
        case(6, 0, 1, "mean", 508),
    )


def _loss(part, B, processes, combine):
    return part.sum() / B * (processes if combine == "mean" else 1)


def _cut(bounds, loss=_loss):
    """The exercise with bounds(B, process, processes) as first and stop, and loss of what lies between."""

    def wrong(losses, process, processes, combine):
        first, stop = bounds(len(losses), process, processes)
        return first, stop, loss(losses[first:stop], len(losses), processes, combine)

    return wrong


def _bounds(B, p, P):
    return B * p // P, B * (p + 1) // P


def _told(tell):
    """The right share, told as tell(first, stop)."""

    def wrong(losses, process, processes, combine):
        first, stop, loss = _share(losses, process, processes, combine)
        return *tell(first, stop), loss

    return wrong


def _weighed(loss):
    return _cut(_bounds, loss)


def _rest_to_the_last(B, p, P):
    return p * (B // P), B if p == P - 1 else (p + 1) * (B // P)


def _larger_ones_first(B, p, P):
    n, more = divmod(B, P)
    first = p * n + min(p, more)
    return first, first + n + (p < more)


def _as_many_as_fit(B, p, P):
    n = math.ceil(B / P)
    return min(B, p * n), min(B, (p + 1) * n)


EXERCISE = Exercise(
    id="10.4",
    title="A share of the batch",
    difficulty=2,
    minutes=10,
    reference=_share,
    returns=("first", "stop", "loss"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "each process's own mean counts the same",
            "With unequal shares, an image in a small one counts more than one in a large one. All images of "
            "the batch are to count the same.",
            _weighed(lambda part, B, P, combine: part.mean() / (1 if combine == "mean" else P)),
        ),
        Misconception(
            "it is the mean over its own share, however the gradients are combined",
            "Where they are added up, the gradient comes out as many times too long as there are processes; and "
            "unequal shares count unequally.",
            _weighed(lambda part, B, P, combine: part.mean()),
        ),
        Misconception(
            "it is the sum over the batch's size, however the gradients are combined",
            "That is right where they are added up. Where they are averaged, somebody divides by the number of "
            "processes: multiply by it beforehand.",
            _weighed(lambda part, B, P, combine: part.sum() / B),
        ),
        Misconception(
            "it is multiplied by the number of processes, however the gradients are combined",
            "That is right where they are averaged. Where they are added up, nobody divides, and the "
            "gradient is that many times too long.",
            _weighed(lambda part, B, P, combine: part.sum() / B * P),
        ),
        Misconception(
            "sum and mean have changed places",
            "Where the gradients are averaged, somebody divides by the number of processes, and you make up "
            "for that. Where they are added up, there is nothing to make up for.",
            _weighed(lambda part, B, P, combine: part.sum() / B * (P if combine == "sum" else 1)),
        ),
        Misconception(
            "what is averaged is divided by the number of processes once more",
            "The averaging divides already. Multiply, to make up for it.",
            _weighed(lambda part, B, P, combine: part.sum() / B / (P if combine == "mean" else 1)),
        ),
        Misconception(
            "the losses are added up, and divided by nothing",
            "Then the gradient grows with the batch. Each image counts 1/B.",
            _weighed(lambda part, B, P, combine: part.sum() * (P if combine == "mean" else 1)),
        ),
        Misconception(
            "the losses are added up, however the gradients are combined",
            "Then the gradient grows with the batch. Each image counts 1/B, once the gradients are combined.",
            _weighed(lambda part, B, P, combine: part.sum()),
        ),
        Misconception(
            "the loss of the whole batch is used",
            "Every process would compute everything. Each adds only what its own images are to count.",
            lambda losses, p, P, combine: (*_bounds(len(losses), p, P), losses.mean()),
        ),
        Misconception(
            "the rest of the division is left out",
            "B // P images each leaves up to P − 1 images that nobody looks at, in every batch.",
            _cut(lambda B, p, P: (p * (B // P), (p + 1) * (B // P))),
        ),
        Misconception(
            "the last process has the whole rest",
            "It may have nearly twice as many images as the others, who then wait for it in every step.",
            _cut(_rest_to_the_last),
        ),
        Misconception(
            "the larger shares come first",
            "That would be as good, but here share p begins at ⌊p B / P⌋, as in the library. What matters is "
            "that all processes agree.",
            _cut(_larger_ones_first),
        ),
        Misconception(
            "each takes as many as fit, and the last one what is left",
            "With ⌈B/P⌉ images each, little is left for the last process, or nothing, and in every step it waits "
            "for the others.",
            _cut(_as_many_as_fit),
        ),
        Misconception(
            "the bounds are rounded to the nearest whole number",
            "That would be as good if everybody did it, but here they are rounded down.",
            _cut(lambda B, p, P: (round(B * p / P), round(B * (p + 1) / P))),
        ),
        Misconception(
            "the bounds are rounded up",
            "That would be as good if everybody did it, but here they are rounded down.",
            _cut(lambda B, p, P: (math.ceil(B * p / P), math.ceil(B * (p + 1) / P))),
        ),
        Misconception(
            "the processes are counted from 1",
            "Process 0 has the first images. As it is, nobody looks at them, and the last process has none.",
            _cut(lambda B, p, P: (B * (p - 1) // P, B * p // P)),
        ),
        Misconception(
            "stop is the last image of the share",
            "As in every Python slice, stop is the first that no longer belongs to it.",
            _told(lambda first, stop: (first, stop - 1)),
        ),
        Misconception(
            "stop is the number of images in the share",
            "It is a place in the batch, like first: losses[first:stop] is the share.",
            _told(lambda first, stop: (first, stop - first)),
        ),
        Misconception(
            "the share begins one too late",
            "Share p begins where share p−1 stops, and stop does not belong to that any more.",
            _cut(lambda B, p, P: (B * p // P + 1, B * (p + 1) // P)),
        ),
    ),
    hints=(
        "Every image of the batch counts 1/B in the mean loss of the batch, whoever looks at it. What does the "
        "averaging do to that, and how do you make up for it?",
        "The share is losses[first:stop] with first = p · B // P and stop = (p + 1) · B // P. Its sum, divided "
        "by B, is what it counts; times P where the gradients are averaged.",
        "B = len(losses)\n"
        "first, stop = process * B // processes, (process + 1) * B // processes\n"
        "loss = losses[first:stop].sum() / B\n"
        'return first, stop, loss * processes if combine == "mean" else loss',
    ),
    success=(
        "The processes' gradients now make up that of the whole batch, whatever their number and however the "
        "images are dealt out."
    ),
    atol=1e-6,
)
