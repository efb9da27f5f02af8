"""10.6: the Fréchet distance between two sets of features."""

import numpy as np
import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _frechet(x, y):
    """By singular values: with centred X and Y, the trace of the root is the sum of those of X Yᵀ."""
    x, y = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    a = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    b = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root


def _cases() -> tuple[Case, ...]:
    def cloud(seed, n, dimensions, moved):
        """Points with a covariance of their own, correlated."""
        mix = normal(seed + 1, dimensions, dimensions).double()
        return normal(seed, n, dimensions).double() @ mix + moved * normal(seed + 2, dimensions)

    def case(says, n, m, dimensions, moved, seed):
        says = f"x of shape [{n}, {dimensions}] and y of shape [{m}, {dimensions}]{says}"
        x, y = cloud(seed, n, dimensions, moved), cloud(seed + 10, m, dimensions, moved)
        return Case(says, (x, y))

    same = cloud(760, 30, 3, 1.0)
    # With these seeds the diagonal of A B is positive, so that roots of its numbers are real.
    return (
        case("", 20, 20, 4, 1.0, 700),
        case("", 40, 25, 3, 1.0, 714),
        case(", with fewer points than features in x", 4, 15, 6, 1.0, 745),
        Case(
            "x and y the same 30 points [30, 3], but for a move by (1, 2, 2)",
            (same, same + torch.tensor([1.0, 2, 2])),
        ),
    )


def _moments(x, ddof=1):
    centred = x - x.mean(0)
    return x.mean(0), centred.T @ centred / (len(x) - ddof)


def _eigenvalues(S):
    return torch.linalg.eigvalsh(S).clamp(min=0)


def _root(S):
    values, vectors = torch.linalg.eigh(S)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def _cross(A, B):
    """The trace of (A B)^½, by the symmetric matrix that has the same eigenvalues."""
    half = _root(A)
    return torch.linalg.eigvalsh(half @ B @ half).clamp(min=0).sqrt().sum()


def _with(
    moved=lambda d: d.square().sum(),
    cross=_cross,
    merge=lambda moved, A, B, cross: moved + A.trace() + B.trace() - 2 * cross,
    ddof=1,
):
    """The exercise with other pieces: of the means' difference, of the covariances, and their sum."""

    def wrong(x, y):
        (m, A), (n, B) = _moments(x, ddof), _moments(y, ddof)
        return merge(moved(m - n), A, B, cross(A, B))

    return wrong


def _roots_not_clamped(A, B):
    return torch.linalg.eigvals(A @ B).real.double().sub(1e-12).sqrt().sum()


def _of_rows(x, y):
    """torch.cov takes rows for variables: [N, N] in the place of [D, D]."""
    A, B = torch.cov(x), torch.cov(y)
    return (x.mean(0) - y.mean(0)).square().sum() + A.trace() + B.trace() - 2 * _cross(A, B)


def _uncentred(x, y):
    A, B = x.T @ x / (len(x) - 1), y.T @ y / (len(y) - 1)
    return (x.mean(0) - y.mean(0)).square().sum() + A.trace() + B.trace() - 2 * _cross(A, B)


EXERCISE = Exercise(
    id="10.6",
    title="The Fréchet distance by hand",
    difficulty=3,
    minutes=15,
    reference=_frechet,
    returns=("distance",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the difference of the means is not squared",
            "Its square belongs to variances; the length itself has another unit.",
            _with(moved=lambda d: d.norm()),
        ),
        Misconception(
            "the squared differences of the means are averaged over the features",
            "It is a squared length, the sum over all features.",
            _with(moved=lambda d: d.square().mean()),
        ),
        Misconception(
            "the differences of the means are added up before they are squared",
            "Then differences of opposite signs cancel. Square each, then add.",
            _with(moved=lambda d: d.sum().square()),
        ),
        Misconception(
            "each mean is taken over all numbers",
            "x.mean() is a single number. μ has one for each feature, the mean over the points: x.mean(0).",
            _with(moved=lambda d: d.mean().square()),
        ),
        Misconception(
            "the means are not used",
            "Two sets of the same shape, far apart, would be at distance 0.",
            _with(moved=lambda d: 0 * d.sum()),
        ),
        Misconception(
            "the covariances are not used",
            "A model that draws its best picture again and again has the right mean, and no spread. That would "
            "not be seen.",
            _with(merge=lambda moved, A, B, cross: moved),
        ),
        Misconception(
            "the covariances are divided by N, not by N − 1",
            "The mean was estimated from the same points, so they lie closer to it than to the true mean. With "
            "few points the bias counts.",
            _with(ddof=0),
        ),
        Misconception(
            "the points are not centred before the covariance is computed",
            "XᵀX/(N − 1) holds the mean, too, which then counts twice. Subtract it first.",
            _uncentred,
        ),
        Misconception(
            "the covariance is taken between points, not between features",
            "torch.cov and np.cov take rows for variables, and yours are the columns: transpose, or say "
            "rowvar=False.",
            _of_rows,
        ),
        Misconception(
            "the 2 before the root is missing",
            "Two equal sets would not be at distance 0: A + A − 2 (A A)^½ is.",
            _with(merge=lambda moved, A, B, cross: moved + A.trace() + B.trace() - cross),
        ),
        Misconception(
            "the root is added, not subtracted",
            "Two equal sets would be furthest apart.",
            _with(merge=lambda moved, A, B, cross: moved + A.trace() + B.trace() + 2 * cross),
        ),
        Misconception(
            "the root is taken of each number of the product, not of the matrix",
            "R with R R = A B is wanted; torch.sqrt takes the root of each number by itself, and gives NaN for "
            "negative ones. For diagonal matrices the two agree, but A B is none.",
            _with(cross=lambda A, B: (A @ B).sqrt().trace()),
        ),
        Misconception(
            "only the variance of each feature counts, not how the features go together",
            "That is what A * B does, which multiplies number by number: use A @ B. As it is, a set whose features "
            "are correlated looks like one whose features are not.",
            _with(cross=lambda A, B: (A * B).diagonal().sqrt().sum()),
        ),
        Misconception(
            "no root is taken of the product",
            "A B has the unit of a variance squared, and cannot be subtracted from A + B.",
            _with(cross=lambda A, B: (A @ B).trace()),
        ),
        Misconception(
            "the root is taken of the trace",
            "First the root, of each eigenvalue by itself, then the sum.",
            _with(cross=lambda A, B: (A @ B).trace().sqrt()),
        ),
        Misconception(
            "it is the product of the two roots",
            "A^½ B^½ is the root of A B only where A and B commute. Otherwise its trace is smaller, and the "
            "distance too large.",
            _with(cross=lambda A, B: (_root(A) @ _root(B)).trace()),
        ),
        Misconception(
            "the eigenvalues of the two covariances are multiplied in pairs",
            "They belong to different directions. Only where the axes of the two clouds agree are the products "
            "the eigenvalues of A B.",
            _with(cross=lambda A, B: (_eigenvalues(A) * _eigenvalues(B)).sqrt().sum()),
        ),
        Misconception(
            "A B is taken for symmetric",
            "eigvalsh and eigh read one half of the matrix and believe it of the other. A B is not symmetric: "
            "use eigvals, or the symmetric A^½ B A^½.",
            _with(cross=lambda A, B: torch.linalg.eigvalsh(A @ B).clamp(min=0).sqrt().sum()),
        ),
        Misconception(
            "roots are taken of eigenvalues that rounding made negative",
            "With fewer points than features some eigenvalues are 0, and come out as ±1e-17. clamp(min=0) "
            "before the root, or all is NaN.",
            _with(cross=_roots_not_clamped),
        ),
        Misconception(
            "singular values stand in the place of eigenvalues",
            "They agree for symmetric matrices without negative eigenvalues, and A B is not symmetric.",
            _with(cross=lambda A, B: torch.linalg.svdvals(A @ B).sqrt().sum()),
        ),
        Misconception(
            "the root is taken of the whole distance",
            "Fréchet's distance in the strict sense is that root. What everybody reports as FID is its square.",
            lambda x, y: _with()(x, y).clamp(min=0).sqrt(),
        ),
        Misconception(
            "it is divided by the number of features",
            "The distance is a sum over features, not a mean.",
            lambda x, y: _with()(x, y) / x.shape[1],
        ),
    ),
    hints=(
        "Means and covariances first: x - x.mean(0), then XᵀX / (N - 1). Of the root you only need the trace, "
        "and the trace of a matrix is the sum of its eigenvalues.",
        "The eigenvalues of the root of A B are the roots of those of A B. torch.linalg.eigvals(A @ B) gives "
        "them as complex numbers; take .real, and .clamp(min=0) before the root.",
        "A, B = torch.cov(x.T), torch.cov(y.T)\n"
        "root = torch.linalg.eigvals(A @ B).real.clamp(min=0).sqrt().sum()\n"
        "return (x.mean(0) - y.mean(0)).square().sum() + A.trace() + B.trace() - 2 * root",
    ),
    success=(
        "That is the F and the D of FID. The I is a network that says what to compare: your distance is as good "
        "as the features that you give it."
    ),
    rtol=5e-4,  # for float32, where roots of rounded zeros are no longer small
    atol=1e-4,
)
