"""04.4: the loss of each image, given a model."""

from dataclasses import dataclass

import torch

from course_utils.checks.chapter_02.closed_form import Factors, slips
from course_utils.checks.chapter_02.material import UNEVEN, mix, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


@dataclass(frozen=True)
class StandIn:
    """In a network's place: it mixes each pixel with its neighbour, differently at each t."""

    gain: float

    def __call__(self, x_t, t):
        x_t, t = torch.as_tensor(x_t), torch.as_tensor(t)
        if x_t.ndim != 4 or t.shape not in ((), x_t.shape[:1]):
            raise ValueError(
                "the model takes x_t [B, C, H, W] and t, one int or [B]; "
                f"got shapes {list(x_t.shape)} and {list(t.shape)}."
            )
        wave = torch.cos(0.9 * t).to(x_t.dtype).reshape(-1, 1, 1, 1)
        return self.gain * wave * x_t + 0.2 * x_t.roll(1, dims=-1)


def _losses(model, schedule, x0, t, eps):
    losses = []
    for x, step, e in zip(x0.double(), t.tolist(), eps.double(), strict=True):
        answer = model(mix(schedule.alpha_bar[step].item(), x, e)[None], step)[0]
        losses.append(((answer - e) ** 2).sum() / e.numel())
    return torch.stack(losses)


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, shape, t):
        return Case(
            f"{says}x0 of shape {shape} at t = {t}",
            (StandIn(0.7), schedule, pixels(21, *shape), torch.tensor(t), normal(22, *shape)),
        )

    return (  # in the first, every axis is as long as the batch, so that the wrong one fits too
        case("", from_beta(UNEVEN), [4, 4, 4, 4], [0, 3, 5, 8]),
        case("", from_beta(UNEVEN), [3, 1, 5, 7], [9, 2, 6]),
        case("", from_beta(UNEVEN), [5, 3, 2, 6], [4, 1, 0, 9, 7]),
        case("1000 linear steps, ", linear(1000), [2, 3, 8, 8], [999, 250]),
    )


def _roots(schedule, t):
    share = schedule.alpha_bar[t]
    return share.sqrt(), (1 - share).sqrt()


def _built(to_loss=None, wanted=None, sees=None, told=None, factors: Factors = _roots, axis=0):
    """The exercise done right but for some of its parts.

    Args:
        to_loss: from (answer − wanted), [B, C, H, W], to the losses.
        wanted, sees: from (x0, x_t, eps) to what the model should say, and to what it is shown.
        told: from t to what the model is told.
        factors: of x0 and eps in x_t; `axis` is the one along which they run.
    """

    def wrong(model, schedule, x0, t, eps):
        signal, noise = (f.reshape(-1, *[1] * (3 - axis)) for f in factors(schedule, t))
        given = (x0, signal * x0 + noise * eps, eps)
        answer = model(sees(*given) if sees else given[1], told(t) if told else t)
        error = answer - (wanted(*given) if wanted else eps)
        return to_loss(error) if to_loss else (error**2).mean((1, 2, 3))

    return wrong


def _over(*axes):
    return _built(to_loss=lambda error: (error**2).mean(axes))


def _at_the_first_t(model, schedule, x0, t, eps):
    return _losses(model, schedule, x0, t[:1].expand(len(t)), eps)


_BROADCAST = (
    "Broadcasting lines shapes up from the right, so [B] meets the last axis of [B, C, H, W]. Your "
    "numbers need the shape [B, 1, 1, 1]."
)
_AXES = "Each image has a loss of its own: average over channels, rows and columns, and keep the first axis, [B]."

EXERCISE = Exercise(
    id="04.4",
    title="The loss of each image",
    difficulty=2,
    minutes=10,
    reference=_losses,
    returns=("loss",),
    cases=_cases,
    misconceptions=(
        Misconception("the batch is averaged as well", _AXES, _over(0, 1, 2, 3)),
        Misconception("the images are averaged and the channels kept", _AXES, _over(0, 2, 3)),
        Misconception("the images are averaged and the columns kept", _AXES, _over(0, 1, 2)),
        Misconception("the mean runs over the images alone", _AXES, _over(0)),
        Misconception("the mean runs over the channels alone", _AXES, _over(1)),
        Misconception("the mean runs over the columns alone", _AXES, _over(3)),
        Misconception(
            "the mean runs over rows and columns but not over channels", _AXES, _over(2, 3)
        ),
        Misconception(
            "the squares are summed, not averaged",
            "A sum grows with the image: that of 256 × 256 pixels is a thousand times that of 8 × 8, "
            "for a model that is just as good.",
            _built(to_loss=lambda error: (error**2).sum((1, 2, 3))),
        ),
        Misconception(
            "the root of the mean is taken",
            "Then an image with a small error pulls as strongly as one with a large error, and the "
            "best answer is no longer the mean E[ε | x_t].",
            _built(to_loss=lambda error: (error**2).mean((1, 2, 3)).sqrt()),
        ),
        Misconception(
            "the error is taken absolute, not squared",
            "The ELBO gave a square. With absolute values the best answer is a median, and the theory "
            "that makes it a score is gone.",
            _built(to_loss=lambda error: error.abs().mean((1, 2, 3))),
        ),
        Misconception(
            "the mean is taken before the square",
            "Errors of opposite sign cancel in the mean, and a hopeless model looks perfect. Square "
            "first.",
            _built(to_loss=lambda error: error.mean((1, 2, 3)) ** 2),
        ),
        Misconception(
            "a factor ½ stands in front",
            "The ELBO has one, in its weight; L_simple has 1 in the place of the whole weight.",
            _built(to_loss=lambda error: (error**2).mean((1, 2, 3)) / 2),
        ),
        Misconception(
            "the model is compared with the clean image",
            "This model answers with the noise: eps is what it should have said. (Predicting x0 is "
            "possible, but then that is what it is trained for.)",
            _built(wanted=lambda x0, x_t, eps: x0),
        ),
        Misconception(
            "the model is compared with x_t",
            "x_t is what it is shown; what it should say is the eps inside.",
            _built(wanted=lambda x0, x_t, eps: x_t),
        ),
        Misconception(
            "the model is compared with √(1−ᾱ) eps",
            "The target is eps itself, with variance 1 at every t. Scaled, the first steps would "
            "count for next to nothing.",
            lambda model, schedule, x0, t, eps: _built(
                wanted=lambda x0, x_t, eps: (
                    schedule.one_minus_alpha_bar[t].reshape(-1, 1, 1, 1) ** 0.5 * eps
                )
            )(model, schedule, x0, t, eps),
        ),
        Misconception(
            "the model is shown the clean image",
            "There is no noise in x0 to find. Make x_t first, with the closed form, and show that.",
            _built(sees=lambda x0, x_t, eps: x0),
        ),
        Misconception(
            "the model is shown the noise itself",
            "Then the answer stands in the question. Show it x_t, made from x0 and eps.",
            _built(sees=lambda x0, x_t, eps: eps),
        ),
        Misconception(
            "the model is told t + 1",
            "x_t and the t that the model is told belong together, and ours counts from 0. The "
            "papers' t is ours plus one.",
            _built(told=lambda t: t + 1),
        ),
        Misconception(
            "the model is told t − 1",
            "x_t and the t that the model is told belong together: alpha_bar[t] already includes step t.",
            _built(told=lambda t: t - 1),
        ),
        Misconception(
            "the model is told the first t for all images",
            "Each image has its own t: hand the whole tensor t to the model.",
            _built(told=lambda t: t[:1].expand(len(t))),
        ),
        Misconception(
            "the whole batch is taken at the first t",
            "Each image has its own t: image i is noised with alpha_bar[t[i]].",
            _at_the_first_t,
        ),
        Misconception("t runs along the columns of the images", _BROADCAST, _built(axis=3)),
        Misconception("t runs along the rows of the images", _BROADCAST, _built(axis=2)),
        Misconception("t runs along the channels of the images", _BROADCAST, _built(axis=1)),
        *slips(lambda factors: _built(factors=factors)),
    ),
    hints=(
        "Three steps: make x_t from x0 and eps as in 02.3; ask the model; compare its answer with the "
        "eps that you put in.",
        "The error has shape [B, C, H, W]. Square every number, then take the mean over the axes 1, 2 "
        "and 3, so that [B] is left.",
        "a = schedule.alpha_bar[t][:, None, None, None]; x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps; then "
        "((model(x_t, t) - eps)**2).mean(dim=(1, 2, 3)).",
    ),
    success=(
        "Average these over random images, t and noise, and you have L_simple: with a gradient and an "
        "optimiser, that is all of DDPM's training."
    ),
)
