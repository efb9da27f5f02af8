"""04.6: the exact minimiser for a finite data set."""

import torch

from course_utils.checks.chapter_02.closed_form import OFF_BY_ONE
from course_utils.checks.chapter_02.material import UNEVEN, mix, normal, pixels
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _best(schedule, x_t, t, data):
    """Bayes' rule, point by point, from the logarithms of the densities."""
    spread = float(schedule.one_minus_alpha_bar[t]) ** 0.5
    means = []
    for point in x_t.double():
        around = torch.distributions.Normal(schedule.alpha_bar[t].sqrt() * data.double(), spread)
        log_density = around.log_prob(point).sum(1)  # [N]
        shares = torch.exp(log_density - log_density.logsumexp(0))
        means.append((shares[:, None] * data.double()).sum(0))
    return torch.stack(means)


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, x_t, t, data):
        shapes = f"x_t of shape {list(x_t.shape)}, data of shape {list(data.shape)}"
        return Case(f"{says}, {shapes}, t = {t}", (schedule, x_t, t, data))

    uneven = from_beta(UNEVEN)
    pictures = pixels(45, 20, 8)
    noisy = mix(linear().alpha_bar[300].item(), pictures[:6], normal(46, 6, 8))
    return (
        case("ten uneven steps", uneven, normal(41, 5, 2), 3, normal(42, 5, 2)),
        case("ten uneven steps", uneven, normal(43, 3, 6), 1, normal(44, 10, 6)),
        case("1000 linear steps", linear(), noisy, 300, pictures),
        case("1000 linear steps, x_t far from all data", linear(), normal(47, 4, 8), 0, pictures),
    )


def _shared(logits=None, signal=None, to_weights=None, to_answer=None):
    """The exercise done right but for some of its parts.

    Args:
        logits: from (squared distances [B, N], 1−ᾱ, D) to the logarithms of the weights.
        signal: from ᾱ to the factor of the data in x_t.
        to_weights: from the logarithms to the weights, [B, N].
        to_answer: from (weights, data, ᾱ) to the answer.
    """

    def wrong(schedule, x_t, t, data):
        share = schedule.alpha_bar[t]
        x, points = x_t.double(), data.double()
        factor = signal(share) if signal else share.sqrt()
        squared = ((x[:, None] - factor * points) ** 2).sum(2)
        noise = 1 - share
        log = logits(squared, noise, x.shape[1]) if logits else -squared / (2 * noise)
        weights = to_weights(log) if to_weights else log.softmax(1)
        return to_answer(weights, points, share) if to_answer else weights @ points

    return wrong


def _without_max(logits):
    weights = logits.exp()
    return weights / weights.sum(1, keepdim=True)


def _batch_max(logits):
    weights = (logits - logits.max()).exp()
    return weights / weights.sum(1, keepdim=True)


def _small_number_below(logits):
    weights = logits.exp()
    return weights / (weights.sum(1, keepdim=True) + 1e-12)


def _nearest(logits):
    return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()


def _noise_instead(schedule, x_t, t, data):
    share = schedule.alpha_bar[t]
    return (x_t - share.sqrt() * _best(schedule, x_t, t, data)) / (1 - share).sqrt()


def _of_one_step(schedule, x_t, t, data):
    logits = -(torch.cdist(x_t.double(), schedule.alpha[t].sqrt() * data.double()) ** 2)
    return (logits / (2 * schedule.beta[t])).softmax(1) @ data.double()


EXERCISE = Exercise(
    id="04.6",
    title="The answer that no network can beat",
    difficulty=3,
    minutes=20,
    reference=_best,
    returns=("x0",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the nearest sample is returned instead of the average",
            "The others are possible, too, and a squared error is smallest at the mean of what is "
            "possible. The nearest is only the most probable.",
            _shared(to_weights=_nearest),
        ),
        Misconception(
            "the plain mean of the data is returned",
            "That is the best answer if x_t says nothing. Weigh each sample by how well it explains x_t.",
            _shared(to_weights=lambda logits: torch.full_like(logits, 1 / logits.shape[1])),
        ),
        Misconception(
            "the weights are normalised over the batch instead of the data",
            "For each x_t the N weights add up to 1. Of [B, N] that is the last axis: softmax(dim=1).",
            _shared(to_weights=lambda logits: logits.softmax(0)),
        ),
        Misconception(
            "the weights are normalised over batch and data together",
            "For each x_t the N weights add up to 1; each row of [B, N] for itself.",
            _shared(to_weights=lambda logits: logits.flatten().softmax(0).reshape(logits.shape)),
        ),
        Misconception(
            "the weights are not divided by their sum",
            "By Bayes' rule they are shares, N for each x_t with the sum 1. A softmax does that.",
            _shared(to_weights=torch.exp),
        ),
        Misconception(
            "exp underflows: all weights of an x_t are 0, and 0/0 is NaN",
            "With little noise the exponents are in the thousands. Subtract their maximum before exp, "
            "which changes no share: that is what torch.softmax does.",
            _shared(to_weights=_without_max),
        ),
        Misconception(
            "the maximum over the whole batch is subtracted, and the weights of other x_t underflow",
            "Each row needs its own maximum: max(dim=1, keepdim=True).",
            _shared(to_weights=_batch_max),
        ),
        Misconception(
            "a small number is added to the sum of the weights, and 0 comes out",
            "All weights of an x_t have underflowed to 0. The small number only hides that: subtract "
            "the maximum first.",
            _shared(to_weights=_small_number_below),
        ),
        Misconception(
            "the ½ in the exponent is missing",
            "A Gaussian's exponent is −distance²/2σ². Without the ½ the answer is too sure of itself.",
            _shared(logits=lambda squared, noise, D: -squared / noise),
        ),
        Misconception(
            "the exponent is not divided by the variance",
            "How far is far? That depends on the noise: divide by 1−ᾱ_t.",
            _shared(logits=lambda squared, noise, D: -squared / 2),
        ),
        Misconception(
            "the exponent is divided by the deviation instead of the variance",
            "A squared distance belongs over a squared width: 1−ᾱ_t, not its root.",
            _shared(logits=lambda squared, noise, D: -squared / (2 * noise.sqrt())),
        ),
        Misconception(
            "the variance is squared",
            "1−ᾱ_t is the variance already. Do not square it again.",
            _shared(logits=lambda squared, noise, D: -squared / (2 * noise**2)),
        ),
        Misconception(
            "the exponent is divided by ᾱ instead of 1−ᾱ",
            "x_t lies around √ᾱ_t x_0 with the variance 1−ᾱ_t.",
            _shared(logits=lambda squared, noise, D: -squared / (2 * (1 - noise))),
        ),
        Misconception(
            "the data are not faded: x_t is compared with x_0 instead of √ᾱ x_0",
            "If x_0 was the sample, x_t lies around √ᾱ_t x_0. Fade each sample before you compare.",
            _shared(signal=torch.ones_like),
        ),
        Misconception(
            "x_t is divided by √ᾱ, and the variance is still 1−ᾱ",
            "Undoing the fading stretches the noise: the variance is then (1−ᾱ)/ᾱ.",
            _shared(logits=lambda squared, noise, D: -squared / (1 - noise) / (2 * noise)),
        ),
        Misconception(
            "the data are faded by ᾱ instead of √ᾱ",
            "ᾱ is a share of variance; the sample in x_t has the factor √ᾱ_t.",
            _shared(signal=lambda share: share),
        ),
        Misconception(
            "the faded samples are averaged",
            "√ᾱ_t x_0 serves for comparing with x_t. What is wanted is the mean of the x_0 themselves.",
            _shared(to_answer=lambda weights, data, share: weights @ (share.sqrt() * data)),
        ),
        Misconception(
            "the sign of the exponent is wrong",
            "Then the farthest sample has the largest weight. A density falls with the distance.",
            _shared(logits=lambda squared, noise, D: squared / (2 * noise)),
        ),
        Misconception(
            "the distance is not squared",
            "A Gaussian falls with the square of the distance: leave out the root, or square what "
            "torch.cdist gives.",
            _shared(logits=lambda squared, noise, D: -squared.sqrt() / (2 * noise)),
        ),
        Misconception(
            "the squared differences are averaged over the coordinates, not summed",
            "The density of independent coordinates is a product, so their exponents add up. An "
            "average makes the exponent D times too small.",
            _shared(logits=lambda squared, noise, D: -squared / (2 * noise * D)),
        ),
        Misconception(
            "the noise is returned instead of the clean sample",
            "That is E[ε | x_t], the other face of the same answer. Here E[x_0 | x_t] is wanted.",
            _noise_instead,
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "All steps 0 … t lie between x_0 and x_t: q(x_t|x_0) has ᾱ_t and 1−ᾱ_t.",
            _of_one_step,
        ),
        Misconception(
            *OFF_BY_ONE, lambda schedule, x_t, t, data: _best(schedule, x_t, t - 1, data)
        ),
    ),
    hints=(
        "Bayes' rule: a sample's weight is proportional to the density q(x_t | x_0) of the x_t that "
        "you see. Which Gaussian is that?",
        "With a = schedule.alpha_bar[t], squared = ((x_t[:, None] - a.sqrt() * data)**2).sum(2) has the "
        "shape [B, N]. The logarithms of the weights are -squared / (2 * (1 - a)); what normalises them "
        "safely?",
        "weights = torch.softmax(-squared / (2 * (1 - a)), dim=1); then weights @ data.",
    ),
    success=(
        "No network can have a smaller expected loss on these data. Whether that is what one should "
        "wish for, the last cells ask."
    ),
)
