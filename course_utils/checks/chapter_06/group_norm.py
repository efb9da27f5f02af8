"""06.3: group norm, by hand."""

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _group_norm(x, groups, weight, bias, eps):
    """Group by group, in double precision."""
    size = x.shape[1] // groups
    out = torch.empty(x.shape, dtype=torch.float64)
    for image, result in zip(x.double(), out, strict=True):
        for first in range(0, x.shape[1], size):
            group = image[first : first + size]
            deviation = (group.var(correction=0) + eps) ** 0.5
            result[first : first + size] = (group - group.mean()) / deviation
    return out * weight[:, None, None] + bias[:, None, None]


def _cases() -> tuple[Case, ...]:
    def affine(seed, channels):
        return 1 + normal(seed, channels) / 2, normal(seed + 1, channels)

    def case(shape, groups, eps, seed, x=None):
        says = f"x of shape {list(shape)}, groups = {groups}, eps = {eps}"
        if x is None:
            scale = 1 + normal(seed + 2, 1, shape[1], 1, 1).abs()  # each channel its own
            x = scale * normal(seed + 3, *shape) + normal(seed + 4, 1, shape[1], 1, 1)
        else:
            says += ", all its numbers the same"
        return Case(says, (x, groups, *affine(seed, shape[1]), eps))

    return (
        case(
            (3, 4, 2, 4), 2, 0.5, 61
        ),  # as wide as it has channels, so that the wrong axis fits too
        case((2, 6, 3, 3), 2, 1e-5, 71),
        case((2, 8, 4, 2), 4, 1e-6, 81),
        case((1, 6, 2, 5), 3, 0.1, 91),
        case((1, 4, 2, 2), 2, 1e-6, 101, x=torch.full((1, 4, 2, 2), 0.5)),
    )


def _grouped(x, groups):
    """[B, C, H, W] → [B, groups, C / groups, H, W]"""
    return x.unflatten(1, (groups, -1))


def _per_channel(numbers):
    return numbers[:, None, None]


def _statistics(x, groups):
    grouped = _grouped(x, groups)
    return grouped.mean((2, 3, 4), keepdim=True), grouped.var((2, 3, 4), correction=0, keepdim=True)


def _with(
    over=(2, 3, 4),
    divisor=lambda variance, eps: (variance + eps).sqrt(),
    centred=True,
    correction=0,
    affine=lambda x, weight, bias: x * _per_channel(weight) + _per_channel(bias),
    grouped=_grouped,
    count=lambda groups, channels: groups,
):
    """The exercise with something else in one place.

    Args:
        over: the axes of [B, groups, C / groups, H, W] that the statistics run over.
        divisor: from the variance and eps.
        centred: whether the mean is taken off.
        correction: 1 for the variance that divides by n − 1.
        affine: what weight and bias do.
        grouped: how the channels form groups.
        count: the number of groups, from `groups` and the number of channels.
    """

    def wrong(x, groups, weight, bias, eps):
        g = grouped(x, count(groups, x.shape[1]))
        mean = g.mean(over, keepdim=True) if centred else 0
        variance = g.var(over, correction=correction, keepdim=True)
        return affine(((g - mean) / divisor(variance, eps)).reshape(x.shape), weight, bias)

    return wrong


def _interleaved(x, groups, weight, bias, eps):
    """Channel c belongs to group c % groups."""
    g = x.unflatten(1, (-1, groups))
    mean, variance = (
        g.mean((1, 3, 4), keepdim=True),
        g.var((1, 3, 4), correction=0, keepdim=True),
    )
    g = (g - mean) / (variance + eps).sqrt()
    return g.reshape(x.shape) * _per_channel(weight) + _per_channel(bias)


def _affine_first(x, groups, weight, bias, eps):
    x = x * _per_channel(weight) + _per_channel(bias)
    return _with()(x, groups, torch.ones_like(weight), torch.zeros_like(bias), eps)


def _one_weight_a_group(x, groups, weight, bias, eps):
    def spread(numbers):
        return numbers[:groups].repeat_interleave(len(numbers) // groups)

    return _with()(x, groups, spread(weight), spread(bias), eps)


EXERCISE = Exercise(
    id="06.3",
    title="Group norm by hand",
    difficulty=2,
    minutes=10,
    reference=_group_norm,
    returns=("normed",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "each channel is normalised by itself",
            "That is instance norm. It also wipes out how strong a channel is beside the others; a group of channels "
            "shares one mean and one variance.",
            _with(over=(3, 4)),
        ),
        Misconception(
            "all channels are normalised together",
            "That is a single group. Here the channels form `groups` groups, each with a mean and a variance of its "
            "own.",
            _with(over=(1, 2, 3, 4)),
        ),
        Misconception(
            "each pixel is normalised by itself",
            "Mean and variance run over the group's channels and over all its pixels: height and width, too.",
            _with(over=(2,)),
        ),
        Misconception(
            "mean and variance run over the batch as well",
            "Then an image's result depends on its neighbours in the batch. Each image is normalised by itself, "
            "so that the network answers alike for one image and for many.",
            _with(over=(0, 2, 3, 4)),
        ),
        Misconception(
            "each channel is normalised over the batch",
            "That is batch norm: an image's result depends on its neighbours in the batch. Here the statistics stay "
            "inside one image, and are shared by a group of channels.",
            _with(over=(0, 3, 4)),
        ),
        Misconception(
            "the variance divides by n−1 instead of n",
            "torch.var does that unless told correction=0. The norm takes the plain mean of the squares; trained "
            "weights expect it.",
            _with(correction=1),
        ),
        Misconception(
            "eps is missing",
            "In a group whose numbers are all the same, the variance is 0, and 0/0 is NaN. eps keeps the root "
            "away from 0.",
            _with(divisor=lambda variance, eps: variance.sqrt()),
        ),
        Misconception(
            "eps is a fixed small number instead of the argument",
            "Each network has its own, and yours is told which: use eps.",
            _with(divisor=lambda variance, eps: (variance + 1e-5).sqrt()),
        ),
        Misconception(
            "eps is added to the deviation instead of the variance",
            "It belongs under the root: √(variance + eps).",
            _with(divisor=lambda variance, eps: variance.sqrt() + eps),
        ),
        Misconception(
            "the divisor is torch's std plus eps",
            "Two things at once: torch.std divides by n−1 unless told correction=0, and eps belongs under the root, "
            "added to the variance.",
            _with(correction=1, divisor=lambda variance, eps: variance.sqrt() + eps),
        ),
        Misconception(
            "the root is missing: it is divided by the variance",
            "Numbers twice as large have a variance four times as large. Only the deviation, the root, "
            "brings them to size 1.",
            _with(divisor=lambda variance, eps: variance + eps),
        ),
        Misconception(
            "the mean is not taken off",
            "Scaling alone leaves the numbers far from 0, where they were. First subtract the group's mean.",
            _with(centred=False),
        ),
        Misconception(
            "nothing is divided",
            "The mean is off, but the numbers keep their size. Divide by √(variance + eps).",
            _with(divisor=lambda variance, eps: torch.ones_like(variance)),
        ),
        Misconception(
            "weight and bias are left out",
            "After the norm each channel gets a size and a place of its own, which the network learned.",
            _with(affine=lambda x, weight, bias: x),
        ),
        Misconception(
            "the bias is left out",
            "After the factor `weight`, each channel is moved by its `bias`.",
            _with(affine=lambda x, weight, bias: x * _per_channel(weight)),
        ),
        Misconception(
            "the weight is left out",
            "Before `bias` is added, each channel is multiplied by its `weight`.",
            _with(affine=lambda x, weight, bias: x + _per_channel(bias)),
        ),
        Misconception(
            "weight and bias have changed places",
            "`weight` multiplies, `bias` is added.",
            _with(affine=lambda x, weight, bias: x * _per_channel(bias) + _per_channel(weight)),
        ),
        Misconception(
            "the bias is added before the weight multiplies",
            "Then the weight changes the bias too. First multiply, then add.",
            _with(affine=lambda x, weight, bias: (x + _per_channel(bias)) * _per_channel(weight)),
        ),
        Misconception(
            "weight and bias come before the norm",
            "The norm would undo a part of them. They act on what it has made.",
            _affine_first,
        ),
        Misconception(
            "weight and bias run along the columns instead of the channels",
            "Broadcasting lines shapes up from the right, so [C] meets the columns of [B, C, H, W]. Write "
            "weight[:, None, None].",
            _with(affine=lambda x, weight, bias: x * weight + bias),
        ),
        Misconception(
            "there is one weight and one bias for each group",
            "The statistics are shared by a group, weight and bias are not: each channel has its own.",
            _one_weight_a_group,
        ),
        Misconception(
            "each group takes every groups-th channel instead of neighbouring ones",
            "Group 0 holds the channels 0 … C/groups − 1, and so on: reshape to [B, groups, C/groups, H, W], in "
            "this order.",
            _interleaved,
        ),
        Misconception(
            "groups is taken for the number of channels in a group",
            "There are `groups` groups, of C/groups channels each.",
            _with(count=lambda groups, channels: channels // groups),
        ),
        Misconception(
            "the result still stands in groups",
            "Reshape back to the shape of x before weight and bias come in.",
            lambda x, groups, weight, bias, eps: (
                (_grouped(x, groups) - _statistics(x, groups)[0])
                / (_statistics(x, groups)[1] + eps).sqrt()
            ),
        ),
    ),
    hints=(
        "Give the groups an axis of their own; then mean and variance run over all axes but the batch and that one.",
        "x.reshape(B, groups, -1) has everything of one group in its last axis. Ask for keepdim=True, and for "
        "var(..., correction=0).",
        "g = x.reshape(len(x), groups, -1); g = (g - g.mean(-1, keepdim=True)) / (g.var(-1, correction=0, "
        "keepdim=True) + eps).sqrt(); return g.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]",
    ),
    success=(
        "Mean and variance run over all of H and W, over a part of C, and never over B: that is why a network with "
        "group norm draws one butterfly as it draws it among a hundred."
    ),
)
