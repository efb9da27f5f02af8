"""10.3: the learning rate of a whole run, up along a line and down along a cosine."""

import math

from course_utils.checks.exercise import Case, Exercise, Misconception


def _rate(step, lr, warm_up, steps, final):
    done = min(step + 1, steps)  # of `steps`, at the end of this step
    if done <= warm_up:
        return lr * done / warm_up
    angle = math.pi * (done - warm_up) / (steps - warm_up)
    return final + (lr - final) * math.cos(angle / 2) ** 2


def _cases() -> tuple[Case, ...]:
    def case(says, step, lr, warm_up, steps, final):
        says = (
            f"step {step}{says}, lr = {lr}, final = {final}, {steps} steps, of which {warm_up} "
            f"{'are' if warm_up > 1 else 'is'} warm-up"
        )
        return Case(says, (step, lr, warm_up, steps, final))

    return (
        case("", 0, 0.8, 4, 10, 0.1),
        case(", the last of the warm-up", 3, 0.8, 4, 10, 0.1),
        case(", the first after the warm-up", 4, 0.8, 4, 10, 0.1),
        case(", half way down", 6, 0.8, 4, 10, 0.1),
        case(", the last", 9, 0.8, 4, 10, 0.1),
        case(", the first beyond the end", 10, 0.8, 4, 10, 0.1),
        case(", far beyond the end", 15, 0.8, 4, 10, 0.1),
        case("", 0, 0.5, 1, 8, 0.0),
        case("", 5, 0.5, 1, 8, 0.0),
        case("", 700, 0.3, 50, 1000, 0.03),
    )


def _falling(shape, place=None, ending=lambda lr, final: final):
    """The right warm-up, then final + (lr − final) · shape(p); p is place(step, warm_up, steps)."""
    place = place or (lambda step, warm_up, steps: (step + 1 - warm_up) / (steps - warm_up))

    def wrong(step, lr, warm_up, steps, final):
        if step >= steps:
            return ending(lr, final)
        if step < warm_up:
            return lr * (step + 1) / warm_up
        return final + (lr - final) * shape(place(step, warm_up, steps))

    return wrong


def _half_cosine(p):
    return (1 + math.cos(math.pi * p)) / 2


def _in_both_endings(name, explanation, shape=_half_cosine, place=None):
    """A mistake in p or in what is made of it, ended by `if step >= steps` and by min(1, p), where it lasts."""
    falling = _falling(shape, place)

    def cut_off(step, lr, warm_up, steps, final):
        if step < steps:
            return falling(step, lr, warm_up, steps, final)
        p = min(1, place(step, warm_up, steps)) if place else 1
        return final + (lr - final) * shape(p)

    return (
        Misconception(name, explanation, falling),
        Misconception(f"{name}, with p kept at 1 beyond the end", explanation, cut_off),
    )


def _mixed(mix):
    """The right warm-up, then mix(lr, final, c), where c falls from 1 to 0 along half a cosine."""

    def wrong(step, lr, warm_up, steps, final):
        if step < warm_up:
            return lr * (step + 1) / warm_up
        done = min(step + 1, steps)
        return mix(lr, final, _half_cosine((done - warm_up) / (steps - warm_up)))

    return wrong


def _risen(share):
    """The exercise with lr · share(step, warm_up) in the warm-up."""

    def wrong(step, lr, warm_up, steps, final):
        if step < warm_up:
            return lr * share(step, warm_up)
        return _rate(step, lr, warm_up, steps, final)

    return wrong


def _warm_up_from_final(step, lr, warm_up, steps, final):
    if step < warm_up:
        return final + (lr - final) * (step + 1) / warm_up
    return _rate(step, lr, warm_up, steps, final)


def _without_end(step, lr, warm_up, steps, final):
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return final + (lr - final) * _half_cosine((step + 1 - warm_up) / (steps - warm_up))


def _product(step, lr, warm_up, steps, final):
    fallen = final + (lr - final) * _half_cosine(min(1, (step + 1) / steps))
    return fallen * min(1, (step + 1) / warm_up)


EXERCISE = Exercise(
    id="10.3",
    title="Up along a line, down along a cosine",
    difficulty=2,
    minutes=10,
    reference=_rate,
    returns=("learning rate",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the warm-up begins at 0",
            "Step 0 would look at a batch and then not move. At the end of this step, step + 1 are made.",
            _risen(lambda step, warm_up: step / warm_up),
        ),
        Misconception(
            "the warm-up begins at final",
            "It rises evenly from 0, so that step 0 has lr / warm_up. final belongs to the way down.",
            _warm_up_from_final,
        ),
        Misconception(
            "there is no warm-up: lr is used from the first step on",
            "The first `warm_up` steps are to rise evenly, from lr/warm_up on.",
            _risen(lambda step, warm_up: 1),
        ),
        Misconception(
            "there is no warm-up: the cosine falls from the first step on",
            "The first `warm_up` steps are to rise evenly, and the cosine belongs to the steps after them.",
            lambda step, lr, warm_up, steps, final: _rate(step + 1, lr, 1, steps + 1, final),
        ),
        Misconception(
            "the cosine counts from the beginning of the run",
            "At the end of the warm-up it has fallen already, so the rate jumps down. Its p is 0 there: count "
            "from the end of the warm-up.",
            _falling(_half_cosine, lambda step, warm_up, steps: (step + 1) / steps),
        ),
        Misconception(
            "the cosine counts from step 0, not from the last step of the warm-up",
            "p = step / (steps − 1) has gone part of its way when the warm-up ends, so the rate jumps down. It is "
            "to be 0 there.",
            _falling(_half_cosine, lambda step, warm_up, steps: step / (steps - 1)),
        ),
        Misconception(
            "the warm-up is multiplied by a cosine over the whole run",
            "Then lr itself is never reached, because the cosine falls while the warm-up rises. Let the one "
            "follow the other.",
            _product,
        ),
        Misconception(
            "the top is held for two steps, so that the last step is not yet at final",
            "p = (step − warm_up) / (steps − warm_up) is 0 once more in the first step after the warm-up. At "
            "its end step + 1 − warm_up are made.",
            _falling(
                _half_cosine, lambda step, warm_up, steps: (step - warm_up) / (steps - warm_up)
            ),
        ),
        Misconception(
            "the top is held for two steps, and the rest falls faster",
            "p is 0 in the last step of the warm-up, so the first one after it is on the way down.",
            _falling(
                _half_cosine, lambda step, warm_up, steps: (step - warm_up) / (steps - warm_up - 1)
            ),
        ),
        *_in_both_endings(
            "the fall is spread over as many steps as the whole run has",
            "steps counts the warm-up, too. What is left for the cosine is steps − warm_up, or it never arrives.",
            place=lambda step, warm_up, steps: (step + 1 - warm_up) / steps,
        ),
        Misconception(
            "beyond the end the cosine rises again",
            "Somebody who lets a finished run go on would get the full rate back after a while. Let p stop at 1.",
            _without_end,
        ),
        Misconception(
            "beyond the end the learning rate is 0",
            "Going on would change nothing any more, and look like a bug. `final` is where it stays.",
            _falling(_half_cosine, ending=lambda lr, final: 0.0),
        ),
        Misconception(
            "beyond the end the learning rate is lr again",
            "That is a jump to the full rate, right after everything has come to rest. It stays at `final`.",
            _falling(_half_cosine, ending=lambda lr, final: lr),
        ),
        Misconception(
            "it falls to 0, whatever final is",
            "The cosine is to lead from lr to final: what falls away is only lr − final.",
            _mixed(lambda lr, final, c: lr * c),
        ),
        Misconception(
            "it falls to 0 and is cut off at final",
            "max(final, …) has a kink, where it should arrive softly. Let lr − final fall, and add final.",
            _mixed(lambda lr, final, c: max(final, lr * c)),
        ),
        Misconception(
            "final comes on top of lr",
            "Then the cosine begins at lr + final, a jump upwards. What falls is lr − final.",
            _mixed(lambda lr, final, c: final + lr * c),
        ),
        Misconception(
            "final is taken for a share of lr",
            "It is a learning rate itself, where the run ends.",
            _mixed(lambda lr, final, c: lr * (final + (1 - final) * c)),
        ),
        Misconception(
            "the half is missing: 1 + cos goes from 2 to 0",
            "cos falls from 1 to −1, so 1 + cos has to be halved to fall from 1 to 0.",
            _mixed(lambda lr, final, c: final + (lr - final) * 2 * c),
        ),
        *_in_both_endings(
            "it is the cosine itself, which goes down to −1",
            "A negative learning rate climbs the loss. (1 + cos)/2 falls from 1 to 0.",
            lambda p: math.cos(math.pi * p),
        ),
        Misconception(
            "it falls along a quarter of a cosine",
            "cos(p π/2) falls from 1 to 0 as well, but arrives at its steepest. (1 + cos(p π))/2 is flat at "
            "both ends.",
            _falling(lambda p: math.cos(math.pi * p / 2)),
        ),
        Misconception(
            "it falls along a line",
            "That is in use, too. Here it is to be the half of a cosine, flat at both ends.",
            _falling(lambda p: 1 - p),
        ),
        *_in_both_endings(
            "the cosine goes all the way round",
            "cos(2π p) is back at 1 for p = 1, and the run ends with the full rate.",
            lambda p: _half_cosine(2 * p),
        ),
        *_in_both_endings(
            "it rises where it should fall",
            "(1 − cos)/2 goes from 0 to 1. After the warm-up the rate would drop to final and climb to lr.",
            lambda p: 1 - _half_cosine(p),
        ),
        *_in_both_endings(
            "π is missing",
            "Then the angle ends at 1, not at half a turn, and the rate has fallen by less than a quarter.",
            lambda p: (1 + math.cos(p)) / 2,
        ),
        *_in_both_endings(
            "the angle is in degrees",
            "Python's cos takes radians: half a turn is π, not 180.",
            lambda p: (1 + math.cos(180 * p)) / 2,
        ),
        Misconception(
            "it does not fall",
            "After the warm-up the rate stays at lr. It is to fall from there to final.",
            _falling(lambda p: 1.0, ending=lambda lr, final: lr),
        ),
    ),
    hints=(
        "How many steps are made at the end of this one? As long as that is at most warm_up, it is exercise "
        "07.1. How far has the rest come after it?",
        "p = (step + 1 - warm_up) / (steps - warm_up), and never more than 1. (1 + cos(π p)) / 2 falls from 1 "
        "to 0: that is the share of lr - final that is left.",
        "if step < warm_up:\n"
        "    return lr * (step + 1) / warm_up\n"
        "p = min(1, (step + 1 - warm_up) / (steps - warm_up))\n"
        "return final + (lr - final) * (1 + math.cos(math.pi * p)) / 2",
    ),
    success=(
        "It rises, it rests, and it stays at rest if somebody lets it run on. `train` takes such a function of "
        "the step in place of a number."
    ),
    atol=1e-6,
)
