"""Single steps of the samplers in double precision against their formulas at 50 digits."""

from itertools import product

import mpmath as mp
import pytest
import torch
from draws import normal
from exact_chain import ExactChain

from course_utils.diffusion import schedule
from course_utils.diffusion.objective import PREDICTIONS, VARIANCES
from course_utils.diffusion.samplers import ddim_step, ddpm_step

EXACT = {
    "linear": schedule.linear(),
    "cosine": schedule.cosine(),
    "short": schedule.linear(4, 0.1, 0.4),
    "zero terminal": schedule.zero_terminal_snr(schedule.linear()),
    "quiet at first": schedule.from_beta([0.0, 0.0, 0.1, 0.3, 0.9, 0.999]),
}


class Sum:
    """A sum at 50 digits that also keeps the sum of the absolute values, its scale."""

    def __init__(self, *terms):
        self.value = sum(
            (mp.mpf(a) * (b.value if isinstance(b, Sum) else b) for a, b in terms), mp.mpf(0)
        )
        self.scale = sum(
            (abs(mp.mpf(a)) * (b.scale if isinstance(b, Sum) else abs(b)) for a, b in terms),
            mp.mpf(0),
        )

    def misses(self, got):
        return 0.0 if self.value == got else float(abs(mp.mpf(got) - self.value) / self.scale)


def halves(a, output, x_t, prediction):
    """x_0 and eps as the definitions of the three predictions give them; a is ᾱ_t."""
    s, n = mp.sqrt(a), mp.sqrt(1 - a)
    if prediction == "eps":
        return Sum((1 / s, x_t), (-n / s, output)), Sum((1, output))
    if prediction == "x0":
        return Sum((1, output)), Sum((1 / n, x_t), (-s / n, output)) if n else Sum((0, 1))
    return Sum((s, x_t), (-n, output)), Sum((s, output), (n, x_t))


@pytest.mark.parametrize("name", EXACT)
def test_steps_have_twelve_digits(name):
    made = EXACT[name]
    chain = ExactChain(made)
    T = made.T
    x_t, output, noise = normal(3)
    x_t, output, noise = ([v] for v in (x_t.item(), output.item(), noise.item()))
    tensors = [torch.tensor(v, dtype=torch.float64) for v in (output, x_t, noise)]
    hops = {
        (0, -1),
        (1, 0),
        (T // 2, T // 2 - 1),
        (T - 1, T - 2),
        (T - 1, 0),
        (T - 1, -1),
        (T // 2, 1),
    }
    hops = {(t, t_prev) for t, t_prev in hops if t_prev < t}
    worst = {}
    for (t, t_prev), prediction in product(hops, PREDICTIONS):
        a, a_prev, kept = chain.kept(-1, t), chain.kept(-1, t_prev), chain.kept(t_prev, t)
        if prediction == "eps" and a == 0:
            continue
        x0, eps = halves(a, output[0], x_t[0], prediction)
        w0, wt, tilde = chain.posterior(t, t_prev)
        for variance in VARIANCES:
            sigma = mp.sqrt(tilde if variance == "posterior" else 1 - kept) if t_prev >= 0 else 0
            right = Sum((w0, x0), (wt, x_t[0]), (sigma, noise[0]))
            step = ddpm_step(
                made,
                tensors[0],
                t,
                tensors[1],
                t_prev=t_prev,
                prediction=prediction,
                variance=variance,
                noise=tensors[2],
            )
            worst["ddpm", variance, t, t_prev, prediction] = right.misses(step.x.item())
        for eta, final in product((0, 0.5, 1), (1.0, made.alpha_bar[0].item())):
            end = (1 if final == 1 else chain.kept(-1, 0)) if t_prev == -1 else a_prev
            left = a / end if t_prev == -1 else kept  # ᾱ_t / ᾱ_{t_prev}
            # Equation 16. Where x_t has no noise yet, none can be drawn anew.
            sigma = eta * mp.sqrt(max((1 - end) / (1 - a) * (1 - left), 0)) if a < 1 else mp.mpf(0)
            rest = max(1 - end - sigma**2, mp.mpf(0))
            right = Sum((mp.sqrt(end), x0), (mp.sqrt(rest), eps), (sigma, noise[0]))
            step = ddim_step(
                made,
                tensors[0],
                t,
                tensors[1],
                t_prev=t_prev,
                eta=eta,
                prediction=prediction,
                noise=tensors[2],
                final_alpha_bar=final,
            )
            lost = (
                1e-15 * float((1 - end) / mp.sqrt(rest)) if rest else 0
            )  # in 1 − ᾱ − σ², with η = 1
            worst["ddim", eta, final, t, t_prev, prediction] = right.misses(step.x.item()) - lost
    assert {k: v for k, v in worst.items() if not v < 1e-12} == {}
