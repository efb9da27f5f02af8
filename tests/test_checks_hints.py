"""The last hints of some chapters are code: pasted into the function, with what its notebook imports, it is right."""

import inspect
import math

import pytest
import torch

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion.jumps import jumps
from course_utils.diffusion.samplers import ddim_step, ddpm_step

IMPORTED = {
    "08": {"torch": torch, "jumps": jumps, "ddpm_step": ddpm_step},
    "09": {"torch": torch, "ddim_step": ddim_step},
    "10": {"torch": torch, "math": math},
}
AS_CODE = [exercise for exercise in EXERCISES.values() if exercise.id[:2] in IMPORTED]


@pytest.mark.parametrize("exercise", AS_CODE, ids=lambda exercise: exercise.id)
def test_the_last_hint_can_be_pasted(exercise):
    arguments = ", ".join(inspect.signature(exercise.reference).parameters)
    body = "\n".join(f"    {line}" for line in exercise.hints[-1].splitlines())
    names = dict(IMPORTED[exercise.id[:2]])
    exec(f"def answer({arguments}):\n{body}", names)
    verdict = judge(exercise, names["answer"])
    assert verdict.passed, verdict.text
