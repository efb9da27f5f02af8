"""09.4: the way from one noise to another that stays among noises."""

import math

import torch

from course_utils.checks.chapter_05.material import points
from course_utils.checks.exercise import Case, Exercise, Misconception


def _slerp(a, b, u):
    """Image by image, number by number."""
    mixed = []
    for x, y in zip(a.flatten(1).tolist(), b.flatten(1).tolist(), strict=True):
        product = math.fsum(p * q for p, q in zip(x, y, strict=True))
        angle = math.acos(product / (math.hypot(*x) * math.hypot(*y)))
        of_a, of_b = math.sin((1 - u) * angle), math.sin(u * angle)
        mixed.append([(of_a * p + of_b * q) / math.sin(angle) for p, q in zip(x, y, strict=True)])
    return torch.tensor(mixed, dtype=torch.float64).reshape(a.shape)


def _cases() -> tuple[Case, ...]:
    def case(says, u, seed, *shape, alike=0.0, scale=1.0):
        a, fresh = points(seed, *shape), points(seed + 1, *shape)
        b = scale * (alike * a + math.sqrt(1 - alike**2) * fresh)
        return Case(f"a and b of shape {list(shape)}{says}, u = {u}", (a, b, u))

    return (
        case("", 0.3, 61, 3, 2, 4, 5),
        case(", much alike", 0.75, 63, 2, 3, 4, 4, alike=0.8),
        case(", nearly opposite, b twice as long", 0.4, 65, 4, 2, 3, 3, alike=-0.7, scale=2.0),
        case("", 0.0, 67, 2, 3, 4, 4),
        case("", 0.5, 69, 1, 3, 2, 4),
    )


def _sum(x, dims=(1, 2, 3)):
    return x.sum(dims, keepdim=True)


def _cosine(a, b, dims=(1, 2, 3)):
    return _sum(a * b, dims) / (_sum(a * a, dims) * _sum(b * b, dims)).sqrt()


def _on_the_arc(a, b, u, angle):
    return (((1 - u) * angle).sin() * a + (u * angle).sin() * b) / angle.sin()


def _with_cosine(cosine):
    """The exercise with another cosine of the angle, from (a, b); whatever is beyond ±1 gives NaN."""
    return lambda a, b, u: _on_the_arc(a, b, u, cosine(a, b).acos())


def _over(*dims):
    return _with_cosine(lambda a, b: _cosine(a, b, dims))


def _built(mixed):
    """The exercise with another mix, from (a, b, u, angle)."""
    return lambda a, b, u: mixed(a, b, u, _cosine(a, b).acos())


def _line(a, b, u):
    return (1 - u) * a + u * b


def _length(x):
    return _sum(x * x).sqrt()


EXERCISE = Exercise(
    id="09.4",
    title="From one noise to another",
    difficulty=2,
    minutes=10,
    reference=_slerp,
    returns=("mixed",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "it is the straight line from a to b",
            "Half way the line has only half the variance of noise: the model has never seen such an x_T, and its "
            "images lose their detail.",
            _line,
        ),
        Misconception(
            "it is the straight line, stretched to the right length",
            "That lies on the arc, but not where it should: equal steps on the line are unequal steps on the arc.",
            lambda a, b, u: (
                _line(a, b, u) / _length(_line(a, b, u)) * ((1 - u) * _length(a) + u * _length(b))
            ),
        ),
        Misconception(
            "it is the straight line, divided by √((1−u)² + u²)",
            "That has the right variance if a and b are at right angles and of one length. But equal steps on the "
            "line are unequal steps on the arc.",
            lambda a, b, u: _line(a, b, u) / math.hypot(1 - u, u),
        ),
        Misconception(
            "u and 1−u have changed places",
            "At u = 0 the answer is a, so u goes with b.",
            lambda a, b, u: _slerp(a, b, 1 - u),
        ),
        Misconception(
            "one angle is taken for the whole batch",
            "Each pair of images has an angle of its own: sum over the channels, rows and columns of one image.",
            _over(0, 1, 2, 3),
        ),
        Misconception(
            "each pixel has its own angle, over its channels",
            "An image of noise is one arrow with as many coordinates as it has numbers. cosine_similarity takes "
            "axis 1 alone unless the images are flattened first.",
            _over(1),
        ),
        Misconception(
            "each row of pixels has its own angle",
            "An image of noise is one arrow with as many coordinates as it has numbers: sum over all axes but the "
            "first.",
            _over(3),
        ),
        Misconception(
            "each channel has its own angle",
            "An image of noise is one arrow with as many coordinates as it has numbers: channels, rows and "
            "columns together.",
            _over(2, 3),
        ),
        Misconception(
            "the scalar product is not divided by the lengths",
            "⟨a, b⟩ = |a| |b| cos θ. Without the division it is far beyond ±1, where no angle has that cosine.",
            _with_cosine(lambda a, b: _sum(a * b)),
        ),
        Misconception(
            "the scalar product is divided by the number of pixels instead of the lengths",
            "The length of noise is near the root of that number, but only near. Divide by |a| |b|.",
            _with_cosine(lambda a, b: (a * b).mean((1, 2, 3), keepdim=True)),
        ),
        Misconception(
            "the scalar product is divided by |a|² instead of |a| |b|",
            "a and b need not be of the same length, and noises never are quite.",
            _with_cosine(lambda a, b: _sum(a * b) / _sum(a * a)),
        ),
        Misconception(
            "the scalar product is divided by the squares of the lengths",
            "⟨a, b⟩ = |a| |b| cos θ, with the lengths themselves: the roots of the sums of squares.",
            _with_cosine(lambda a, b: _sum(a * b) / (_sum(a * a) * _sum(b * b))),
        ),
        Misconception(
            "the cosine of the angle is taken for the angle",
            "θ itself is needed: acos of the cosine.",
            lambda a, b, u: _on_the_arc(a, b, u, _cosine(a, b)),
        ),
        Misconception(
            "the angle is taken to be a right one",
            "Two noises are nearly at right angles, because they are independent and have many pixels, but not "
            "quite; measure the angle.",
            lambda a, b, u: math.cos(u * math.pi / 2) * a + math.sin(u * math.pi / 2) * b,
        ),
        Misconception(
            "the weights are √(1−u) and √u",
            "That keeps the variance if a and b are at right angles, but the steps along the arc are not equal, and "
            "the angle is not exactly a right one.",
            lambda a, b, u: math.sqrt(1 - u) * a + math.sqrt(u) * b,
        ),
        Misconception(
            "the division by sin θ is missing",
            "At u = 0 the weight of a is sin θ / sin θ = 1. Without the division the answer is too short.",
            _built(lambda a, b, u, angle: ((1 - u) * angle).sin() * a + (u * angle).sin() * b),
        ),
        Misconception(
            "the division is by θ, not by sin θ",
            "Only for small angles are the two alike, and noises are nearly at right angles.",
            _built(
                lambda a, b, u, angle: (((1 - u) * angle).sin() * a + (u * angle).sin() * b) / angle
            ),
        ),
        Misconception(
            "cosines stand where the sines belong",
            "The weight of b must be 0 at u = 0, and so is sin(0).",
            _built(
                lambda a, b, u, angle: (
                    (((1 - u) * angle).cos() * a + (u * angle).cos() * b) / angle.sin()
                )
            ),
        ),
        Misconception(
            "the unit vectors are mixed, not a and b",
            "The angle is that of the unit vectors, but x_T must keep the length of noise: mix a and b themselves.",
            lambda a, b, u: _slerp(a / _length(a), b / _length(b), u),
        ),
    ),
    hints=(
        "First the angle, one number for each image: the sum over all its numbers of a·b, divided by both lengths, "
        "then acos.",
        "Keep the three summed axes with keepdim=True, so that the angle has shape [B, 1, 1, 1] and multiplies "
        "the images as it is. The length is the root of a sum of squares (.norm() takes at most two axes).",
        "d = (1, 2, 3); length = lambda x: (x * x).sum(d, keepdim=True).sqrt(); "
        "angle = ((a * b).sum(d, keepdim=True) / (length(a) * length(b))).acos(); "
        "return (((1 - u) * angle).sin() * a + (u * angle).sin() * b) / angle.sin()",
    ),
    success=(
        "Between two noises of one length every place on the arc has that length, too: to the model it is noise "
        "like any other."
    ),
)
