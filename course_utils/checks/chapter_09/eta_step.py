"""09.2: one step of DDIM, with η."""

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.chapter_08.material import follow, root, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _eta_step(schedule, eps, t, t_prev, x_t, eta, noise):
    """The image as x_t holds it, carried over; the noise split into old and new by an angle."""
    early, late = share(schedule, t_prev), share(schedule, t)
    carried = (early / late) ** 0.5 * (x_t - (1 - late) ** 0.5 * eps)
    if t_prev == -1:
        return carried
    new = eta * ((1 - late / early) / (1 - late)) ** 0.5  # σ, in units of all the noise at t_prev
    return carried + (1 - early) ** 0.5 * ((1 - new**2) ** 0.5 * eps + new * noise)


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, t, t_prev, eta, seed):
        eps, x_t, noise = points(seed, 3, 2, 2, 4, 3)
        says = f"{says}, from t = {t} to {t_prev}, eta = {eta}"
        return Case(says, (schedule, eps, t, t_prev, x_t, eta, noise))

    uneven = from_beta(UNEVEN)
    return (
        case("ten uneven steps", uneven, 7, 3, 0.6, 41),
        case("ten uneven steps", uneven, 6, 2, 0.0, 42),
        case("ten uneven steps", uneven, 4, 3, 1.0, 43),
        case("ten uneven steps", uneven, 2, 0, 0.9, 47),
        case("ten uneven steps, the last step", uneven, 2, -1, 0.8, 44),
        case("ten uneven steps, the last step", uneven, 0, -1, 0.0, 45),
        case("1000 linear steps", linear(1000), 480, 460, 0.3, 46),
    )


RECIPE = {
    "early": lambda n: share(n.schedule, n.t_prev),
    "late": lambda n: share(n.schedule, n.t),
    "added": lambda n: 1 - n.late / n.early,
    "x0": lambda n: (n.x_t - root(1 - n.late) * n.eps) / root(n.late),
    "beta_tilde": lambda n: n.added * (1 - n.early) / (1 - n.late),
    "sigma2": lambda n: n.eta**2 * n.beta_tilde,
    "sigma": lambda n: root(n.sigma2),
    "signal": lambda n: root(n.early),
    "old": lambda n: root(1 - n.early - n.sigma2),
    "direction": lambda n: n.old * n.eps,
    "x_prev": lambda n: n.signal * n.x0 + n.direction + n.sigma * n.noise,
}


def _off(**slips):
    def wrong(schedule, eps, t, t_prev, x_t, eta, noise):
        given = {"schedule": schedule, "eps": eps, "t": t, "t_prev": t_prev}
        return follow(RECIPE, given | {"x_t": x_t, "eta": eta, "noise": noise}, slips).x_prev

    return wrong


EXERCISE = Exercise(
    id="09.2",
    title="A step with η",
    difficulty=2,
    minutes=15,
    reference=_eta_step,
    returns=("x_prev",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "σ is not removed from the direction term",
            "New noise comes in place of old, not on top of it: only √(1−ᾱ_s−σ²) of the old is put back. Yours "
            "has more noise than the model was trained on at s.",
            _off(old=lambda n: root(1 - n.early)),
        ),
        Misconception(
            "the square root of the direction term is forgotten",
            "1−ᾱ_s−σ² is the variance of the old noise that is put back. Its root multiplies eps.",
            _off(old=lambda n: 1 - n.early - n.sigma2),
        ),
        Misconception(
            "σ is removed from the direction term, where σ² belongs",
            "Under the root stand variances: 1−ᾱ_s of all the noise, and σ² of the new.",
            _off(old=lambda n: root(1 - n.early - n.sigma)),
        ),
        Misconception(
            "the direction term is √(1−ᾱ_s) − σ, a difference of deviations",
            "Variances of independent noises add, deviations do not. Subtract under the root: √(1−ᾱ_s−σ²).",
            _off(old=lambda n: root(1 - n.early) - n.sigma),
        ),
        Misconception(
            "ᾱ_t stands where ᾱ_s belongs, in image and noise",
            "Then the step mixes x_t anew and stays where it was. At s there is more image and less noise.",
            _off(signal=lambda n: root(n.late), old=lambda n: root(1 - n.late - n.sigma2)),
        ),
        Misconception(
            "the image is mixed in with √ᾱ_t instead of √ᾱ_s",
            "At s, where the step goes, the image has faded less.",
            _off(signal=lambda n: root(n.late)),
        ),
        Misconception(
            "the direction term has ᾱ_t instead of ᾱ_s",
            "1−ᾱ_t is the noise where the step comes from. Where it goes there is 1−ᾱ_s.",
            _off(old=lambda n: root(1 - n.late - n.sigma2)),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "The DDIM paper writes α_t for what everybody else calls ᾱ_t. schedule.alpha is what a single step "
            "keeps.",
            _off(
                early=lambda n: float(n.schedule.alpha[n.t_prev]) if n.t_prev >= 0 else 1.0,
                late=lambda n: float(n.schedule.alpha[n.t]),
            ),
        ),
        Misconception(
            "at the last step ᾱ_s is read from alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 the image is clean: ᾱ = 1.",
            _off(early=lambda n: float(n.schedule.alpha_bar[n.t_prev])),
        ),
        Misconception(
            "the last step goes to step 0, with its ᾱ_0, not to the clean image",
            "Some samplers do that, and leave as much noise as step 0 has. Here the walk ends at −1, where ᾱ is 1.",
            _off(early=lambda n: share(n.schedule, max(n.t_prev, 0))),
        ),
        Misconception(
            "noise is added at the last step",
            "On the way to the clean image σ is 0: what has arrived is the result.",
            _off(sigma=lambda n: root(n.sigma2) if n.t_prev >= 0 else n.eta * root(n.added)),
        ),
        Misconception(
            "the new noise is left out at t_prev = 0 already",
            "Step 0 still has noise in it here. The clean image is at −1, and there σ is 0 by itself: no if is "
            "needed.",
            _off(sigma=lambda n: root(n.sigma2) if n.t_prev > 0 else 0.0),
        ),
        Misconception(
            "σ is set to 0 at t_prev = 0 already",
            "Step 0 still has noise in it here. The clean image is at −1, and there σ is 0 by itself: no if is "
            "needed.",
            _off(sigma2=lambda n: n.eta**2 * n.beta_tilde if n.t_prev > 0 else 0.0),
        ),
        Misconception(
            "η is not squared in σ²",
            "σ = η √β̃ is a deviation. Its square has η².",
            _off(sigma2=lambda n: n.eta * n.beta_tilde),
        ),
        Misconception(
            "η is squared twice",
            "σ = η √β̃, and σ² = η² β̃: η is a factor of the deviation.",
            _off(sigma2=lambda n: n.eta**4 * n.beta_tilde),
        ),
        Misconception(
            "η is not used: it is always 0",
            "η says how much of the noise is drawn anew, and 0 is only one choice.",
            _off(sigma2=lambda n: 0.0),
        ),
        Misconception(
            "η is not used: it is always 1",
            "η says how much of the noise is drawn anew. With 1 the step is that of ancestral sampling.",
            _off(sigma2=lambda n: n.beta_tilde),
        ),
        Misconception(
            "η is in the new noise only: the direction term takes away all of β̃",
            "This is the ancestral step with less new noise, and leaves too little at s. As much variance as comes "
            "in anew must be taken from the old noise: σ² = η² β̃ in both places.",
            _off(old=lambda n: root(1 - n.early - n.beta_tilde)),
        ),
        Misconception(
            "η is in the direction term only: the new noise has all of β̃",
            "As much variance as is taken from the old noise comes in anew: σ = η √β̃ in both places.",
            _off(sigma=lambda n: root(n.beta_tilde)),
        ),
        Misconception(
            "σ² multiplies the new noise, where σ belongs",
            "Noise of variance 1, multiplied by c, has variance c². So c is σ.",
            _off(sigma=lambda n: n.sigma2),
        ),
        Misconception(
            "the new noise is left out, but its room is made",
            "The direction term was made smaller by σ²; something of that variance must take its place.",
            _off(sigma=lambda n: 0.0),
        ),
        Misconception(
            "σ is made of β instead of β̃",
            "With η = 1 this step is to be that of ancestral sampling with β̃; with β there may be more new noise "
            "than all the noise at s.",
            _off(beta_tilde=lambda n: n.added if n.t_prev >= 0 else 0.0),
        ),
        Misconception(
            "σ is made of β instead of β̃, at the last step, too",
            "β̃ has one more factor, (1−ᾱ_s)/(1−ᾱ_t). Without it there is more new noise than all the noise at s, "
            "and the root of a negative number.",
            _off(beta_tilde=lambda n: n.added),
        ),
        Misconception(
            "x̂_0 is clipped",
            "Clipping helps with pixels, as in 08.3. Here it was not asked for: the three parts are to add up to "
            "what the formula says.",
            _off(x0=lambda n: ((n.x_t - root(1 - n.late) * n.eps) / root(n.late)).clamp(-1, 1)),
        ),
        Misconception(
            "in σ, β_t of the single step stands where 1−ᾱ_t/ᾱ_s belongs",
            "β_t is the noise of step t alone. From s to t the noise 1−ᾱ_t/ᾱ_s is added.",
            _off(added=lambda n: float(n.schedule.beta[n.t])),
        ),
        Misconception(
            "in σ the factor 1−ᾱ_t/ᾱ_s is missing",
            "(1−ᾱ_s)/(1−ᾱ_t) is the share that is left when x_0 is known; of what the jump adds, 1−ᾱ_t/ᾱ_s.",
            _off(beta_tilde=lambda n: (1 - n.early) / (1 - n.late)),
        ),
        Misconception(
            "in σ the factor (1−ᾱ_s)/(1−ᾱ_t) is upside down",
            "1−ᾱ grows with t, so that factor is below 1. Upside down it divides by 0 on the way to the clean "
            "image.",
            _off(
                beta_tilde=lambda n: (
                    n.added * (1 - n.late) / (1 - n.early) if n.t_prev >= 0 else float("inf")
                )
            ),
        ),
        Misconception(
            "t_prev is not used: the step goes to t − 1",
            "This step may be any jump. All that has s in it is read at t_prev.",
            lambda schedule, eps, t, t_prev, x_t, eta, noise: _eta_step(
                schedule, eps, t, t - 1, x_t, eta, noise
            ),
        ),
        Misconception(
            "x_t is mixed in where x̂_0 belongs",
            "x_t is faded and noisy already. First take the noise out and stretch: that is x̂_0.",
            _off(x_prev=lambda n: n.signal * n.x_t + n.direction + n.sigma * n.noise),
        ),
        Misconception(
            "x̂_0 is not divided by √ᾱ_t",
            "Without its noise, x_t is √ᾱ_t x_0: still faded. Divide.",
            _off(x0=lambda n: n.x_t - root(1 - n.late) * n.eps),
        ),
        Misconception(
            "the direction term takes the fresh noise instead of the model's eps",
            "The old noise is what the model found in x_t. Putting that back is what makes DDIM able to walk "
            "without chance.",
            _off(direction=lambda n: n.old * n.noise),
        ),
        Misconception(
            "the new noise is subtracted",
            "As a draw that is just as good. Add it all the same, so that runs with the same noise can be "
            "compared.",
            _off(x_prev=lambda n: n.signal * n.x0 + n.direction - n.sigma * n.noise),
        ),
        Misconception(
            "it jumps to the clean image",
            "That is x̂_0, right only for the last step. Before it the step stops at t_prev, with noise.",
            _off(x_prev=lambda n: n.x0),
        ),
    ),
    hints=(
        "Three parts: the image as it is at s, the old noise, and the new. The variances of the two noises add up "
        "to 1−ᾱ_s.",
        "σ² = η² (1−ᾱ_t/ᾱ_s)(1−ᾱ_s)/(1−ᾱ_t); the parts are √ᾱ_s x̂_0, √(1−ᾱ_s−σ²) eps and σ noise. At t_prev = −1, "
        "ᾱ_s is 1.",
        "early = schedule.alpha_bar[t_prev] if t_prev >= 0 else torch.ones(()); late = schedule.alpha_bar[t]; "
        "x0 = (x_t - (1 - late).sqrt() * eps) / late.sqrt(); "
        "sigma2 = eta**2 * (1 - late / early) * (1 - early) / (1 - late); "
        "return early.sqrt() * x0 + (1 - early - sigma2).sqrt() * eps + sigma2.sqrt() * noise",
    ),
    success=(
        "One formula for a whole family: at η = 0 chance is gone, at η = 1 it is the ancestral step, and each of "
        "them keeps 1−ᾱ_s of noise at s."
    ),
)
