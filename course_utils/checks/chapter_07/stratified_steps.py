"""07.5: steps of noise that cover the whole chain in every batch."""

import math

import torch

from course_utils.checks.exercise import Case, Exercise, Misconception


def _stratified(u, T):
    B = len(u)
    return [math.floor((i + v) * T / B) for i, v in enumerate(u.tolist())]


def _cases() -> tuple[Case, ...]:
    def case(u, T):
        says = f"u = {u}" if len(u) < 6 else f"{len(u)} numbers u"
        return Case(f"{says}, T = {T}", (torch.tensor(u, dtype=torch.float64), T))

    eight = [0.91, 0.07, 0.43, 0.66, 0.29, 0.98, 0.13, 0.77]
    return (
        case([0.9, 0.1, 0.6, 0.3], 1000),
        case([0.0, 0.75, 0.96], 10),
        case(eight, 1000),
        case(eight, 30),
        case([0.7, 0.2, 0.95, 0.05, 0.4], 3),
    )


def _placed(place, settle=torch.floor):
    """The exercise with settle(T times place(i, u, B)), where i numbers the samples."""

    def wrong(u, T):
        B = len(u)
        return settle(T * place(torch.arange(B), u, B))

    return wrong


def _place(i, u, B):
    return (i + u) / B


def _scaled(scale):
    """The exercise with scale(i, u, B, T) in place of T times (i + u) / B."""
    return lambda u, T: scale(torch.arange(len(u)), u, len(u), T).floor()


EXERCISE = Exercise(
    id="07.5",
    title="No part of the chain left out",
    difficulty=2,
    minutes=10,
    reference=_stratified,
    returns=("t",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "each t is drawn from the whole chain",
            "That is the plain uniform draw: by chance a batch may miss the whole beginning. Sample i takes "
            "its own part, from i/B to (i+1)/B.",
            _placed(lambda i, u, B: u),
        ),
        Misconception(
            "it is rounded to the nearest whole number",
            "Then t = T can come out, for which there is no noise level, and t = 0 only half as often as the "
            "others. Round down.",
            _placed(_place, torch.round),
        ),
        Misconception(
            "it is rounded to the nearest whole number, and what is T then is made T−1",
            "Then t = 0 is drawn only half as often as the others, and T−1 one and a half times as often. "
            "Round down: then T cannot come out.",
            lambda u, T: (T * _place(torch.arange(len(u)), u, len(u))).round().clamp(max=T - 1),
        ),
        Misconception(
            "it is rounded up",
            "t runs over 0 … T−1 here. Rounded up it is 1 … T, and T is no step of the chain.",
            _placed(_place, torch.ceil),
        ),
        Misconception(
            "it is not rounded to a whole number",
            "t is an index into the schedule's tables. Round it down.",
            _placed(_place, lambda t: t),
        ),
        Misconception(
            "it is multiplied by T−1",
            "u is below 1, so the last step would never be drawn. T times a number below 1, rounded down, is "
            "0 … T−1.",
            _scaled(lambda i, u, B, T: (i + u) / B * (T - 1)),
        ),
        Misconception(
            "all parts are T // B steps wide",
            "Where B does not divide T, the last steps would never be drawn, and the network never learns "
            "them. A part is T/B wide, and need not begin at a whole number.",
            _scaled(lambda i, u, B, T: (i + u) * (T // B)),
        ),
        Misconception(
            "the beginning of the part and the way into it are rounded down one by one",
            "Then the last steps come too seldom where B does not divide T. Add first, and round down once.",
            _scaled(lambda i, u, B, T: (T * i / B).floor() + (T * u / B).floor()),
        ),
        Misconception(
            "the parts begin at multiples of T // B, though they are T/B wide",
            "Where B does not divide T, the parts overlap and the last steps come too seldom. Part i begins at "
            "T·i/B: round down once, at the end.",
            _scaled(lambda i, u, B, T: i * (T // B) + (T * u / B).floor()),
        ),
        Misconception(
            "the places are drawn from the whole chain and sorted",
            "Sorted they are the same plain draws, with all their luck. Sample i takes its own part, from i/B "
            "to (i+1)/B.",
            _placed(lambda i, u, B: u.sort().values),
        ),
        Misconception(
            "the parts begin at i/(B−1)",
            "linspace(0, 1, B) includes the 1, where the chain has ended. B parts begin at 0, 1/B … (B−1)/B.",
            _placed(lambda i, u, B: i / (B - 1) + u / B),
        ),
        Misconception(
            "the samples are counted from 1",
            "The first part begins at 0, so i runs over 0 … B−1. As it is, the first part is never drawn from, "
            "and the last sample falls out of the chain.",
            _placed(lambda i, u, B: (i + 1 + u) / B),
        ),
        Misconception(
            "t is off by one",
            "In this course t starts at 0: the papers' t is ours plus one.",
            _placed(_place, lambda t: t.floor() + 1),
        ),
        Misconception(
            "u is not used",
            "Each batch would hold the same B steps, and all others would never be learned.",
            _placed(lambda i, u, B: i / B),
        ),
        Misconception(
            "the middle of each part is taken, not a random place in it",
            "Each batch would hold the same B steps, and all others would never be learned. u says where in "
            "its part.",
            _placed(lambda i, u, B: (i + 0.5) / B),
        ),
        Misconception(
            "the first u serves for all samples",
            "One random shift for the whole batch covers the chain as well (Variational Diffusion Models do "
            "that, Kingma et al. 2021). Here sample i has its own u[i].",
            _placed(lambda i, u, B: (i + u[0]) / B),
        ),
        Misconception(
            "u is not divided by B",
            "i/B + u leaves the part, and even the chain: u is a place within a part, which is 1/B wide.",
            _placed(lambda i, u, B: i / B + u),
        ),
        Misconception(
            "u is not divided by B, and what leaves the chain comes in again at its beginning",
            "i/B + u, wrapped round, lies anywhere in the chain, whatever i is: nothing keeps the samples "
            "apart. (With one u for the whole batch it would.)",
            _placed(lambda i, u, B: (i / B + u) % 1),
        ),
        Misconception(
            "B and T have changed places",
            "The chain has T steps, cut into B parts: times T, divided by B.",
            _scaled(lambda i, u, B, T: (i + u) / T * B),
        ),
        Misconception(
            "it is divided by B−1",
            "B samples, B parts: the last one begins at (B−1)/B and ends at 1. As it is, the last sample falls "
            "out of the chain.",
            _placed(lambda i, u, B: (i + u) / (B - 1)),
        ),
        Misconception(
            "the parts are counted from the end of the chain",
            "For training it would be as good, but here sample 0 has the first part, which begins at t = 0.",
            _placed(lambda i, u, B: (B - 1 - i + u) / B),
        ),
        Misconception(
            "u is read from the end of its part",
            "1−u is as random as u, but here u = 0 is the beginning of the part and u = 1 its end.",
            _placed(lambda i, u, B: (i + 1 - u) / B),
        ),
    ),
    hints=(
        "Cut the stretch from 0 to 1 into B equal parts. Where does part i begin, and how wide is it?",
        "Part i begins at i/B and is 1/B wide, so sample i stands at (i + u[i]) / B of the chain. Times T, "
        "rounded down, that is its step.",
        "i = torch.arange(len(u)); return ((i + u) / len(u) * T).long()",
    ),
    success=(
        "Over many batches each step is drawn as often as the others, as before. But no batch has only early "
        "steps, or only late ones, any more."
    ),
    rtol=0.0,
    atol=1e-3,
)
