"""A measured number and how far it may be off."""

from dataclasses import dataclass

import torch
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval.

    Attributes:
        value: the estimate.
        low, high: the ends of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} … {self.high:.3g})"


def mean_estimate(values: torch.Tensor) -> Estimate:
    """The mean of independent measurements, with Student's 95 % interval.

    Args:
        values: [N], N ≥ 2 independent measurements of one thing.

    Raises:
        ValueError: if there are fewer than two, or one is not finite.
    """
    values = torch.as_tensor(values, dtype=torch.float64).flatten()
    if len(values) < 2 or not bool(values.isfinite().all()):
        raise ValueError(f"need two or more finite measurements; got {values.tolist()[:5]}.")
    mean = values.mean().item()
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * values.std().item() / len(values) ** 0.5
    return Estimate(mean, mean - reach, mean + reach)


def share_estimate(hits: int, n: int) -> Estimate:
    """The share of hits in n independent tries, with Wilson's 95 % interval.

    Raises:
        ValueError: if n < 1 or hits is not in 0 … n.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"need 0 ≤ hits ≤ n and n ≥ 1; got hits={hits}, n={n}.")
    low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return Estimate(hits / n, float(low), float(high))
