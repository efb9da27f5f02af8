"""07.1: the warm-up of the learning rate."""

import math

from course_utils.checks.exercise import Case, Exercise, Misconception


def _learning_rate(step, lr, steps):
    if step >= steps:
        return lr
    return lr / steps * (step + 1)


def _cases() -> tuple[Case, ...]:
    def case(says, step, lr, steps):
        says = f"step {step}, lr = {lr:g} and a warm-up of {steps} step{'s' * (steps > 1)}{says}"
        return Case(says, (step, lr, steps))

    return (
        case("", 0, 0.5, 4),
        case("", 2, 0.5, 4),
        case(", of which it is the last", 3, 0.5, 4),
        case(": the first step after it", 4, 0.5, 4),
        case(", long past", 1000, 0.5, 4),
        case("", 19, 0.002, 500),
        case("", 0, 0.001, 1),
    )


def _scaled(factor):
    """The exercise with lr multiplied by factor(step, steps)."""
    return lambda step, lr, steps: lr * factor(step, steps)


EXERCISE = Exercise(
    id="07.1",
    title="A gentle start",
    difficulty=1,
    minutes=5,
    reference=_learning_rate,
    returns=("learning rate",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the rise begins at 0",
            "Step 0 would look at a batch and then not move at all. Steps are counted from 0, so step + 1 of "
            "them are made at the end of this one.",
            _scaled(lambda step, steps: min(1, step / steps)),
        ),
        Misconception(
            "the rise is divided among one step too many",
            "After `steps` steps lr is to be reached, in the step number steps − 1, because they are counted "
            "from 0.",
            _scaled(lambda step, steps: min(1, (step + 1) / (steps + 1))),
        ),
        Misconception(
            "the rise is divided among one step too few",
            "It begins at 0 and counts the gaps between the steps. Then step 0 does not move, and a warm-up of "
            "a single step never arrives.",
            _scaled(lambda step, steps: min(1, step / max(steps - 1, 1))),
        ),
        Misconception(
            "the rise is divided by steps − 1",
            "It begins at 0 and counts the gaps between the steps. Then step 0 does not move, and a warm-up of "
            "a single step divides by 0.",
            _scaled(lambda step, steps: step / (steps - 1) if step < steps else 1),
        ),
        Misconception(
            "the rise ends one step too late",
            "In the step number steps − 1 lr is reached. Where steps are counted from 0, step <= steps is true "
            "once too often.",
            _scaled(lambda step, steps: (step + 1) / steps if step <= steps else 1),
        ),
        Misconception(
            "the learning rate goes on rising after the warm-up",
            "Nothing holds it at lr. After a few times the warm-up, the steps are so large that training "
            "blows up.",
            _scaled(lambda step, steps: (step + 1) / steps),
        ),
        Misconception(
            "the rise begins at 0, and never ends",
            "Step 0 would not move at all: step + 1 steps are made at its end. And after the warm-up nothing "
            "holds the learning rate at lr.",
            _scaled(lambda step, steps: step / steps),
        ),
        Misconception(
            "min and max have changed places",
            "The larger of 1 and the fraction is 1 all through the warm-up, and grows without end after it.",
            _scaled(lambda step, steps: max(1, (step + 1) / steps)),
        ),
        Misconception(
            "the fraction is not multiplied by lr",
            "That is the share of lr which this step may use. The optimiser needs the learning rate itself.",
            lambda step, lr, steps: min(1, (step + 1) / steps),
        ),
        Misconception(
            "the fraction itself is capped at lr",
            "min(lr, (step + 1) / steps) passes lr after a few steps already: first multiply by lr, or cap the "
            "fraction at 1.",
            lambda step, lr, steps: min(lr, (step + 1) / steps),
        ),
        Misconception(
            "the fraction is made with whole numbers",
            "(step + 1) // steps is 0 in the whole warm-up but for its last step. Write a single /.",
            _scaled(lambda step, steps: min(1, (step + 1) // steps)),
        ),
        Misconception(
            "nothing is learned before the warm-up is over",
            "A learning rate of 0 is a pause, after which the full one comes as suddenly as before. It is to "
            "rise evenly.",
            _scaled(lambda step, steps: float(step >= steps)),
        ),
        Misconception(
            "the learning rate is 0 after the warm-up",
            "Then training would end with the warm-up. After it, lr itself is used.",
            _scaled(lambda step, steps: (step + 1) / steps if step < steps else 0),
        ),
        Misconception(
            "lr is used from the first step on",
            "There is no warm-up in that: in step 0 it should be the part 1/steps of lr.",
            _scaled(lambda step, steps: 1),
        ),
        Misconception(
            "the fraction is upside down",
            "steps / (step + 1) is above 1 in the warm-up and falls after it: full speed first, and then ever "
            "slower.",
            _scaled(lambda step, steps: min(1, steps / (step + 1))),
        ),
        Misconception(
            "the learning rate falls during the warm-up",
            "1 − step/steps is what is left of the warm-up. The learning rate grows with what is done.",
            _scaled(lambda step, steps: 1 - step / steps if step < steps else 1),
        ),
        Misconception(
            "it rises along half a cosine",
            "That is in use too, and works as well. Here it is to rise evenly: by lr/steps with each step.",
            _scaled(lambda step, steps: (1 - math.cos(math.pi * min(1, (step + 1) / steps))) / 2),
        ),
    ),
    hints=(
        "How many steps have been made at the end of step 0? Of step 3? Which share of the warm-up is that?",
        "The share is (step + 1) / steps, and never more than 1.",
        "return lr * min(1, (step + 1) / steps)",
    ),
    success=(
        "Step 0 moves, and the last step of the warm-up has the full lr. `train` takes such a function of the "
        "step in place of a number."
    ),
    atol=1e-9,
)
