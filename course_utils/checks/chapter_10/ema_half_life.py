"""10.2: how long an average remembers, counted in images."""

import math

from course_utils.checks.exercise import Case, Exercise, Misconception


def _ema_for(decay, batch, new_batch):
    half_life = batch / math.log2(1 / decay)
    return half_life, 0.5 ** (new_batch / half_life)


def _cases() -> tuple[Case, ...]:
    def case(decay, batch, new_batch):
        says = f"decay = {decay}, batch = {batch}, new_batch = {new_batch}"
        return Case(says, (decay, batch, new_batch))

    return (
        case(0.5, 100, 200),
        case(0.9, 64, 512),
        case(0.98, 32, 32),
        case(0.8, 256, 64),
        case(0.999, 128, 16),
    )


def _half_life(decay, batch, new_batch):
    return _ema_for(decay, batch, new_batch)[0]


def _wrong_half_life(half_life):
    """The exercise with half_life(decay, batch) in images; the new decay is right."""
    return lambda decay, batch, new_batch: (half_life(decay, batch), decay ** (new_batch / batch))


def _both_wrong(half_life):
    """The exercise with half_life(decay, batch), from which the new decay is computed."""

    def wrong(decay, batch, new_batch):
        images = half_life(decay, batch)
        return images, 0.5 ** (new_batch / images)

    return wrong


def _wrong_decay(new_decay):
    """The exercise with new_decay(decay, batch, new_batch); the half-life is right."""
    return lambda *arguments: (_half_life(*arguments), new_decay(*arguments))


def _in_steps(decay, batch):
    return math.log(0.5) / math.log(decay)


def _by_the_slope(decay, batch):
    return batch * math.log(2) / (1 - decay)


def _memory(decay, batch):
    return batch / (1 - decay)


EXERCISE = Exercise(
    id="10.2",
    title="How long an average remembers",
    difficulty=1,
    minutes=10,
    reference=_ema_for,
    returns=("half-life", "decay"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the half-life is counted in steps",
            "Each step sees `batch` images, and only images compare between batches of different sizes.",
            _wrong_half_life(_in_steps),
        ),
        Misconception(
            "the half-life is counted in steps, and the new decay is computed from that",
            "new_batch counts images, so the half-life has to be in images as well: the steps times batch.",
            _both_wrong(_in_steps),
        ),
        Misconception(
            "the half-life is 1/(1−d) steps",
            "That is how many steps the average remembers in the sense of their mean age. After them less than "
            "a half is left: about 1/e = 37 % if d is near 1.",
            _wrong_half_life(_memory),
        ),
        Misconception(
            "the half-life is 1/(1−d) steps, and the new decay is computed from that",
            "After 1/(1−d) steps less than a half is left, 37 % if d is near 1. Ask for which n dⁿ is one half.",
            _both_wrong(_memory),
        ),
        Misconception(
            "ln d is replaced by d − 1",
            "Near d = 1 the two are nearly the same, so nothing seems wrong. But a large batch needs a small d, "
            "and there they are not.",
            _wrong_half_life(_by_the_slope),
        ),
        Misconception(
            "ln d is replaced by d − 1, and the new decay is computed from that",
            "Near d = 1 the two are nearly the same, so nothing seems wrong. But a large batch needs a small d, "
            "and there they are not.",
            _both_wrong(_by_the_slope),
        ),
        Misconception(
            "it is the time in which the share falls to 1/e",
            "−1/ln d steps leave 1/e = 37 %. One half is left a little earlier: after ln ½ / ln d steps.",
            _wrong_half_life(lambda decay, batch: -batch / math.log(decay)),
        ),
        Misconception(
            "the half-life is rounded up to whole steps",
            "It need not be a whole number of anything; rounded, it is too long, most of all for a small decay.",
            _wrong_half_life(
                lambda decay, batch: math.ceil(_in_steps(decay, batch) - 1e-9) * batch
            ),
        ),
        Misconception(
            "the logarithms are upside down",
            "dⁿ = ½ means n · ln d = ln ½: divide ln ½ by ln d.",
            _wrong_half_life(lambda decay, batch: batch * math.log(decay) / math.log(0.5)),
        ),
        Misconception(
            "the half-life is negative",
            "Both logarithms are of numbers below 1, so both are negative and their ratio is positive. ln 2 in "
            "the place of ln ½ changes the sign.",
            _wrong_half_life(lambda decay, batch: -batch * _in_steps(decay, batch)),
        ),
        Misconception(
            "the steps are divided by the batch",
            "A step sees `batch` images: in n steps that is n · batch of them.",
            _wrong_half_life(lambda decay, batch: _in_steps(decay, batch) / batch),
        ),
        Misconception(
            "the half-life is that of the old decay with the new batch",
            "The half-life that is to be kept is the old one: the old decay, in batches of the old size.",
            lambda decay, batch, new_batch: (
                _in_steps(decay, new_batch) * new_batch,
                decay ** (new_batch / batch),
            ),
        ),
        Misconception(
            "the decay stays as it was",
            "Then the average remembers as many steps as before, and with another batch another number of "
            "images.",
            _wrong_decay(lambda decay, batch, new_batch: decay),
        ),
        Misconception(
            "the batches have changed places in the new decay",
            "A larger batch sees more images in each step, so each step has to forget more: its decay is "
            "smaller.",
            _wrong_decay(lambda decay, batch, new_batch: decay ** (batch / new_batch)),
        ),
        Misconception(
            "1 − d grows in proportion to the batch",
            "That holds while 1 − d is small. Two steps of decay d keep d², and 1 − d² is less than 2 (1 − d).",
            _wrong_decay(lambda decay, batch, new_batch: 1 - (1 - decay) * new_batch / batch),
        ),
        Misconception(
            "1 − d shrinks in proportion to the batch",
            "A larger batch sees more images in each step, so each step has to forget more, not less.",
            _wrong_decay(lambda decay, batch, new_batch: 1 - (1 - decay) * batch / new_batch),
        ),
        Misconception(
            "d is multiplied by the ratio of the batches",
            "That can be above 1. What is multiplied is the number of images in a step, and dⁿ has it in the "
            "exponent.",
            _wrong_decay(lambda decay, batch, new_batch: decay * new_batch / batch),
        ),
        Misconception(
            "the new decay is the share left after a half-life of new batches",
            "½ to the power half-life / new_batch is upside down: one step of new_batch images is a small part "
            "of a half-life, new_batch / half-life.",
            _wrong_decay(lambda *arguments: 0.5 ** (_half_life(*arguments) / arguments[2])),
        ),
        Misconception(
            "the new decay is what a step forgets",
            "A decay is what stays, near 1. What it lets in is 1 minus that.",
            _wrong_decay(lambda decay, batch, new_batch: 1 - decay ** (new_batch / batch)),
        ),
        Misconception(
            "the two answers are in the other order",
            "Return the half-life first, then the new decay.",
            lambda *arguments: _ema_for(*arguments)[::-1],
        ),
    ),
    hints=(
        "After n steps the share dⁿ is left of what was in the average. For which n is that one half? And how "
        "many images are n steps?",
        "n = ln ½ / ln d, and the half-life is n · batch images. One step of the new run sees the part "
        "new_batch / half-life of it, and keeps ½ to that power.",
        "images = batch * math.log(0.5) / math.log(decay)\n"
        "return images, 0.5 ** (new_batch / images)",
    ),
    success=(
        "A decay belongs to a batch size; a half-life in images belongs to the model. Take that along when you "
        "change the machine."
    ),
)
