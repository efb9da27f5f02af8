"""06.6: the U: down through the stages, and up again with what was kept."""

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.chapter_06.material import Stage
from course_utils.checks.exercise import Case, Exercise, Misconception


def _u(h, down, middle, up):
    """By recursion: the first stage of the way down and the last one of the way up stand around a smaller U."""
    *before, last = up
    deeper = _u(down[0](h), down[1:], middle, before) if down else middle(h)
    return last(torch.cat([deeper, h], dim=1))


def _cases() -> tuple[Case, ...]:
    def case(says, shape, seed, down, middle, up):
        """down, middle, up: channels and scale of each stage."""
        names = [f"down[{i}]" for i in range(len(down))] + ["middle"]
        names += [f"up[{i}]" for i in range(len(up))]
        stages = [
            Stage(name, channels, seed + i, scale)
            for i, (name, (channels, scale)) in enumerate(
                zip(names, [*down, middle, *up], strict=True)
            )
        ]
        n = len(down)
        return Case(says, (normal(seed, *shape), stages[:n], stages[n], stages[n + 1 :]))

    return (
        case("3 stages down, 4 up, none of which changes the resolution", (2, 3, 4, 4), 11,
             [(3, 1)] * 3, (3, 1), [(3, 1)] * 4),
        case("a U that halves once, 8 × 8 to 4 × 4 and back", (1, 4, 8, 8), 31,
             [(4, 1), (4, 0.5), (6, 1)], (6, 1), [(6, 1), (6, 2), (4, 1), (4, 1)]),
        case("one stage down, 2 up", (2, 2, 4, 2), 51,
             [(5, 1)], (3, 1), [(4, 1), (2, 1)]),
        case("a U that halves twice, 8 × 4 to 2 × 1 and back", (1, 2, 8, 4), 71,
             [(2, 0.5), (4, 0.5)], (4, 1), [(4, 2), (4, 2), (2, 1)]),
    )  # fmt: skip


def _kept(h, down):
    """h and the result of each stage of the way down, in order."""
    features = [h]
    for stage in down:
        features.append(stage(features[-1]))
    return features


def _joined(h, skip):
    return torch.cat([h, skip], dim=1)


def _with(
    order=lambda skips: skips[::-1],
    join=_joined,
    bottom=lambda middle, h: middle(h),
    stages=lambda up: up,
    end=lambda h: h,
):
    """The exercise with something else in one place.

    Args:
        order: the skips for the stages of the way up, from what was kept.
        join: what a stage of the way up is given, from h and its skip.
        bottom: what happens between the two ways.
        stages: in which order the way up is gone.
        end: what is returned.
    """

    def wrong(h, down, middle, up):
        kept = _kept(h, down)
        h = bottom(middle, kept[-1])
        for stage, skip in zip(stages(up), order(kept), strict=False):
            h = stage(join(h, skip))
        return end(h)

    return wrong


def _before_each(h, down, middle, up):
    """What goes into each stage is kept, what comes out of the last one is not."""
    *kept, bottom = _kept(h, down)
    h = middle(bottom)
    for stage, skip in zip(up, kept[::-1], strict=False):
        h = stage(_joined(h, skip))
    return h


def _middle_kept_too(h, down, middle, up):
    kept = _kept(h, down)
    kept.append(middle(kept[-1]))
    h = kept[-1]
    for stage in up:
        h = stage(_joined(h, kept.pop()))
    return h


def _always_from_the_middle(h, down, middle, up):
    kept = _kept(h, down)
    bottom = middle(kept[-1])
    for stage in up:
        out = stage(_joined(bottom, kept.pop()))
    return out


def _middle_after_each(h, down, middle, up):
    """The middle is not only at the bottom."""
    kept = _kept(h, down)
    h = kept[-1]
    for stage in up:
        h = stage(_joined(middle(h), kept.pop()))
    return h


def _down_from_the_start(h, down, middle, up):
    """Each stage of the way down starts from the same features again."""
    kept = [h, *(stage(h) for stage in down)]
    h = middle(kept[-1])
    for stage in up:
        h = stage(_joined(h, kept.pop()))
    return h


EXERCISE = Exercise(
    id="06.6",
    title="The U",
    difficulty=2,
    minutes=10,
    reference=_u,
    returns=("features",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the skips come in the wrong order: the first that was kept is used first",
            "The way up begins at the bottom, so it needs what was kept last. A list is a pile: skips.pop() takes "
            "from the top.",
            _with(order=lambda skips: skips),
        ),
        Misconception(
            "every stage of the way up gets the same skip, the last",
            "skips[-1] looks at the last one and leaves it there. skips.pop() takes it off, so that the next stage "
            "gets the one before.",
            _with(order=lambda skips: [skips[-1]] * len(skips)),
        ),
        Misconception(
            "every stage of the way up gets the features from the very beginning",
            "Each has a partner on the way down, at its own resolution: the last that was kept comes first.",
            _with(order=lambda skips: [skips[0]] * len(skips)),
        ),
        Misconception(
            "h itself, from before the first stage, is not kept, and the last stage of the way up is left out",
            "There is one stage more on the way up than on the way down, and the last takes what came in: begin with "
            "skips = [h].",
            _with(order=lambda skips: skips[:0:-1]),
        ),
        Misconception(
            "what goes into each stage is kept, but not what comes out of the last",
            "The way up has one stage more than the way down, and its first takes what the last stage down gave. "
            "Keep h, and then the result of each stage.",
            _before_each,
        ),
        Misconception(
            "what goes into each stage is kept: h twice, and never what the last one gives",
            "h is in the list before the loop. In the loop keep what comes out: first h = stage(h), then append.",
            _with(order=lambda skips: [skips[0], *skips[:-1]][::-1]),
        ),
        Misconception(
            "the middle's result is kept as well, so that all skips are one too late",
            "Only the way down is kept. The middle's result goes straight on to the way up.",
            _middle_kept_too,
        ),
        Misconception(
            "the skip comes before h in the channels",
            "The first weights of a stage were trained on h, the others on the skip: torch.cat([h, skip], dim=1).",
            _with(join=lambda h, skip: torch.cat([skip, h], 1)),
        ),
        Misconception(
            "the skip is added instead of put beside h",
            "Some UNets add. In this one each stage sees both apart, and its first convolution has weights for the "
            "channels of both.",
            _with(join=lambda h, skip: h + skip),
        ),
        Misconception(
            "the skips are left out",
            "Then all detail must squeeze through the bottom, where a whole picture has few pixels. Put the skip "
            "beside h.",
            _with(join=lambda h, skip: h),
        ),
        Misconception(
            "each stage of the way up gets its skip alone",
            "Then what the bottom understood is lost. Put h and the skip side by side.",
            _with(join=lambda h, skip: skip),
        ),
        Misconception(
            "h and skip are joined along the batch instead of the channels",
            "The images of the batch are on axis 0, the channels on axis 1: torch.cat([h, skip], dim=1).",
            _with(join=lambda h, skip: torch.cat([h, skip], 0)),
        ),
        Misconception(
            "h and skip are joined along the height instead of the channels",
            "The channels are axis 1 of [B, C, H, W]: torch.cat([h, skip], dim=1).",
            _with(join=lambda h, skip: torch.cat([h, skip], 2)),
        ),
        Misconception(
            "h and skip are joined along the width instead of the channels",
            "The channels are axis 1 of [B, C, H, W], and dim=-1 is the width: torch.cat([h, skip], dim=1).",
            _with(join=lambda h, skip: torch.cat([h, skip], -1)),
        ),
        Misconception(
            "the middle is left out",
            "Between the two ways the features pass through the middle: h = middle(skips[-1]).",
            _with(bottom=lambda middle, h: h),
        ),
        Misconception(
            "the middle comes again before every stage of the way up",
            "It stands at the bottom, once: call it before the loop of the way up.",
            _middle_after_each,
        ),
        Misconception(
            "each stage of the way down starts from h again",
            "Each takes what the one before it gave: down[i] is called with skips[-1].",
            _down_from_the_start,
        ),
        Misconception(
            "each stage of the way up starts from the middle again",
            "Each takes what the one before it gave: h = stage(…h…) in the loop.",
            _always_from_the_middle,
        ),
        Misconception(
            "the way up is gone from its end",
            "up is in the order in which the features pass through: up[0] is at the bottom. Only the skips are "
            "reversed.",
            _with(stages=lambda up: up[::-1]),
        ),
        Misconception(
            "the way stops at the bottom",
            "What the middle gives has yet to go up: through each stage of up, with its skip beside it.",
            _with(stages=lambda up: []),
        ),
        Misconception(
            "the return stands inside the loop of the way up",
            "The function ends after the first stage. Move return to the left, so that it comes after the loop.",
            _with(stages=lambda up: up[:1]),
        ),
    ),
    hints=(
        "Keep a list. On the way down each result goes onto its end; on the way up each stage takes one off its end.",
        "skips = [h]; for stage in down: skips.append(stage(skips[-1])). That holds one more than there are stages "
        "down, as many as there are stages up.",
        "h = middle(skips[-1]); for stage in up: h = stage(torch.cat([h, skips.pop()], dim=1)); after the loop: "
        "return h",
    ),
    success=(
        "A handful of lines, and nothing in them knows about images: any network of this family, small or of a "
        "billion weights, is this walk with other stages. (What you predicted: a skip of another shape breaks where it "
        "arrives; where all shapes are alike, nothing breaks, and only the picture is wrong.)"
    ),
)
