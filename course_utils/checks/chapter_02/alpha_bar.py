"""02.2: from beta to alpha_bar."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear

EXERCISE = Exercise(
    id="02.2",
    title="What is left of the image",
    difficulty=1,
    minutes=5,
    reference=lambda beta: torch.exp(torch.cumsum(torch.log1p(-beta), dim=0)),
    returns=("alpha_bar",),
    cases=lambda: (
        Case(
            "beta = [0.1, 0.2, 0.3, 0.4]",
            (torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64),),
        ),
        Case("ten uneven values of beta", (from_beta(UNEVEN).beta,)),
        Case("50 times beta = 0.02", (torch.full((50,), 0.02, dtype=torch.float64),)),
        Case("the linear schedule with T = 1000", (linear(1000).beta,)),
        Case("a single step, beta = [0.5]", (torch.tensor([0.5], dtype=torch.float64),)),
    ),
    misconceptions=(
        Misconception(
            "α stands where ᾱ belongs",
            "1−β_t is what one step keeps. What is left after all steps so far is the product of them.",
            lambda beta: 1 - beta,
        ),
        Misconception(
            "the β are summed up and taken from 1",
            "Each step takes its share of what is left, not of the whole. For a few small β the two "
            "look alike.",
            lambda beta: 1 - torch.cumsum(beta, 0),
        ),
        Misconception(
            "the α are summed instead of multiplied",
            "Keeping 0.9 and then 0.8 of something leaves 0.72 of it. A share cannot be above 1.",
            lambda beta: torch.cumsum(1 - beta, 0),
        ),
        Misconception(
            "β is multiplied up instead of 1−β",
            "β is what a step adds as noise; what it keeps is 1−β.",
            lambda beta: torch.cumprod(beta, 0),
        ),
        Misconception(
            "1 minus the product of β is taken, where the product of 1−β is meant",
            "First turn each β into the share that is kept, then multiply.",
            lambda beta: 1 - torch.cumprod(beta, 0),
        ),
        Misconception(
            "what is lost is returned instead of what is left",
            "1−ᾱ_t is the share of the noise. The image's share is the product itself.",
            lambda beta: 1 - torch.cumprod(1 - beta, 0),
        ),
        Misconception(
            "1−β_t is raised to the power t+1",
            "That would be right if all β were equal. Each step has a β of its own: multiply them all.",
            lambda beta: (1 - beta) ** torch.arange(1, len(beta) + 1),
        ),
        Misconception(
            "β_0 is never applied",
            "A loop that starts from ᾱ_0 = 1 and goes on at t = 1 leaves step 0 out: ᾱ_0 = 1−β_0.",
            lambda beta: torch.cumprod(torch.cat([torch.ones_like(beta[:1]), 1 - beta[1:]]), 0),
        ),
        Misconception(
            "every entry is the product over all steps",
            "p *= 1 - b changes the one tensor that every entry of your list is. Write p = p * (1 - b).",
            lambda beta: torch.prod(1 - beta).expand(len(beta)),
        ),
        Misconception(
            "the product stops one step early, so that ᾱ_0 = 1",
            "At t = 0 one step of noise has been made already, so ᾱ_0 = 1−β_0: the product includes step t.",
            lambda beta: torch.cat([torch.ones_like(beta[:1]), torch.cumprod(1 - beta, 0)[:-1]]),
        ),
        Misconception(
            "there is one entry too many, a 1 in front",
            "ᾱ has one entry for each t = 0 … T−1. The clean image, before any step, has none.",
            lambda beta: torch.cat([torch.ones_like(beta[:1]), torch.cumprod(1 - beta, 0)]),
        ),
        Misconception(
            "√ᾱ is returned instead of ᾱ",
            "ᾱ is the share of the variance; its root, which multiplies x_0, is taken later.",
            lambda beta: torch.cumprod((1 - beta).sqrt(), 0),
        ),
        Misconception(
            "only the product over all steps is returned",
            "That is ᾱ at the last step. The product up to each t is needed: T numbers.",
            lambda beta: torch.prod(1 - beta),
        ),
    ),
    hints=(
        "One step keeps 1−β_0 of the image's variance. The second step keeps 1−β_1 of what was left.",
        "So shares multiply: ᾱ_1 = (1−β_0)(1−β_1). Write ᾱ_2 down too, and look for a running product.",
        "torch.cumprod(values, dim=0) is the running product.",
    ),
    success=(
        "With Ho's 1000 linear steps you end at ᾱ = 0.00004: about 1 part in 25,000 of the image's variance. "
        "On paper: 0.9, 0.72, 0.504."
    ),
)
