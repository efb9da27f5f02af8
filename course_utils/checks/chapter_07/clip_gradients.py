"""07.3: clipping gradients by their common length."""

import math

import torch

from course_utils.checks.chapter_07.material import THREE, three_tensors, weight_and_bias
from course_utils.checks.exercise import Case, Exercise, Misconception


def _clip(gradients, max_norm):
    length = math.hypot(*(number for g in gradients for number in g.flatten().tolist()))
    return [g * (max_norm / length if length > max_norm else 1.0) for g in gradients]


def _cases() -> tuple[Case, ...]:
    def case(says, gradients, max_norm):
        return Case(
            f"a weight [3, 2] and a bias [3] {says}, max_norm = {max_norm}", (gradients, max_norm)
        )

    def scaled(tensors, *lengths):
        return [g * (length / g.norm()) for g, length in zip(tensors, lengths, strict=True)]

    def of_lengths(seed, weight, bias):
        return scaled(weight_and_bias(seed), weight, bias)

    whole = [torch.tensor([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]]), torch.tensor([0.0, 12.0, 0.0])]
    return (
        case("with the numbers 3, −4 and 12 among zeros", whole, 1.0),
        case("of lengths 3 and 4", of_lengths(231, 3.0, 4.0), 2.0),
        Case(
            "a weight [3, 2], a bias [3] and a second weight [1, 3] of lengths 6, 2 and 3, max_norm = 3.5",
            (scaled(three_tensors(241), 6.0, 2.0, 3.0), 3.5),
            returns=THREE,
        ),
        case("of lengths 1.6 and 1.2, each short but not both", of_lengths(233, 1.6, 1.2), 1.8),
        case("of lengths 0.3 and 0.4", of_lengths(235, 0.3, 0.4), 2.0),
        case("of lengths 0.9 and 1.2", of_lengths(237, 0.9, 1.2), 1.8),
        case("of lengths 0.3 and 0.4", of_lengths(239, 0.3, 0.4), 0.4),
        case("that are zero", [torch.zeros(3, 2), torch.zeros(3)], 1.0),
    )


def _all(gradients):
    return torch.cat([g.flatten() for g in gradients])


def _length(gradients):
    return _all(gradients).norm()


def _measured(length_of):
    """The exercise with length_of(gradients) in place of their length."""

    def wrong(gradients, max_norm):
        length = length_of(gradients)
        return [g * (max_norm / length) if length > max_norm else g for g in gradients]

    return wrong


def _when_too_long(become):
    """The exercise with become(g, length, max_norm) for each tensor where they are too long."""

    def wrong(gradients, max_norm):
        length = _length(gradients)
        return [become(g, length, max_norm) if length > max_norm else g for g in gradients]

    return wrong


def _each(become):
    """The exercise with become(g, length, max_norm) for each tensor."""

    def wrong(gradients, max_norm):
        return [become(g, _length(gradients), max_norm) for g in gradients]

    return wrong


EXERCISE = Exercise(
    id="07.3",
    title="One limit for the whole step",
    difficulty=2,
    minutes=10,
    reference=_clip,
    returns=("weight", "bias"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "each tensor is clipped by itself",
            "That shortens the long ones more than the others, so the step points elsewhere. One length over "
            "all tensors, one factor for all.",
            _each(lambda g, length, limit: g * (limit / g.norm()) if g.norm() > limit else g),
        ),
        Misconception(
            "each number is cut off at ±max_norm",
            "Clipping by value bends the step towards the diagonal. Scaling all numbers alike keeps its "
            "direction.",
            _each(lambda g, length, limit: g.clamp(-limit, limit)),
        ),
        Misconception(
            "short gradients are scaled up",
            "max_norm is a limit, not a target. Small gradients say that the minimum is near; stretched, they "
            "overshoot it, and zeros become 0/0.",
            _each(lambda g, length, limit: g * (limit / length)),
        ),
        Misconception(
            "short gradients are scaled up, all but those that are zero",
            "A tiny number under the fraction only keeps 0/0 away. max_norm is a limit, not a target: the "
            "factor is at most 1.",
            _each(lambda g, length, limit: g * (limit / (length + 1e-8))),
        ),
        Misconception(
            "the square root is missing in the length",
            "The sum of the squares is the length squared. Take its root before you compare and divide.",
            _measured(lambda gradients: _all(gradients).square().sum()),
        ),
        Misconception(
            "the squared length is compared with max_norm",
            "Below 1 a square is smaller than its root, above 1 it is larger: compare the length itself, the "
            "one that you divide by.",
            _each(lambda g, length, limit: g * (limit / length) if length**2 > limit else g),
        ),
        Misconception(
            "the lengths of the tensors are added",
            "Lengths add like the sides of a right-angled triangle: root of the sum of the squares, over all "
            "numbers of all tensors.",
            _measured(lambda gradients: sum(g.norm() for g in gradients)),
        ),
        Misconception(
            "the lengths of the tensors are not squared before they are added up under the root",
            "√(a² + b²) is the length of two tensors with the lengths a and b; √(a + b) is not.",
            _measured(lambda gradients: sum(g.norm() for g in gradients).sqrt()),
        ),
        Misconception(
            "the root of the mean square is taken for the length",
            "A length is the root of the sum. With the mean, the limit would grow with the size of the network.",
            _measured(lambda gradients: _all(gradients).square().mean().sqrt()),
        ),
        Misconception(
            "the absolute values are summed to get the length",
            "That is another norm, and larger for the same step. The length is the root of the sum of squares.",
            _measured(lambda gradients: _all(gradients).abs().sum()),
        ),
        Misconception(
            "the largest number is taken for the length",
            "A million small numbers can be a long step together. All of them count: root of the sum of squares.",
            _measured(lambda gradients: _all(gradients).abs().max()),
        ),
        Misconception(
            "the length of the first tensor stands for all",
            "Go through all tensors before you compare: each adds its squares.",
            _measured(lambda gradients: gradients[0].norm()),
        ),
        Misconception(
            "the length of the last tensor stands for all",
            "A loop that writes its sum anew each time keeps the last one only. Each tensor adds its squares.",
            _measured(lambda gradients: gradients[-1].norm()),
        ),
        Misconception(
            "the length of the longest tensor stands for all",
            "The others make the step longer still: the length of all of them together is the root of the sum "
            "of all squares.",
            _measured(lambda gradients: max(g.norm() for g in gradients)),
        ),
        Misconception(
            "only the first two tensors count for the length",
            "A network has as many as it likes. Go through the whole list: each tensor adds its squares.",
            _measured(lambda gradients: _length(gradients[:2])),
        ),
        Misconception(
            "long gradients are scaled to length 1",
            "They are to be as long as allowed: max_norm. Multiply by max_norm / length, not by 1 / length.",
            _when_too_long(lambda g, length, limit: g / length),
        ),
        Misconception(
            "long gradients are divided by max_norm",
            "Then a gradient twice as long comes out twice as long. The factor is max_norm / length.",
            _when_too_long(lambda g, length, limit: g / limit),
        ),
        Misconception(
            "the factor is upside down",
            "length / max_norm is above 1 when the gradients are too long, so they grow. It is max_norm / length.",
            _when_too_long(lambda g, length, limit: g * (length / limit)),
        ),
        Misconception(
            "long gradients stay, and short ones are shortened further",
            "min(1, length / max_norm) is the fraction upside down: 1 where the limit is passed, small below it.",
            _each(lambda g, length, limit: g * min(1, length / limit)),
        ),
        Misconception(
            "long gradients are dropped",
            "A step that is too long still points downhill. Shorten it to max_norm instead of leaving it out.",
            _when_too_long(lambda g, length, limit: torch.zeros_like(g)),
        ),
        Misconception(
            "nothing is clipped",
            "Where the length of all gradients together is above max_norm, each is multiplied by "
            "max_norm / length.",
            _each(lambda g, length, limit: g),
        ),
    ),
    hints=(
        "Imagine all numbers of all gradients in one long vector. How long is it?",
        "The length is the root of the sum of the squares of all numbers. Every tensor is multiplied by "
        "max_norm / length, but only if that is below 1.",
        "length = sum((g**2).sum() for g in gradients) ** 0.5; scale = max_norm / length if length > max_norm "
        "else 1.0; return [g * scale for g in gradients]",
    ),
    success=(
        "The direction of the step is what it was; only its length is limited. "
        "torch.nn.utils.clip_grad_norm_ does the same, in place."
    ),
)
