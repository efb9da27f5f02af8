"""The mistakes of exercise 10.3, a learning rate that rises and falls, made as a learner would: they are named."""

import math

import numpy as np
import pytest
import torch

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge


def torch_s_two(step, lr, warm_up, steps, final):
    """LinearLR and CosineAnnealingLR by SequentialLR, whose milestone is a step too late."""
    w = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([w], lr=lr)
    schedules = torch.optim.lr_scheduler
    up = schedules.LambdaLR(sgd, lambda k: min(1, (k + 1) / warm_up))
    down = schedules.CosineAnnealingLR(sgd, steps - warm_up, eta_min=final)
    both = schedules.SequentialLR(sgd, [up, down], [warm_up])
    for _ in range(min(step, steps)):
        sgd.step()
        both.step()
    return sgd.param_groups[0]["lr"]


def cosine_of_the_run(step, lr, warm_up, steps, final):
    if step >= steps:
        return final
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return final + 0.5 * (lr - final) * (1 + np.cos(np.pi * (step + 1) / steps))


def nanogpt(step, lr, warm_up, steps, final):
    """As in many a training script: both comparisons, and a decay ratio, in whole runs."""
    if step < warm_up:
        return lr * (step + 1) / warm_up
    if step > steps - 1:
        return final
    ratio = (step - warm_up) / (steps - 1 - warm_up)
    return final + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (lr - final)


def restarted(step, lr, warm_up, steps, final):
    """No end: the cosine is asked for whatever comes."""
    done = step + 1
    if done <= warm_up:
        return lr / warm_up * done
    angle = torch.tensor(math.pi * (done - warm_up) / (steps - warm_up))
    return final + (lr - final) * (angle / 2).cos() ** 2


def floored(step, lr, warm_up, steps, final):
    done = min(step + 1, steps)
    if done <= warm_up:
        return lr / warm_up * done
    return max(lr * math.cos(math.pi / 2 * (done - warm_up) / (steps - warm_up)) ** 2, final)


def cut_off(
    shape=lambda angle: (1 + np.cos(angle)) / 2,
    turn=np.pi,
    over=lambda warm_up, steps: steps - warm_up,
):
    """The end is made by keeping p at 1, and no question is asked about the step."""

    def answer(step, lr, warm_up, steps, final):
        p = np.clip((step + 1 - warm_up) / over(warm_up, steps), 0, 1)
        down = final + (lr - final) * shape(turn * p)
        return lr * (step + 1) / warm_up if step < warm_up else down

    return answer


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (
            torch_s_two,
            "the top is held for two steps, so that the last step is not yet at final",
        ),
        (cosine_of_the_run, "the cosine counts from the beginning of the run"),
        (nanogpt, "the top is held for two steps, and the rest falls faster"),
        (restarted, "beyond the end the cosine rises again"),
        (floored, "it falls to 0 and is cut off at final"),
        (cut_off(turn=180), "the angle is in degrees, with p kept at 1 beyond the end"),
        (cut_off(turn=1), "π is missing, with p kept at 1 beyond the end"),
        (
            cut_off(np.cos),
            "it is the cosine itself, which goes down to −1, with p kept at 1 beyond the end",
        ),
        (
            cut_off(over=lambda warm_up, steps: steps),
            "the fall is spread over as many steps as the whole run has, with p kept at 1 beyond the end",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(answer, name):
    verdict = judge(EXERCISES["10.3"], answer)
    assert verdict.outcome == "failed"
    assert verdict.misconception == name, verdict.text
