"""The forward process at 50 digits, from the β that a schedule holds and the chain's definition alone."""

import mpmath as mp
import torch

from course_utils.diffusion.schedule import Schedule

mp.mp.dps = 50


class ExactChain:
    """What the steps keep, by plain multiplication; where an α is 0, so is every product with it."""

    def __init__(self, schedule: Schedule):
        self.beta = [mp.mpf(b) for b in schedule.beta.tolist()]
        self._product, self._zeros = [mp.mpf(1)], [0]
        for b in self.beta:
            self._product.append(self._product[-1] * (1 - b if b < 1 else 1))
            self._zeros.append(self._zeros[-1] + (b == 1))

    def kept(self, earlier: int, later: int) -> mp.mpf:
        """The product of α over the steps earlier + 1 … later."""
        if self._zeros[later + 1] > self._zeros[earlier + 1]:
            return mp.mpf(0)
        return self._product[later + 1] / self._product[earlier + 1]

    def posterior(self, t: int, t_prev: int) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
        """Weights of x_0 and x_t in the mean of q(x_{t_prev} | x_t, x_0), and its variance.

        From the joint Gaussian of (x_{t_prev}, x_t) by conditioning (the Schur complement), not from the
        formulas of the paper. Where Var(x_t) = 0, x_t is a multiple of x_0 and says nothing more.
        """
        a_prev, a, kept = self.kept(-1, t_prev), self.kept(-1, t), self.kept(t_prev, t)
        covariance = mp.sqrt(kept) * (1 - a_prev)
        if a == 1:
            return mp.mpf(1), mp.mpf(0), mp.mpf(0)
        from_x_t = covariance / (1 - a)
        from_x0 = mp.sqrt(a_prev) - from_x_t * mp.sqrt(a)
        return from_x0, from_x_t, (1 - a_prev) - covariance * from_x_t


def off(got: torch.Tensor | float, exact: mp.mpf) -> float:
    """The relative error; where the exact value is 0, infinity unless it was met exactly."""
    got = mp.mpf(float(got))
    if exact == 0:
        return 0.0 if got == 0 else float("inf")
    return float(abs(got / exact - 1))
