"""The exactness of the toys: density against quadrature and scipy, score against autograd, all against samples."""

import math

import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import multivariate_normal

from course_utils import data

SKEWED = data.mixture(
    [[-1.0, 0.5], [0.8, -0.3], [0.2, 1.1]],
    covariances=[[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.15], [-0.15, 0.4]], [[0.05, 0.0], [0.0, 0.6]]],
    weights=[1.0, 2.0, 0.5],
)
TOYS = {
    "skewed": SKEWED,
    "two": data.two_gaussians(),
    "ring": data.ring_of_gaussians(8),
    "grid": data.grid_of_gaussians(5),
    "spiral": data.spiral(),
    "moons": data.moons(),
}
every_toy = pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS.keys())


def square(n: int, half: float) -> tuple[torch.Tensor, float]:
    """The midpoints of n × n cells of [−half, half]², [n, n, 2], and the area of one."""
    line = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1) * half
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1), (2 * half / n) ** 2


@every_toy
def test_density_and_its_moments_by_quadrature(toy):
    grid, area = square(300, 6.0)
    # The midpoint rule: exponentially exact for smooth decaying densities.
    mass = toy.log_density(grid).exp() * area
    assert float(mass.sum()) == pytest.approx(1, abs=1e-9)
    mean = (mass[..., None] * grid).sum(dim=(0, 1))
    torch.testing.assert_close(mean, toy.mean, atol=1e-9, rtol=0)
    offsets = grid - mean
    covariance = torch.einsum("xy,xyi,xyj->ij", mass, offsets, offsets)
    torch.testing.assert_close(covariance, toy.covariance, atol=1e-8, rtol=0)


@every_toy
def test_samples_have_the_moments(toy):
    x = toy.sample(40_000, torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = toy.covariance.diagonal()
    assert ((x.mean(dim=0) - toy.mean).abs() < 4.5 * (spread / len(x)).sqrt()).all()
    torch.testing.assert_close(x.T.cov(), toy.covariance, atol=0.04, rtol=0)


@every_toy
def test_samples_follow_the_density(toy):
    """Cells of the plane are hit as often as the density says: a χ² test on some hundred cells."""
    n, fine = 40_000, 8
    grid, area = square(30 * fine, 3.0)
    mass = (
        (toy.log_density(grid).exp() * area).reshape(30, fine, 30, fine).sum(dim=(1, 3)).flatten()
    )
    x = toy.sample(n, torch.Generator().manual_seed(1), dtype=torch.float64)
    cells = ((x + 3) / 6 * 30).floor().long()
    inside = ((cells >= 0) & (cells < 30)).all(dim=-1)
    hits = torch.bincount(cells[inside] @ torch.tensor([30, 1]), minlength=900)
    likely = mass * n > 10
    chi2 = float(((hits - mass * n)[likely] ** 2 / (mass * n)[likely]).sum())
    count = int(likely.sum())
    assert count > 25
    assert chi2 < count + 5 * math.sqrt(2 * count)


def test_distances_are_those_of_mahalanobis():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    for k, (mean, covariance) in enumerate(zip(SKEWED.means, SKEWED.covariances, strict=True)):
        inverse = torch.linalg.inv(covariance)
        for point, distance in zip(x, SKEWED.distances(x)[:, k], strict=True):
            right = mahalanobis(point, mean, inverse)
            assert float(distance) == pytest.approx(right, rel=1e-12)


def test_log_density_against_scipy():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    parts = [
        float(weight) * multivariate_normal(mean.numpy(), covariance.numpy()).pdf(x.numpy())
        for weight, mean, covariance in zip(
            SKEWED.weights, SKEWED.means, SKEWED.covariances, strict=True
        )
    ]
    theirs = torch.tensor(sum(parts))
    torch.testing.assert_close(SKEWED.log_density(x), theirs.log(), rtol=1e-12, atol=1e-12)
    shares = torch.stack([torch.tensor(part) for part in parts], dim=-1) / theirs[:, None]
    torch.testing.assert_close(SKEWED.responsibilities(x), shares, rtol=1e-9, atol=1e-12)


@every_toy
def test_score_is_the_gradient_of_the_log_density(toy):
    for scale in (1.0, 10.0):  # near the data, and where every density underflows
        x = (
            torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            * scale
        )
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(toy.log_density(x).sum(), x)
        torch.testing.assert_close(toy.score(x.detach()), gradient, rtol=1e-9, atol=1e-9)
        assert gradient.isfinite().all()


def test_score_can_be_differentiated():
    x = torch.randn(
        4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    assert torch.autograd.gradcheck(TOYS["ring"].score, x)


def test_single_precision_is_close_to_double():
    x = TOYS["spiral"].sample(500, torch.Generator().manual_seed(0), dtype=torch.float64)
    for toy in TOYS.values():
        torch.testing.assert_close(toy.score(x.float()), toy.score(x).float(), rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(
            toy.log_density(x.float()), toy.log_density(x).float(), rtol=1e-3, atol=1e-3
        )


def test_one_gaussian_in_closed_form():
    gaussian = data.mixture([[1.0, -2.0, 0.5]], 0.7)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offsets = x - torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(gaussian.score(x), -offsets / 0.49, rtol=1e-12, atol=0)
    log_density = -offsets.square().sum(-1) / 0.98 - 3 * math.log(0.7 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(gaussian.log_density(x), log_density, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(2,), (4, 2), (3, 0, 2), (2, 3, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_leading_shape_in_the_dtype_of_x(shape, dtype):
    x = torch.zeros(shape, dtype=dtype)
    for answer, tail in (
        (SKEWED.log_density(x), ()),
        (SKEWED.score(x), (2,)),
        (SKEWED.responsibilities(x), (3,)),
        (SKEWED.distances(x), (3,)),
    ):
        assert answer.shape == shape[:-1] + tail
        assert answer.dtype == dtype


def test_chunks_change_nothing():
    spiral = TOYS["spiral"]
    # 20,000 points × 266 Gaussians: several chunks.
    x = spiral.sample(20_000, torch.Generator().manual_seed(0))
    one_by_one = torch.stack([spiral.score(point) for point in x[::2000]])
    torch.testing.assert_close(spiral.score(x)[::2000], one_by_one)


@pytest.mark.parametrize("alpha_bar", [1.0, 0.9, 0.3, 1e-4, 0.0])
def test_diffused_against_noised_samples(alpha_bar):
    generator = torch.Generator().manual_seed(0)
    x0 = SKEWED.sample(40_000, generator, dtype=torch.float64)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    x_t = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * eps
    q = SKEWED.diffused(alpha_bar**0.5, 1 - alpha_bar)
    torch.testing.assert_close(x_t.mean(dim=0), q.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(x_t.T.cov(), q.covariance, atol=0.04, rtol=0)
    # The mean log density over samples of q itself and over the noised samples is the same negative entropy.
    own = q.sample(40_000, generator, dtype=torch.float64)
    assert float(q.log_density(x_t).mean()) == pytest.approx(
        float(q.log_density(own).mean()), abs=0.03
    )


def test_diffused_density_is_the_convolution():
    """q(x_t) = ∫ q(x_0) N(x_t; √ᾱ x_0, (1 − ᾱ) I) dx_0, by quadrature at some points."""
    signal, variance = 0.8, 0.36
    x0, area = square(400, 5.0)
    prior = SKEWED.log_density(x0).exp() * area
    for x_t in ([0.0, 0.0], [0.7, -0.4], [-1.5, 1.0]):
        x_t = torch.tensor(x_t, dtype=torch.float64)
        kernel = torch.exp(-(x_t - signal * x0).square().sum(-1) / (2 * variance)) / (
            2 * math.pi * variance
        )
        density = SKEWED.diffused(signal, variance).log_density(x_t).exp()
        assert float(density) == pytest.approx(float((prior * kernel).sum()), rel=1e-9)


def test_pure_noise_is_the_standard_normal():
    noise = TOYS["spiral"].diffused(0.0, 1.0)
    x = torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise.score(x), -x, rtol=1e-12, atol=1e-12)


def test_same_seed_same_points_whatever_the_dtype():
    def draw(seed, dtype):
        return SKEWED.sample(100, torch.Generator().manual_seed(seed), dtype=dtype)

    torch.testing.assert_close(
        draw(5, torch.float32), draw(5, torch.float64).float(), rtol=0, atol=0
    )
    assert not torch.equal(draw(5, torch.float64), draw(6, torch.float64))


@pytest.mark.parametrize("name", ["two", "ring", "grid", "spiral", "moons"])
def test_ready_made_ones_have_the_scale_of_the_noise(name):
    toy = TOYS[name]
    assert toy.mean.abs().max() < 1e-12
    average = float(toy.covariance.diagonal().mean())
    assert average == pytest.approx(
        1, abs=1e-9 if name in ("spiral", "moons") else 0.6 if name == "two" else 0.02
    )


def test_modes_are_where_they_should_be():
    ring, grid = TOYS["ring"], TOYS["grid"]
    assert len(ring.means) == 8
    torch.testing.assert_close(ring.means.norm(dim=-1), torch.full((8,), 1.4, dtype=torch.float64))
    between = (ring.means - ring.means.roll(1, 0)).norm(dim=-1)
    torch.testing.assert_close(
        between, torch.full((8,), 2 * 1.4 * math.sin(math.pi / 8), dtype=torch.float64)
    )
    assert len(grid.means) == 25
    distances = torch.cdist(grid.means, grid.means) + 10 * torch.eye(25)
    torch.testing.assert_close(
        distances.min(dim=0).values, torch.full((25,), 0.7, dtype=torch.float64)
    )


@pytest.mark.parametrize("toy", [data.spiral(), data.spiral(3, 0.02), data.spiral(0.5, 0.1)])
def test_the_spiral_is_even_and_shows_no_beads(toy):
    gaps = (toy.means[1:] - toy.means[:-1]).norm(dim=-1)
    std = float(toy.covariances[0, 0, 0].sqrt())
    assert gaps.max() <= 1.001 * std
    assert gaps.min() > 0.8 * std  # a chord across the tight first turn is shorter than its arc


def test_curves_are_smooth_along_their_ridge():
    """On the upper half circle, away from its ends, the density is as good as constant."""
    moon = data.moons(0.05)
    half = moon.means[: len(moon.means) // 2]
    ridge = torch.cat([half, (half[1:] + half[:-1]) / 2])  # on the Gaussians and between them
    top = ridge[(ridge[:, 1] > half[:, 1].max() - 0.15)]
    density = moon.log_density(top)
    assert len(top) > 15
    # Chord midpoints lie a little inside of the circle, which alone makes a difference of some 1e-4.
    assert float(density.max() - density.min()) < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(means=[[0.0, 0.0]]), "either std or covariances"),
        (dict(means=[[0.0, 0.0]], std=1.0, covariances=torch.eye(2)), "either std or covariances"),
        (dict(means=[0.0, 0.0], std=1.0), r"shape \[K, D\]"),
        (dict(means=torch.zeros(0, 2), std=1.0), r"shape \[K, D\]"),
        (dict(means=[[0.0, math.nan]], std=1.0), "means must be finite"),
        (dict(means=[[0.0, 0.0]], std=0.0), "std needs one positive"),
        (dict(means=[[0.0, 0.0]], std=math.inf), "std must be finite"),
        (dict(means=[[0.0], [1.0]], std=[1.0, 1.0, 1.0]), "std needs one positive number or 2"),
        (dict(means=[[0.0], [1.0]], std=1.0, weights=[1.0, 0.0]), "weights needs"),
        (dict(means=[[0.0], [1.0]], std=1.0, weights=[1.0]), "weights needs"),
        (dict(means=[[0.0, 0.0]], covariances=[[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (dict(means=[[0.0, 0.0]], covariances=[[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (dict(means=[[0.0, 0.0]], covariances=[1.0, 1.0]), "covariances needs shape"),
    ],
)
def test_mixture_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.mixture(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SKEWED.sample(0), "at least 1"),
        (lambda: SKEWED.sample(2.5), "at least 1"),
        (lambda: SKEWED.score(torch.zeros(4, 3)), r"\[..., 2\]; got torch.float32 \[4, 3\]"),
        (lambda: SKEWED.score(torch.zeros(4, 2, dtype=torch.int64)), "floating-point"),
        (lambda: SKEWED.log_density([0.0, 0.0]), "got list"),
        (lambda: SKEWED.log_density(torch.tensor(0.0)), "points"),
        (lambda: SKEWED.diffused(0.0, 0.0), "not both 0"),
        (lambda: SKEWED.diffused(1.0, -0.1), "variance ≥ 0"),
        (lambda: SKEWED.diffused(math.nan, 1.0), "finite"),
        (lambda: data.ring_of_gaussians(0), "modes"),
        (lambda: data.grid_of_gaussians(2.0), "side"),
        (lambda: data.spiral(turns=0), "turns"),
        (lambda: data.spiral(std=1.0), "0 < std < 1"),
        (lambda: data.moons(0.0), "0 < std < 1"),
    ],
)
def test_toys_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
