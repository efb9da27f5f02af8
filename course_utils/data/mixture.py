"""Mixtures of Gaussians: data whose density and score are known exactly, before and after any noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True, eq=False)
class Mixture:
    """The density Σ_k w_k N(x; μ_k, Σ_k) of K Gaussians in D dimensions. Make one with `mixture`.

    Attributes:
        weights: w_k, positive, their sum is 1. float64 [K].
        means: μ_k, float64 [K, D].
        covariances: Σ_k, symmetric and positive definite, float64 [K, D, D].

    The methods take points x of any leading shape, [..., D], and answer in the dtype and on the device of x.
    They can be differentiated. Points are worked through in chunks, so a fine grid needs little memory.
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    @property
    def mean(self) -> torch.Tensor:
        """The mean of the whole mixture, Σ_k w_k μ_k. float64 [D]."""
        return self.weights @ self.means

    @property
    def covariance(self) -> torch.Tensor:
        """The covariance of the whole mixture: within the Gaussians plus between them. float64 [D, D]."""
        offsets = self.means - self.mean
        within = torch.einsum("k,kij->ij", self.weights, self.covariances)
        return within + torch.einsum("k,ki,kj->ij", self.weights, offsets, offsets)

    def sample(
        self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """n independent points, [n, D], on the CPU: first which Gaussian, then a point of it.

        The same generator state gives the same points, whatever the dtype.

        Raises:
            ValueError: if n is not a whole number of at least 1.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(
                f"n, the number of points, must be a whole number of at least 1; got {n!r}."
            )
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)  # [n]
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        spread = torch.einsum("nij,nj->ni", torch.linalg.cholesky(self.covariances)[chosen], noise)
        return (self.means[chosen] + spread).to(dtype)

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """log q(x), [...].

        Raises:
            ValueError: if x is not a floating-point tensor [..., D].
        """
        return self._in_chunks(lambda points: self._log_terms(points).logsumexp(dim=-1), x, ())

    def responsibilities(self, x: torch.Tensor) -> torch.Tensor:
        """The probability that x came from each of the Gaussians, [..., K]. Errors as in log_density."""
        return self._in_chunks(
            lambda points: self._log_terms(points).softmax(dim=-1), x, (len(self.weights),)
        )

    def distances(self, x: torch.Tensor) -> torch.Tensor:
        """How many standard deviations x is from each mean (the Mahalanobis distance), [..., K]. Errors as above."""
        return self._in_chunks(
            lambda points: self._whitened(points)[1].norm(dim=-1), x, (len(self.weights),)
        )

    def score(self, x: torch.Tensor) -> torch.Tensor:
        """∇ log q(x), the direction in which the density grows fastest, [..., D]. Errors as in log_density.

        Each Gaussian pulls with Σ_k⁻¹ (μ_k − x), weighted by its responsibility for x.
        """
        return self._in_chunks(self._score, x, (self.means.shape[1],))

    def diffused(self, signal: float | torch.Tensor, variance: float | torch.Tensor) -> "Mixture":
        """The distribution of signal · x + √variance · ε for x from this mixture and ε from N(0, I).

        It is a mixture again, as a scaled Gaussian plus a Gaussian is Gaussian. The forward process at step
        t has signal = √ᾱ_t and variance = 1 − ᾱ_t.

        Raises:
            ValueError: if signal or variance is not one finite number, variance is negative, or both are 0.
        """
        signal, variance = float(signal), float(variance)
        if not (math.isfinite(signal) and 0 <= variance < math.inf) or signal == variance == 0:
            raise ValueError(
                "need a finite signal and a finite variance ≥ 0, not both 0; "
                f"got signal={signal}, variance={variance}."
            )
        identity = torch.eye(self.means.shape[1], dtype=torch.float64)
        return Mixture(
            self.weights, signal * self.means, signal**2 * self.covariances + variance * identity
        )

    @cached_property
    def _whitening(self) -> torch.Tensor:
        """L_k⁻¹, where L_k L_kᵀ = Σ_k: it turns x − μ_k into standard normal noise. [K, D, D]."""
        identity = torch.eye(self.means.shape[1], dtype=torch.float64)
        return torch.linalg.solve_triangular(
            torch.linalg.cholesky(self.covariances), identity, upper=False
        )

    def _whitened(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The whitening and L_k⁻¹ (x − μ_k), in the dtype of the points [N, D]. [K, D, D] and [N, K, D]."""
        whitening = self._whitening.to(points.dtype).to(points.device)
        offsets = points[:, None] - self.means.to(points.dtype).to(points.device)
        return whitening, torch.einsum("kij,nkj->nki", whitening, offsets)

    def _log_terms(self, points: torch.Tensor) -> torch.Tensor:
        """log w_k N(x; μ_k, Σ_k), [N, K]."""
        _, white = self._whitened(points)
        log_scale = self._whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # −½ log det Σ_k
        constant = (
            self.weights.log() + log_scale - 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        )
        return constant.to(points.dtype).to(points.device) - 0.5 * white.square().sum(-1)

    def _score(self, points: torch.Tensor) -> torch.Tensor:
        whitening, white = self._whitened(points)
        shares = self._log_terms(points).softmax(dim=-1)
        return -torch.einsum("nk,kij,nki->nj", shares, whitening, white)

    def _in_chunks(
        self, of_points: Callable, x: torch.Tensor, tail: tuple[int, ...]
    ) -> torch.Tensor:
        """of_points over x [..., D] as a list of points, some at a time. Shaped [...] + tail."""
        K, D = self.means.shape
        if (
            not isinstance(x, torch.Tensor)
            or not x.is_floating_point()
            or x.ndim == 0
            or x.shape[-1] != D
        ):
            got = f"{x.dtype} {list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise ValueError(f"x must be a floating-point tensor of points, [..., {D}]; got {got}.")
        points = x.reshape(-1, D)
        # Two million numbers at a time: 16 MB in float64.
        chunks = points.split(max(1, 2**21 // (K * D)))
        return torch.cat([of_points(chunk) for chunk in chunks]).reshape(x.shape[:-1] + tail)


def mixture(means, std=None, *, weights=None, covariances=None) -> Mixture:
    """The mixture of Gaussians around the given means.

    Args:
        means: K points, [K, D], as a list, an array or a tensor.
        std: the standard deviation of each Gaussian, the same in all directions: one number or [K].
        weights: how often each Gaussian is drawn: K positive numbers, divided by their sum here.
            Equal when left out.
        covariances: [K, D, D], or one [D, D] for all; in place of std, for Gaussians that are not round.

    Raises:
        ValueError: if a shape does not fit, a number is not finite, a weight or std is not positive, a
            covariance is not symmetric and positive definite, or std and covariances are both given or neither.
    """
    means = _numbers("means", means)
    if means.ndim != 2 or means.numel() == 0:
        raise ValueError(f"means needs shape [K, D] with K, D ≥ 1; got {list(means.shape)}.")
    K, D = means.shape
    if (std is None) == (covariances is None):
        raise ValueError("give either std or covariances, one of the two.")
    if covariances is None:
        variance = _positive("std", std, K) ** 2
        covariances = variance[:, None, None] * torch.eye(D, dtype=torch.float64)
    else:
        covariances = _numbers("covariances", covariances)
        if covariances.shape not in ((D, D), (K, D, D)):
            raise ValueError(
                f"covariances needs shape {[K, D, D]} or {[D, D]} here; got {list(covariances.shape)}."
            )
        covariances = covariances.expand(K, D, D).clone()
        symmetric = torch.allclose(covariances, covariances.mT, rtol=1e-9, atol=0)
        if not symmetric or bool(torch.linalg.cholesky_ex(covariances).info.any()):
            raise ValueError("each covariance must be symmetric and positive definite; one is not.")
    weights = _positive("weights", 1.0 if weights is None else weights, K)
    return Mixture(weights / weights.sum(), means, covariances)


def _numbers(name: str, values) -> torch.Tensor:
    values = torch.as_tensor(values, dtype=torch.float64).detach().clone()
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} must be finite; got {values.tolist()}.")
    return values


def _positive(name: str, values, K: int) -> torch.Tensor:
    """One positive number for each Gaussian, [K]."""
    values = _numbers(name, values)
    if values.shape not in ((), (K,)) or not bool((values > 0).all()):
        raise ValueError(
            f"{name} needs one positive number or {K}, one for each Gaussian; got {values.tolist()}."
        )
    return values.expand(K).clone()
