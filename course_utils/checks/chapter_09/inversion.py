"""09.5: DDIM backwards, from an image to the noise that it would be drawn from."""

import torch

from course_utils.checks.chapter_02.material import UNEVEN, pixels
from course_utils.checks.chapter_08.material import Network, follow, pairs, root, share
from course_utils.checks.exercise import Case, Exercise, Misconception
from course_utils.diffusion.schedule import from_beta, linear


def _invert(model, schedule, x0, ts, iterations):
    """The jump is linear in x and eps; it is solved for x at t."""
    x = x0
    for t, s in reversed(pairs(ts)):
        early, late = share(schedule, s), share(schedule, t)
        faded = (late / early) ** 0.5
        added = (1 - late) ** 0.5 - faded * (1 - early) ** 0.5
        x_t = x
        for _ in range(iterations):
            x_t = faded * x + added * model(x_t, t)
        x = x_t
    return x


def _cases() -> tuple[Case, ...]:
    def case(says, schedule, ts, iterations, seed, *shape):
        says = f"x0 of shape {list(shape)}, {says}, iterations = {iterations}"
        x0 = pixels(seed, *shape).double()
        return Case(says, (Network(schedule.T), schedule, x0, ts, iterations))

    uneven, twenty = from_beta(UNEVEN), list(range(950, -1, -50))
    return (
        case("ten uneven steps, ts = [9, 6, 5, 1]", uneven, [9, 6, 5, 1], 1, 71, 2, 1, 4, 3),
        case("ten uneven steps, ts = [7, 3, 0]", uneven, [7, 3, 0], 3, 72, 3, 2, 2, 4),
        case("20 of 1000 linear steps", linear(1000), twenty, 1, 73, 2, 1, 3, 3),
        case("ten uneven steps, ts = [5]", uneven, [5], 2, 74, 1, 3, 3, 4),
    )


RECIPE = {
    "early": lambda n: share(n.schedule, n.s),
    "late": lambda n: share(n.schedule, n.t),
    "told": lambda n: n.t,
    "shown": lambda n: n.x_t,
    "eps": lambda n: n.model(n.shown, n.told),
    "start": lambda n: n.x,
    "x0": lambda n: (n.start - root(1 - n.early) * n.eps) / root(n.early),
    "up": lambda n: root(n.late) * n.x0 + root(1 - n.late) * n.eps,
}


def _off(
    jumps=lambda ts: pairs(ts)[::-1], often=lambda n: n, end=lambda states: states[-1], **slips
):
    """The exercise with other jumps, another number of iterations, another end, or other lines."""

    def wrong(model, schedule, x0, ts, iterations):
        states = [x0]
        for t, s in jumps(ts):
            x_t = states[-1]
            given = {"model": model, "schedule": schedule, "t": t, "s": s, "x": states[-1]}
            for _ in range(often(iterations)):
                x_t = follow(RECIPE, given | {"x_t": x_t}, slips).up
            states.append(x_t)
        return end(states)

    return wrong


def _asked_once(model, schedule, x0, ts, iterations):
    eps = model(x0, ts[-1])
    return _invert(lambda x, t: eps, schedule, x0, ts, 1)


def _last_eps(model, schedule, x0, ts, iterations):
    said = []

    def remembered(x, t):
        said.append(model(x, t))
        return said[-1]

    _invert(remembered, schedule, x0, ts, iterations)
    return said[-1]


EXERCISE = Exercise(
    id="09.5",
    title="Backwards: from the image to its noise",
    difficulty=3,
    minutes=15,
    reference=_invert,
    returns=("x_T",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the model is told s, where the image stands",
            "The step down from t asked the model at t, and that is the answer to be undone. Only the image that it "
            "was shown is not known yet.",
            _off(told=lambda n: n.s),
        ),
        Misconception(
            "the jumps are made in the order of the way down",
            "The image is clean: the first jump undone is the last one made, from −1 up to ts[-1].",
            _off(jumps=pairs),
        ),
        Misconception(
            "the first jump, from the clean image to ts[-1], is missing",
            "x0 stands at −1, not at ts[-1]: pairs made of the rising list alone begin one too late. The walk "
            "down had K jumps, so has the way up.",
            _off(jumps=lambda ts: pairs(ts)[::-1][1:]),
        ),
        Misconception(
            "the last jump, up to ts[0], is missing",
            "The noise is wanted where the walk down began: at ts[0]. The walk down had K jumps, so has the way up.",
            _off(jumps=lambda ts: pairs(ts)[::-1][:-1]),
        ),
        Misconception(
            "x0 is taken to stand at step 0",
            "It is clean, at −1, where ᾱ is 1. At step 0 there is a step of noise already.",
            _off(jumps=lambda ts: [(ts[-1], 0), *pairs(ts)[-2::-1]]),
        ),
        Misconception(
            "every jump goes up by one step only",
            "The jump down from t led to the next step of the list, so the jump up comes from there.",
            _off(jumps=lambda ts: [(t, t - 1) for t in reversed(ts)]),
        ),
        Misconception(
            "the step goes down: ᾱ_t and ᾱ_s have changed places",
            "On the way up the image comes from s, with 1−ᾱ_s of noise, and goes to t, with more.",
            _off(
                early=lambda n: share(n.schedule, n.t),
                late=lambda n: share(n.schedule, n.s),
            ),
        ),
        Misconception(
            "image and noise are mixed with the same ᾱ with which they were taken apart",
            "Then nothing moves, and x0 comes back as it was. Take apart with ᾱ_s, mix with ᾱ_t.",
            _off(late=lambda n: share(n.schedule, n.s)),
        ),
        Misconception(
            "x at s is taken for the clean image",
            "It has noise of its own already, √(1−ᾱ_s) eps. Take that out first, or it is counted twice.",
            _off(x0=lambda n: n.start),
        ),
        Misconception(
            "a step of the forward process is made, with eps as its noise",
            "√(ᾱ_t/ᾱ_s) x + √(1−ᾱ_t/ᾱ_s) eps is right for fresh noise, whose variance adds. This eps is in x "
            "already: its deviations add.",
            _off(
                up=lambda n: root(n.late / n.early) * n.start + root(1 - n.late / n.early) * n.eps
            ),
        ),
        Misconception(
            "the noise is subtracted on the way up",
            "x_t = √ᾱ_t x̂_0 + √(1−ᾱ_t) eps: on the way up noise comes back.",
            _off(up=lambda n: root(n.late) * n.x0 - root(1 - n.late) * n.eps),
        ),
        Misconception(
            "the square roots are missing",
            "ᾱ and 1−ᾱ are variances. Image and noise stand in x with their roots.",
            _off(
                x0=lambda n: (n.start - (1 - n.early) * n.eps) / n.early,
                up=lambda n: n.late * n.x0 + (1 - n.late) * n.eps,
            ),
        ),
        Misconception(
            "α stands where ᾱ belongs",
            "The DDIM paper writes α_t for what everybody else calls ᾱ_t. schedule.alpha is what a single step "
            "keeps.",
            _off(
                early=lambda n: float(n.schedule.alpha[n.s]) if n.s >= 0 else 1.0,
                late=lambda n: float(n.schedule.alpha[n.t]),
            ),
        ),
        Misconception(
            "at −1 ᾱ is read from alpha_bar[−1], the last entry",
            "Python counts −1 from the end. Before step 0 the image is clean: ᾱ = 1.",
            _off(early=lambda n: float(n.schedule.alpha_bar[n.s])),
        ),
        Misconception(
            "all iterations but the first change nothing",
            "From the second on show the model the x_t that came out, but go up from x at s. Shown x at s, it "
            "gives its first answer again; and from x_t, taken apart with ᾱ_t, one comes back to x_t.",
            _off(shown=lambda n: n.x),
        ),
        Misconception(
            "each iteration goes up from the x_t of the one before",
            "That makes the jump several times over. Each iteration starts from x at s again; only the model is "
            "shown the better x_t.",
            _off(start=lambda n: n.x_t),
        ),
        Misconception(
            "there is one iteration too many",
            "The first answer of the model, for x at s, counts as an iteration.",
            _off(often=lambda n: n + 1),
        ),
        Misconception(
            "the model is asked once, before the loop",
            "Each jump needs an answer for the image where it stands, and for its t.",
            _asked_once,
        ),
        Misconception(
            "the model's last eps is returned, not x",
            "eps is what the model takes for the noise in x. Wanted is x at ts[0] itself, from which the walk down "
            "would start.",
            _last_eps,
        ),
        Misconception(
            "x̂_0 is clipped",
            "The walk down of 09.3 did not clip. What is cut off here would not come back there.",
            _off(x0=lambda n: RECIPE["x0"](n).clamp(-1, 1)),
        ),
        Misconception(
            "the return stands inside the loop",
            "The function ends after its first jump. Move return to the left, so that it comes after the loop.",
            _off(end=lambda states: states[1]),
        ),
        Misconception(
            "the whole path is returned",
            "A path is good to look at, but here only its end is asked for: the noise.",
            _off(end=torch.stack),
        ),
    ),
    hints=(
        "Go through the pairs (t, t_prev) of 09.3 from the last to the first. In each, x is known at t_prev and "
        "wanted at t.",
        "Take x apart with ᾱ at t_prev, into image and noise, and mix both with ᾱ at t. The noise is "
        "the model's answer at t: first for x itself, then for the x_t that came out.",
        "x = x0\n"
        "for t, s in reversed(list(zip(ts, [*ts[1:], -1]))):\n"
        "    early = schedule.alpha_bar[s] if s >= 0 else torch.ones(())\n"
        "    late, x_t = schedule.alpha_bar[t], x\n"
        "    for _ in range(iterations):\n"
        "        eps = model(x_t, t)\n"
        "        clean = (x - (1 - early).sqrt() * eps) / early.sqrt()\n"
        "        x_t = late.sqrt() * clean + (1 - late).sqrt() * eps\n"
        "    x = x_t\n"
        "return x",
    ),
    success=(
        "With η = 0 the sampler is a map, and a map can be walked backwards: every image has its noise."
    ),
)
