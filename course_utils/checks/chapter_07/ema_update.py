"""07.2: one update of the average of the weights."""

import torch

from course_utils.checks.chapter_07.material import THREE, three_tensors, weight_and_bias
from course_utils.checks.exercise import Case, Exercise, Misconception


def _ema_update(average, weights, n, decay):
    d = min(decay, (1 + n) / (10 + n))
    return [torch.lerp(ours, theirs, 1 - d) for ours, theirs in zip(average, weights, strict=True)]


def _cases() -> tuple[Case, ...]:
    def case(says, seed, n, decay):
        says = f"a weight [3, 2] and a bias [3], n = {n}, decay = {decay}{says}"
        return Case(says, (weight_and_bias(seed), weight_and_bias(seed + 2), n, decay))

    return (
        case(", the first update", 201, 0, 0.95),
        case("", 205, 4, 0.95),
        Case(
            "a weight [3, 2], a bias [3] and a second weight [1, 3], n = 6, decay = 0.9",
            (three_tensors(221), three_tensors(224), 6, 0.9),
            returns=THREE,
        ),
        case(", long after the warm-up", 209, 3000, 0.95),
        case(", long after the warm-up", 213, 40, 0.6),
        case(", which is below 1/10", 217, 0, 0.05),
    )


def _warm(n, decay):
    return min(decay, (1 + n) / (10 + n))


def _mixed(mix):
    """The exercise with mix(average, weights, n, decay) as each tensor of the answer."""

    def wrong(average, weights, n, decay):
        return [mix(a, w, n, decay) for a, w in zip(average, weights, strict=True)]

    return wrong


def _decayed(d_of):
    """The exercise with d_of(n, decay) in place of d."""

    def mix(a, w, n, decay):
        d = d_of(n, decay)
        return d * a + (1 - d) * w

    return _mixed(mix)


def _weights_of(kept, taken):
    """The exercise with kept(d) times the average plus taken(d) times the weights."""

    def mix(a, w, n, decay):
        d = _warm(n, decay)
        return kept(d) * a + taken(d) * w

    return _mixed(mix)


def _first_tensor_alone(second):
    """The exercise done right for the first tensor, with second(average, weights) for the others."""

    def wrong(average, weights, n, decay):
        first, *_ = _ema_update(average, weights, n, decay)
        return [first, *map(second, average[1:], weights[1:])]

    return wrong


_WAY_ROUND = (
    "d is close to 1 and belongs to the average, which has the long memory; the newest weights get the small "
    "1−d."
)

EXERCISE = Exercise(
    id="07.2",
    title="The average of the weights",
    difficulty=2,
    minutes=10,
    reference=_ema_update,
    returns=("weight", "bias"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "d and 1−d are the wrong way round",
            f"{_WAY_ROUND} As it is, the average forgets nearly everything at each update, once it is warm.",
            _weights_of(lambda d: 1 - d, lambda d: d),
        ),
        Misconception(
            "decay and 1−decay are the wrong way round, and the warm-up is missing",
            f"{_WAY_ROUND} And early on d is (1+n)/(10+n), the smaller of the two.",
            _decayed(lambda n, decay: 1 - decay),
        ),
        Misconception(
            "the decay is not warmed up",
            "With decay 0.999 more than a third of the average would still be the random start after 1000 "
            "updates. (1+n)/(10+n) keeps the memory short at first. (With its parentheses, that is: 1+n/10+n "
            "is always the larger one.)",
            _decayed(lambda n, decay: decay),
        ),
        Misconception(
            "the decay is never reached: (1+n)/(10+n) grows past it",
            "It comes ever closer to 1, so the memory would grow with the run. d is at most decay.",
            _decayed(lambda n, decay: (1 + n) / (10 + n)),
        ),
        Misconception(
            "the larger of decay and (1+n)/(10+n) is taken",
            "Then decay holds from the first update on, and later even less is forgotten. It is the smaller "
            "one: min, not max.",
            _decayed(lambda n, decay: max(decay, (1 + n) / (10 + n))),
        ),
        Misconception(
            "decay and (1+n)/(10+n) are multiplied",
            "They are two limits, and the smaller one holds. The product stays below both.",
            _decayed(lambda n, decay: decay * (1 + n) / (10 + n)),
        ),
        Misconception(
            "n is off by one: this update is counted already",
            "n is the number of updates before this one, so the first has n = 0 and d = 1/10.",
            _decayed(lambda n, decay: min(decay, (2 + n) / (11 + n))),
        ),
        Misconception(
            "n is off by one: d = n/(9+n)",
            "Then d = 0 at the first update, and the average becomes a mere copy. The fraction is "
            "(1+n)/(10+n).",
            _decayed(lambda n, decay: min(decay, n / (9 + n))),
        ),
        Misconception(
            "the 1 is missing in 1+n",
            "n/(10+n) is 0 at the first update, and the average becomes a mere copy. The fraction is "
            "(1+n)/(10+n).",
            _decayed(lambda n, decay: min(decay, n / (10 + n))),
        ),
        Misconception(
            "the average is multiplied by d, but the new weights by 1−decay",
            "The two factors must add up to 1, or the average shrinks while d is warmed up. Use the same d "
            "in both.",
            _mixed(lambda a, w, n, decay: _warm(n, decay) * a + (1 - decay) * w),
        ),
        Misconception(
            "the parentheses around 10+n are missing",
            "Python divides before it adds: (1 + n) / 10 + n is above 1 from the second update on. Write "
            "(1 + n) / (10 + n).",
            _decayed(lambda n, decay: min(decay, (1 + n) / 10 + n)),
        ),
        Misconception(
            "the new weights are added without the factor 1−d",
            "The two factors must add up to 1. Otherwise the average grows to several times the weights.",
            _weights_of(lambda d: d, lambda d: 1),
        ),
        Misconception(
            "the average is not shrunk by d before the new weights come in",
            "The two factors must add up to 1. As it is, every update adds to the sum and nothing is ever "
            "forgotten.",
            _weights_of(lambda d: 1, lambda d: 1 - d),
        ),
        Misconception(
            "the average moves away from the weights, not towards them",
            "Written as a step it is average + (1−d)(weights − average). Here the difference has the wrong "
            "sign.",
            _weights_of(lambda d: 2 - d, lambda d: d - 1),
        ),
        Misconception(
            "it is the plain mean of all weights so far",
            "d = n/(1+n) never forgets: after a long run the bad weights of the beginning count as much as "
            "the best.",
            _decayed(lambda n, decay: n / (1 + n)),
        ),
        Misconception(
            "the result is divided by 1−decayⁿ⁺¹, as in Adam",
            "Adam's averages start from 0 and need that. Ours starts as a copy of the weights, and is warmed "
            "up instead.",
            _mixed(lambda a, w, n, decay: (decay * a + (1 - decay) * w) / (1 - decay ** (n + 1))),
        ),
        Misconception(
            "the average is returned as it was",
            "Each update lets in a little of the new weights: the part 1−d.",
            _mixed(lambda a, w, n, decay: a),
        ),
        Misconception(
            "the new weights are returned",
            "They count only 1−d. The average keeps the part d of itself.",
            _mixed(lambda a, w, n, decay: w),
        ),
        Misconception(
            "only the first tensor is averaged, and the rest stays as it was",
            "A network has many tensors: the bias is learned as well, so do the same with each of the list.",
            _first_tensor_alone(lambda ours, theirs: ours),
        ),
        Misconception(
            "only the first tensor is averaged, and the rest is the network's",
            "Averaged weights with the newest bias are two halves of different networks: do the same with "
            "each tensor.",
            _first_tensor_alone(lambda ours, theirs: theirs),
        ),
    ),
    hints=(
        "First find d, one number for all tensors. It is the smaller of two; which one is it at n = 0?",
        "d = min(decay, (1 + n) / (10 + n)). Then each tensor of the answer is d times the average's plus "
        "1 minus d times the network's.",
        "return [d * a + (1 - d) * w for a, w in zip(average, weights)]",
    ),
    success=(
        "Of the random start 37 % would be left after 1000 updates with d = 0.999 throughout; with the "
        "warm-up it is less than one part in 10²⁰."
    ),
)
