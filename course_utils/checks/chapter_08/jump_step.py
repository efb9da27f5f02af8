"""08.3: one step of a walk: from x_t to any earlier step, with either variance."""

from course_utils.checks.chapter_02.material import UNEVEN
from course_utils.checks.chapter_05.material import points
from course_utils.checks.chapter_08.material import follow, root, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def jump_step(schedule, eps, t, t_prev, x_t, noise, variance):
    """The mean as x_t less the noise of this jump, by the noise that stands beside the clipped image."""
    early, late = share(schedule, t_prev), share(schedule, t)
    added = 1 - late / early
    x0 = ((x_t - (1 - late) ** 0.5 * eps) / late**0.5).clamp(-1, 1)
    beside = (x_t - late**0.5 * x0) / (1 - late) ** 0.5
    mean = (x_t - added / (1 - late) ** 0.5 * beside) * (early / late) ** 0.5
    if t_prev == -1:
        return mean
    narrowed = 1.0 if variance == "beta" else (1 - early) / (1 - late)
    return mean + (added * narrowed) ** 0.5 * noise


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, t, t_prev, variance, seed):
        eps, x_t, noise = points(seed, 3, 3, 2, 4, 5)
        says = f'{says}, from t = {t} to {t_prev}, variance="{variance}"'
        return Case(says, (schedule, eps, t, t_prev, x_t, noise, variance))

    uneven = from_beta(UNEVEN)
    return (
        case("ten uneven steps", uneven, 7, 3, "posterior", 21),
        case("ten uneven steps", uneven, 7, 3, "beta", 22),
        case("ten uneven steps, the last jump", uneven, 4, -1, "beta", 23),
        case("ten uneven steps, the last jump", uneven, 2, -1, "posterior", 24),
        case("ten uneven steps", uneven, 2, 0, "posterior", 25),
        case("1000 linear steps", linear(1000), 480, 460, "beta", 26),
    )


RECIPE = {
    "early": lambda n: share(n.schedule, n.t_prev),
    "late": lambda n: share(n.schedule, n.t),
    "kept": lambda n: n.late / n.early,
    "added": lambda n: 1 - n.kept,
    "seen": lambda n: (n.x_t - root(1 - n.late) * n.eps) / root(n.late),
    "x0": lambda n: n.seen.clamp(-1, 1),
    "of_x0": lambda n: root(n.early) * n.added / (1 - n.late),
    "of_x_t": lambda n: root(n.kept) * (1 - n.early) / (1 - n.late),
    "mean": lambda n: n.of_x0 * n.x0 + n.of_x_t * n.x_t,
    "beta": lambda n: n.added,
    "beta_tilde": lambda n: n.added * (1 - n.early) / (1 - n.late),
    "sigma2": lambda n: n.beta if n.variance == "beta" else n.beta_tilde,
    "scale": lambda n: root(n.sigma2) if n.t_prev >= 0 else 0.0,
    "x_prev": lambda n: n.mean + n.scale * n.noise,
}


def off(**slips):
    """The exercise with other lines in the recipe."""

    def wrong(schedule, eps, t, t_prev, x_t, noise, variance):
        given = {"schedule": schedule, "eps": eps, "t": t, "t_prev": t_prev}
        given |= {"x_t": x_t, "noise": noise, "variance": variance}
        return follow(RECIPE, given, slips).x_prev

    return wrong


def of_clipped_eps(n):
    """The clean image that clipped noise would leave in x_t."""
    return (n.x_t - root(1 - n.late) * n.eps.clamp(-1, 1)) / root(n.late)


def _noised_again(n):
    return root(n.early) * n.x0 + root(1 - n.early) * n.noise


EXERCISE = Exercise(
    id="08.3",
    title="A jump with either variance",
    difficulty=2,
    minutes=15,
    reference=jump_step,
    returns=("x_prev",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the variance multiplies the noise, where its root belongs",
            "Noise of variance 1, multiplied by c, has variance c². So c is the deviation: √β̃ or √β.",
            off(scale=lambda n: n.sigma2 if n.t_prev >= 0 else 0.0),
        ),
        Misconception(
            "the root of the variance is taken twice",
            "β̃ and β are variances, and their roots the deviations. The root of a deviation is neither; for "
            "numbers below 1 it is far too large.",
            off(scale=lambda n: root(root(n.sigma2)) if n.t_prev >= 0 else 0.0),
        ),
        Misconception(
            "noise is added at the last step, where the variance is β",
            "β̃ is 0 on the way to the clean image, β is not. The result is what we want to see, so leave the "
            "noise out by an if.",
            off(scale=lambda n: root(n.sigma2)),
        ),
        Misconception(
            "noise is added at the last step, always with √β",
            "The result is what we want to see: no noise belongs on it, whichever variance was chosen.",
            off(scale=lambda n: root(n.sigma2 if n.t_prev >= 0 else n.beta)),
        ),
        Misconception(
            "noise is left out at t_prev = 0 already",
            "Step 0 still has noise in it here. The clean image is at −1; in the papers, whose count is ours "
            "plus one, it is at 0.",
            off(scale=lambda n: root(n.sigma2) if n.t_prev > 0 else 0.0),
        ),
        Misconception(
            "no noise is added at all",
            "The mean alone is not a draw. Walks that only follow it draw together: in chapter 05 all of them ended "
            "in one place.",
            off(scale=lambda n: 0.0),
        ),
        Misconception(
            "the variance is β̃ whatever was asked for",
            'With variance="beta" it is β = 1 − ᾱ_t/ᾱ_s, what the jump adds on the way forward.',
            off(sigma2=lambda n: n.beta_tilde),
        ),
        Misconception(
            "the variance is β whatever was asked for",
            'With variance="posterior" it is β̃, which is smaller by (1−ᾱ_s)/(1−ᾱ_t).',
            off(sigma2=lambda n: n.beta),
        ),
        Misconception(
            "the two variances have changed places",
            '"posterior" is β̃, the variance when x_0 is known as well; "beta" is β, the larger one.',
            off(sigma2=lambda n: n.beta_tilde if n.variance == "beta" else n.beta),
        ),
        Misconception(
            "β is that of the single step t",
            "β_t is the noise of step t alone. The jump from s to t adds 1−ᾱ_t/ᾱ_s.",
            off(beta=lambda n: n.schedule.beta[n.t]),
        ),
        Misconception(
            "the jump is taken as one step: β_t and α_t in place of 1−ᾱ_t/ᾱ_s and ᾱ_t/ᾱ_s",
            "β_t is what step t alone adds, and α_t what it keeps. A jump makes up for all the steps "
            "s+1 … t.",
            off(kept=lambda n: n.schedule.alpha[n.t]),
        ),
        Misconception(
            "t_prev is not used: the step goes to t − 1",
            "A walk through some of the steps asks for larger jumps. All that has s in it is read at t_prev.",
            lambda schedule, eps, t, t_prev, x_t, noise, variance: off()(
                schedule, eps, t, t - 1, x_t, noise, variance
            ),
        ),
        Misconception(
            "at the last step ᾱ_s is read from alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 the image is clean: ᾱ = 1.",
            off(early=lambda n: float(n.schedule.alpha_bar[n.t_prev])),
        ),
        Misconception(
            "the last step goes to t_prev = 0, not to the clean image",
            "At −1 nothing of the image is lost, ᾱ = 1, and not ᾱ_0. What is left then is x̂_0, without noise.",
            off(early=lambda n: share(n.schedule, max(n.t_prev, 0))),
        ),
        Misconception(
            "x̂_0 is not clipped",
            "No pixel is beyond ±1. Out there x̂_0 is the model's error, and the step would follow it.",
            off(x0=lambda n: n.seen),
        ),
        Misconception(
            "ε is clipped instead of x̂_0",
            "Noise may well be beyond ±1, a third of it is. It is the clean image whose range is known.",
            off(x0=of_clipped_eps),
        ),
        Misconception(
            "x_prev is clipped instead of x̂_0",
            "On the way x is image and noise, and reaches beyond ±1 by right. Only the clean image is known to "
            "lie within.",
            off(x0=lambda n: n.seen, x_prev=lambda n: (n.mean + n.scale * n.noise).clamp(-1, 1)),
        ),
        Misconception(
            "the mean is clipped instead of x̂_0",
            "The mean still holds noise of x_t, and reaches beyond ±1 by right. Only the clean image is known to "
            "lie within.",
            off(
                x0=lambda n: n.seen,
                mean=lambda n: (n.of_x0 * n.x0 + n.of_x_t * n.x_t).clamp(-1, 1),
            ),
        ),
        Misconception(
            "α stands where ᾱ belongs, in x̂_0",
            "eps is the noise of all the steps 0 … t. It stands in x_t with √(1−ᾱ_t), and the image with √ᾱ_t.",
            off(
                seen=lambda n: (
                    (n.x_t - n.schedule.beta[n.t].sqrt() * n.eps) / n.schedule.alpha[n.t].sqrt()
                )
            ),
        ),
        Misconception(
            "ᾱ_t stands where ᾱ_s belongs, in the weight of x̂_0",
            "At s, where the step goes, the image has faded to √ᾱ_s: less than at t.",
            off(of_x0=lambda n: root(n.late) * n.added / (1 - n.late)),
        ),
        Misconception(
            "the two weights have changed places",
            "The weight of x̂_0 holds what the jump adds; that of x_t how much noise there was before it.",
            off(mean=lambda n: n.of_x_t * n.x0 + n.of_x0 * n.x_t),
        ),
        Misconception(
            "the guess is noised again up to t_prev, as if x_t were forgotten",
            "That draws from q(x_s | x̂_0). But x_t is known, too: the posterior stays closer to it.",
            off(x_prev=_noised_again),
        ),
        Misconception(
            "it jumps to the clean image",
            "That is the model's x̂_0, which is right only for the last step. Before it the step stops at t_prev, "
            "with noise.",
            off(x_prev=lambda n: n.x0),
        ),
        Misconception(
            "the model's eps serves as the fresh noise, too",
            "eps is the noise that the model found in x_t. What is added is another, independent of it.",
            off(x_prev=lambda n: n.mean + n.scale * n.eps),
        ),
        Misconception(
            "the noise is subtracted",
            "As a draw that is just as good, since −noise is as normal as noise. Add it all the same, so that "
            "runs with the same noise can be compared.",
            off(x_prev=lambda n: n.mean - n.scale * n.noise),
        ),
    ),
    hints=(
        "Three parts: the clipped guess (08.1), the mean with the weights of the jump (08.2), and noise times a "
        "deviation. When does the third part fall away?",
        "ᾱ_s is schedule.alpha_bar[t_prev], but 1 on the way to the clean image. There return the mean; elsewhere add "
        "√β or √β̃ times the noise.",
        "early = schedule.alpha_bar[t_prev] if t_prev >= 0 else torch.ones(()); late = schedule.alpha_bar[t]; "
        "x0 = ((x_t - (1 - late).sqrt() * eps) / late.sqrt()).clamp(-1, 1); kept = late / early; "
        "mean = (early.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - early) * x_t) / (1 - late); "
        "sigma2 = (1 - kept) * ((1 - early) / (1 - late) if variance == 'posterior' else 1); "
        "return mean + sigma2.sqrt() * noise if t_prev >= 0 else mean",
    ),
    success=(
        "One step of any DDPM walk, however long, and the last one stays clean with either variance."
    ),
)
