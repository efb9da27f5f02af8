"""Chapter 04's mistakes, made as a learner would and not as the misconception is: they are named."""

import math

import numpy as np
import pytest
import torch
from test_checks_chapter_04_answers import (
    both_in_numpy,
    kl_by_torch,
    losses_flattened,
    weight_in_a_loop,
)
from torch.nn.functional import mse_loss

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import forward, objective


def kl_of_normals_with_variances(mean1, variance1, mean2, variance2):
    q, p = (
        torch.distributions.Normal(mean1, variance1),
        torch.distributions.Normal(mean2, variance2),
    )
    return torch.distributions.kl_divergence(q, p)


def kl_by_torch_reversed(mean1, variance1, mean2, variance2):
    return kl_by_torch(mean2, variance2, mean1, variance1)


def kl_of_the_ruler(mu, variance):
    """Chapter 02's formula, with whatever one takes for the mean and the variance of y."""

    def kl(*four):
        m1, v1, m2, v2 = (a.numpy().astype(float) for a in four)
        s2 = variance(v1, v2)
        return (mu(m1 - m2, v2) ** 2 + s2 - 1 - np.log(s2)) / 2

    return kl


def kl_of_the_textbook(m1, v1, m2, v2):
    return torch.log(v2 / v1) + (v1 + (m1 - m2) ** 2) / (2 * v2) - 0.5


def mean_in_two_steps_with(first=1.0, root=math.sqrt, image=forward.x0_from_eps):
    def mean(schedule, x_t, t, eps):
        a, b, now = schedule.alpha[t].item(), schedule.beta[t].item(), schedule.alpha_bar[t].item()
        before = schedule.alpha_bar[t - 1].item() if t else first
        x0 = image(schedule, x_t, t, eps)
        return root(before) * b / (1 - now) * x0 + root(a) * (1 - before) / (1 - now) * x_t

    return mean


def mean_posterior_without_care(schedule, x_t, t, eps):
    a_bar, a_prev = schedule.alpha_bar[t].item(), schedule.alpha_bar[t - 1].item()
    a = a_bar / a_prev if t else schedule.alpha[0].item()
    x0 = (x_t - (1 - a_bar) ** 0.5 * eps) / a_bar**0.5
    from_x0, from_x_t = a_prev**0.5 * (1 - a) / (1 - a_bar), a**0.5 * (1 - a_prev) / (1 - a_bar)
    return from_x0 * x0 + from_x_t * x_t


def mean_without_parentheses(schedule, x_t, t, eps):
    a, s = schedule.alpha.numpy()[t], schedule.alpha_bar.numpy()[t]
    return 1 / a**0.5 * x_t.numpy() - (1 - a) / (1 - s) ** 0.5 * eps.numpy()


def mean_of_ddim(schedule, x_t, t, eps):
    share = schedule.alpha_bar[t - 1].item() if t else 1.0
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    return share**0.5 * x0 + (1 - share) ** 0.5 * eps


def weight_with_beta(schedule):
    return objective.loss_weight(
        schedule, torch.arange(1, schedule.T), schedule.beta[1:], variance="beta"
    )


def weight_with_a_one_in_front(schedule):
    before = torch.cat([torch.ones(1), schedule.alpha_bar[:-1]])
    beta_tilde = schedule.beta * (1 - before) / (1 - schedule.alpha_bar)
    return schedule.beta**2 / (2 * beta_tilde * schedule.alpha * (1 - schedule.alpha_bar))


def weight_of_a_plain_gap(schedule):
    a, b, n = schedule.alpha.numpy(), schedule.beta.numpy(), schedule.one_minus_alpha_bar.numpy()
    gap = b / np.sqrt(a * n)
    return [gap[t] / (2 * b[t] * n[t - 1] / n[t]) for t in range(1, schedule.T)]


def losses_by_mse(model, schedule, x0, t, eps):
    return mse_loss(model(forward.q_sample(schedule, x0, t, eps), t), eps)


def losses_summed_by_torch(model, schedule, x0, t, eps):
    answer = model(forward.q_sample(schedule, x0, t, eps), t)
    return mse_loss(answer, eps, reduction="none").flatten(1).sum(1)


def losses_without_reshaping(model, schedule, x0, t, eps):
    share = schedule.alpha_bar[t]
    x_t = share.sqrt() * x0 + (1 - share).sqrt() * eps
    return (model(x_t, t) - eps).square().mean((1, 2, 3))


def losses_on_axis(before, after):
    def losses(model, schedule, x0, t, eps):
        share = schedule.alpha_bar[t].reshape([1] * before + [-1] + [1] * after)
        x_t = share.sqrt() * x0 + (1 - share).sqrt() * eps
        return (model(x_t, t) - eps).square().mean((1, 2, 3))

    return losses


def losses_of_x0(model, schedule, x0, t, eps):
    return losses_flattened(lambda x_t, t: model(x_t, t) - x0 + eps, schedule, x0, t, eps)


def losses_in_the_papers_t(model, schedule, x0, t, eps):
    return losses_flattened(lambda x_t, t: model(x_t, t + 1), schedule, x0, t, eps)


def both_with_the_wrong_sign(schedule, x_t, t, eps):
    x0 = forward.x0_from_eps(schedule, x_t, t, eps)
    return x0, (x_t - schedule.alpha_bar[t].sqrt() * x0) / (1 - schedule.alpha_bar[t])


def both_from(image):
    """The score from one's own image, as in −(x_t − √ᾱ x0)/(1−ᾱ)."""

    def both(schedule, x_t, t, eps):
        a = schedule.alpha_bar[t].item()
        x0 = image(x_t.numpy(), eps.numpy(), a**0.5, (1 - a) ** 0.5)
        return x0, -(x_t.numpy() - a**0.5 * x0) / (1 - a)

    return both


def both_by_autograd_of_everything(schedule, x_t, t, eps):
    """x0 hangs on the x by which it is differentiated."""
    x, a = x_t.clone().requires_grad_(), schedule.alpha_bar[t]
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    (-((x - a.sqrt() * x0) ** 2) / (2 * (1 - a))).sum().backward()
    return x0, x.grad


def both_in_numpy_without_the_root(schedule, x_t, t, eps):
    x0, score = both_in_numpy(schedule, x_t, t, eps)
    return x0, score / np.sqrt(1 - schedule.alpha_bar[t].item())


def best_with_plain_exponentials(schedule, x_t, t, data):
    a, x, d = schedule.alpha_bar[t].item(), x_t.numpy(), data.numpy()
    weights = np.exp(-((x[:, None] - a**0.5 * d) ** 2).sum(-1) / (2 * (1 - a)))
    return weights @ d / weights.sum(1, keepdims=True)


def best_with(small=0.0, maximum=lambda logits: 0.0):
    def best(schedule, x_t, t, data):
        a, x, d = schedule.alpha_bar[t].item(), x_t.numpy().astype(float), data.numpy()
        logits = -((x[:, None] - a**0.5 * d) ** 2).sum(-1) / (2 * (1 - a))
        weights = np.exp(logits - maximum(logits))
        return weights @ d / (weights.sum(1, keepdims=True) + small)

    return best


def best_of_the_unfaded(schedule, x_t, t, data):
    a = schedule.alpha_bar[t].item()
    squared = torch.cdist(x_t / a**0.5, data) ** 2
    return torch.softmax(-squared / (2 * (1 - a)), 1) @ data


def best_by_argmin(schedule, x_t, t, data):
    return data[torch.cdist(x_t, schedule.alpha_bar[t].sqrt() * data).argmin(1)]


def best_by_mean_square(schedule, x_t, t, data):
    a = schedule.alpha_bar[t]
    squared = (x_t[:, None] - a.sqrt() * data).square().mean(-1)
    return (-squared / (2 * (1 - a))).softmax(-1) @ data


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("04.1", kl_of_normals_with_variances, "the variances are taken for deviations"),
        ("04.1", kl_by_torch_reversed, "the divergence is taken the other way round"),
        (
            "04.1",
            lambda a, v, b, w: (a - b) ** 2 / (2 * w),
            "only the distance of the means counts",
        ),
        ("04.1", lambda *four: kl_by_torch(*four).numpy() * 2, "the factor ½ is missing"),
        ("04.1", kl_of_the_textbook, "the logarithm is twice too large"),
        (
            "04.1",
            kl_of_the_ruler(lambda gap, v2: gap / v2**0.5, lambda v1, v2: v1),
            "σ² is v1, as if the ruler did not change it",
        ),
        (
            "04.1",
            kl_of_the_ruler(lambda gap, v2: gap / v2**0.5, lambda v1, v2: v1 / v2**0.5),
            "σ² is taken as v1/√v2",
        ),
        (
            "04.1",
            kl_of_the_ruler(lambda gap, v2: gap / v2, lambda v1, v2: v1 / v2**2),
            "x is divided by v2 instead of √v2",
        ),
        (
            "04.1",
            lambda m1, v1, m2, v2: 0.5 * (m1 - m2) ** 2 / v2 + v1 / v2 - 1 - (v1 / v2).log(),
            "½ stands before the first term only",
        ),
        (
            "04.2",
            lambda s, x_t, t, eps: (
                x_t - s.beta[t] / (1 - s.alpha_bar[t]).sqrt() * eps / s.alpha[t].sqrt()
            ),
            "only the noise is divided by √α, not x_t",
        ),
        (
            "04.2",
            lambda s, x_t, t, eps: (x_t - s.beta[t] * eps) / (1 - s.beta[t]) ** 0.5,
            "β eps is removed",
        ),
        (
            "04.2",
            mean_in_two_steps_with(image=lambda s, x, t, e: x - (1 - s.alpha_bar[t]) ** 0.5 * e),
            "goes into the posterior's mean is not divided by √ᾱ",
        ),
        ("04.2", mean_in_two_steps_with(root=float), "both square roots of the posterior's mean"),
        ("04.2", mean_in_two_steps_with(first=0.0), "at t = 0 ᾱ_{t−1} is taken as 0"),
        (
            "04.2",
            lambda s, *rest: mean_in_two_steps_with(first=s.alpha_bar[0].item())(s, *rest),
            "at t = 0 ᾱ_{t−1} is taken as ᾱ_0",
        ),
        ("04.2", mean_posterior_without_care, "ᾱ_{t−1} is taken from the end of the table"),
        ("04.2", mean_without_parentheses, "only x_t is divided by √α"),
        ("04.2", mean_of_ddim, "the noise is put back in full"),
        ("04.2", forward.x0_from_eps, "the clean image is returned"),
        ("04.3", weight_with_beta, "β stands where β̃ belongs"),
        ("04.3", weight_with_a_one_in_front, "T numbers, the first infinite"),
        ("04.3", lambda s: [2 * w for w in weight_in_a_loop(s)], "the factor 2 is missing"),
        ("04.3", lambda s: -np.diff(forward.snr(s)) / 2, "the one of the image's error"),
        ("04.3", weight_of_a_plain_gap, "the distance of the means is not squared"),
        ("04.3", lambda s: [0, *weight_in_a_loop(s)], "with the weight 0: T numbers"),
        (
            "04.3",
            lambda s: (s.beta / (2 * s.alpha**0.5))[1:] / (1 - s.alpha_bar[:-1]),
            "√α stands where α belongs",
        ),
        ("04.4", losses_on_axis(2, 1), "t runs along the rows of the images"),
        ("04.4", losses_on_axis(1, 2), "t runs along the channels of the images"),
        (
            "04.4",
            lambda model, s, x0, t, eps: losses_flattened(model, s, x0, t * 0 + t[0], eps),
            "the whole batch is taken at the first t",
        ),
        ("04.4", losses_by_mse, "the batch is averaged as well"),
        ("04.4", losses_summed_by_torch, "the squares are summed, not averaged"),
        ("04.4", losses_without_reshaping, "t runs along the columns of the images"),
        ("04.4", losses_of_x0, "the model is compared with the clean image"),
        ("04.4", losses_in_the_papers_t, "the model is told t + 1"),
        ("04.5", both_with_the_wrong_sign, "the sign of the score is wrong"),
        ("04.5", both_in_numpy_without_the_root, "the score is divided by 1−ᾱ without the root"),
        ("04.5", both_by_autograd_of_everything, "the score is 0: x̂_0 was differentiated too"),
        ("04.5", lambda s, x, t, e: (forward.x0_from_eps(s, x, t, e), e), "the score is eps"),
        (
            "04.5",
            both_from(lambda x, e, a, n: x - n * e),
            "the image is not divided by √ᾱ, and the score is computed from it",
        ),
        (
            "04.5",
            both_from(lambda x, e, a, n: (x - n**2 * e) / a),
            "the noise is subtracted with 1−ᾱ, without the root, and the score is computed from it",
        ),
        ("04.6", best_with(maximum=np.max), "the maximum over the whole batch is subtracted"),
        ("04.6", best_with(small=1e-12), "a small number is added to the sum of the weights"),
        ("04.6", best_with(small=1e-10), "a small number is added to the sum of the weights"),
        ("04.6", best_of_the_unfaded, "x_t is divided by √ᾱ, and the variance is still 1−ᾱ"),
        ("04.6", best_with_plain_exponentials, "all weights of an x_t are 0, and 0/0 is NaN"),
        ("04.6", best_by_argmin, "the nearest sample is returned"),
        ("04.6", best_by_mean_square, "averaged over the coordinates, not summed"),
        ("04.6", lambda s, x_t, t, d: d.mean(0).expand(x_t.shape), "the plain mean of the data"),
        ("04.6", objective.optimal_eps, "the noise is returned instead of the clean sample"),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert name in str(judge(EXERCISES[exercise], answer).misconception)


def test_noise_of_its_own_is_recognised():
    def draws(model, schedule, x0, t, eps):
        return losses_flattened(model, schedule, x0, t, torch.randn_like(x0))

    assert "Here the noise is given: use eps." in judge(EXERCISES["04.4"], draws).text


def test_t_in_the_shape_of_the_images_is_explained_by_the_model():
    def reshaped(model, schedule, x0, t, eps):
        return losses_flattened(
            lambda x_t, t: model(x_t, t[:, None, None, None]), schedule, x0, t, eps
        )

    assert "the model takes x_t [B, C, H, W] and t, one int or [B]" in " ".join(
        judge(EXERCISES["04.4"], reshaped).text.split()
    )
