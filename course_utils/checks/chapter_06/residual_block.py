"""06.5: the residual block, from its five parts and a short cut."""

import torch
import torch.nn.functional as F

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.chapter_06.material import residual_block
from course_utils.checks.exercise import Case, Exercise, Misconception


def _forward(block, x, time):
    """From the weights, in double precision, without calling a part of the block."""

    def convolved(part, h):
        padding = part.kernel_size[0] // 2
        return F.conv2d(h, part.weight.double(), part.bias.double(), padding=padding)

    def normed_and_bent(part, h):
        weight, bias = part.weight.double(), part.bias.double()
        h = F.group_norm(h, part.num_groups, weight, bias, part.eps)
        return h / (1 + torch.exp(-h))

    x, time = x.double(), time.double()
    h = convolved(block.conv1, normed_and_bent(block.norm1, x))
    told = time @ block.time.weight.double().T + block.time.bias.double()
    h = convolved(block.conv2, normed_and_bent(block.norm2, h + told[:, :, None, None]))
    has_weights = hasattr(block.shortcut, "weight")
    return h + (convolved(block.shortcut, x) if has_weights else x)


def _cases() -> tuple[Case, ...]:
    def case(says, B, before, after, H, W, seed, groups=2):
        says = f"{says}, x of shape [{B}, {before}, {H}, {W}]"
        block = residual_block(seed, before, after, groups)
        x, time = normal(seed + 20, B, before, H, W), normal(seed + 21, B, block.time.in_features)
        return Case(says, (block, x, time))

    return (  # in the first, [B, C] is also [H, W], so that the wrong axes fit too
        case("a block that keeps its 4 channels", 2, 4, 4, 2, 4, 111),
        case(
            "a block from 1 channel to 4", 2, 1, 4, 3, 3, 231, groups=1
        ),  # here x itself fits as well
        case("a block from 4 channels to 6", 3, 4, 6, 5, 3, 141),
        case("a block from 6 channels to 4", 1, 6, 4, 4, 4, 171),
        case("a block that keeps its 6 channels", 2, 6, 6, 3, 5, 201),
    )


def _told(block, time):
    return block.time(time)[:, :, None, None]


def _same(block, h, told):
    return h


def _add(block, h, told):
    return h + told


def _half(norm, bend=F.silu, at_norm=_same, at_end=_same):
    """Norm and SiLU before a convolution; with `told` added after the norm or at the end."""

    def half(block, h, told):
        h = at_norm(block, getattr(block, norm)(h), told)
        return at_end(block, bend(h), told)

    return half


_FIRST, _SECOND = _half("norm1"), _half("norm2")


def _with(
    told=_told,
    start=_same,
    first=_FIRST,
    between=_add,
    second=_SECOND,
    conv2="conv2",
    end=_same,
    join=lambda block, x, h: block.shortcut(x) + h,
):
    """The exercise with something else in one place.

    Args:
        told: what the block is told of the time, from (block, time).
        start, between, end: what is done to x, after conv1 and after conv2, from (block, h, told).
        first, second: what comes before the two convolutions, from the same.
        conv2: the name of the second convolution.
        join: the end, from the block, x and what came out of the second convolution.
    """

    def wrong(block, x, time):
        time = told(block, time)
        h = block.conv1(first(block, start(block, x, time), time))
        h = second(block, between(block, h, time), time)
        return join(block, x, end(block, getattr(block, conv2)(h), time))

    return wrong


def _straight(h):
    return h


def _with_both(bend):
    return _with(first=_half("norm1", bend), second=_half("norm2", bend))


def _norms_behind(block, x, time):
    h = F.silu(block.norm1(block.conv1(x))) + _told(block, time)
    return block.shortcut(x) + F.silu(block.norm2(block.conv2(h)))


EXERCISE = Exercise(
    id="06.5",
    title="The residual block",
    difficulty=2,
    minutes=10,
    reference=_forward,
    returns=("features",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the time is added after norm2 instead of before it",
            "It belongs between conv1 and norm2. Both places tell the network the time, but weights that were trained "
            "for the one do not fit the other.",
            _with(between=_same, second=_half("norm2", at_norm=_add)),
        ),
        Misconception(
            "the time is added after the second SiLU",
            "It belongs between conv1 and norm2. After norm and SiLU it meets nothing but one more convolution.",
            _with(between=_same, second=_half("norm2", at_end=_add)),
        ),
        Misconception(
            "the time is added before conv1, after the first SiLU",
            "There are as many numbers of time as channels after conv1: where a block changes its channels, they "
            "fit nowhere else. Add them after conv1.",
            _with(between=_same, first=_half("norm1", at_end=_add)),
        ),
        Misconception(
            "the time is added before conv1, between norm1 and its SiLU",
            "It belongs after conv1 and before norm2. Before conv1 it does not even fit where a block changes its "
            "channels.",
            _with(between=_same, first=_half("norm1", at_norm=_add)),
        ),
        Misconception(
            "the time is added to x at the very beginning",
            "It belongs after conv1 and before norm2. At the beginning it does not even fit where a block changes "
            "its channels.",
            _with(between=_same, start=_add),
        ),
        Misconception(
            "the time is added after conv2",
            "There it only moves the block's answer: neither norm2 nor conv2 knows of it. It belongs between conv1 "
            "and norm2.",
            _with(between=_same, end=_add),
        ),
        Misconception(
            "the time is left out",
            "Then the network cannot know how much noise to expect. Add block.time(time) after conv1.",
            _with(between=_same),
        ),
        Misconception(
            "the time's numbers run along height and width instead of the channels",
            "Broadcasting lines shapes up from the right, so [B, C] meets [H, W]. One number for each channel has "
            "shape [B, C, 1, 1].",
            _with(between=lambda block, h, told: h + told[:, :, 0, 0]),
        ),
        Misconception(
            "the time multiplies the features instead of being added",
            "Some later networks scale by it as well. This one only adds: h + block.time(time)[:, :, None, None].",
            _with(between=lambda block, h, told: h * told),
        ),
        Misconception(
            "the time goes through one more SiLU",
            "time has been through its SiLU before it comes here; the network does that once for all its blocks.",
            _with(told=lambda block, time: _told(block, F.silu(time))),
        ),
        Misconception(
            "what block.time gives goes through a SiLU",
            "The SiLU comes before block.time, and the network has done it. Its answer is added as it is.",
            _with(told=lambda block, time: F.silu(_told(block, time))),
        ),
        Misconception(
            "all images are told the time of the first",
            "Each image of a batch may stand at a step of its own: row i of time is for image i.",
            _with(told=lambda block, time: _told(block, time[:1])),
        ),
        Misconception(
            "the short cut is missing",
            "Without it the features must pass through all blocks one by one, and deep networks hardly train. "
            "The answer is block.shortcut(x) + h.",
            _with(join=lambda block, x, h: h),
        ),
        Misconception(
            "x itself is added, without block.shortcut",
            "Where the channels change, x does not fit, or fits by accident only. block.shortcut(x) has the right "
            "channels; where they stay, it is x itself.",
            _with(join=lambda block, x, h: x + h),
        ),
        Misconception(
            "there is no short cut where the channels change",
            "It is needed there, too: block.shortcut(x) brings x to the new number of channels, by a 1 × 1 "
            "convolution of its own.",
            _with(join=lambda block, x, h: x + h if x.shape == h.shape else h),
        ),
        Misconception(
            "the short cut starts after norm and SiLU instead of at x",
            "It is to carry x past everything, so that the block only has to add what is to change.",
            _with(join=lambda block, x, h: block.shortcut(F.silu(block.norm1(x))) + h),
        ),
        Misconception(
            "the short cut starts after norm1 instead of at x",
            "It is to carry x past everything, so that the block only has to add what is to change.",
            _with(join=lambda block, x, h: block.shortcut(block.norm1(x)) + h),
        ),
        Misconception(
            "x was overwritten: the short cut starts at conv2's answer",
            "It must start at the x that came in, which is lost if you write x = … on the way. Call the features h.",
            _with(join=lambda block, x, h: block.shortcut(h) + h),
        ),
        Misconception(
            "the sum is divided by √2",
            "Some networks do, to keep the size of the features. This one does not, and its weights were trained "
            "without.",
            _with(join=lambda block, x, h: (block.shortcut(x) + h) / 2**0.5),
        ),
        Misconception(
            "the sum goes through another SiLU",
            "The short cut must stay clear: what comes out is x plus a change, with nothing after the plus.",
            _with(join=lambda block, x, h: F.silu(block.shortcut(x) + h)),
        ),
        Misconception(
            "the first SiLU is missing",
            "Each convolution is preceded by norm and SiLU. Both times.",
            _with(first=_half("norm1", bend=_straight)),
        ),
        Misconception(
            "the second SiLU is missing",
            "Each convolution is preceded by norm and SiLU. Both times.",
            _with(second=_half("norm2", bend=_straight)),
        ),
        Misconception(
            "both SiLUs are missing",
            "Then two convolutions in a row are hardly more than one large one. Each is preceded by norm and SiLU.",
            _with_both(_straight),
        ),
        Misconception(
            "SiLU comes before the norm instead of after it",
            "Norm first: the SiLU bends at 0, and the norm brings the numbers there.",
            _with(
                first=lambda block, h, told: block.norm1(F.silu(h)),
                second=lambda block, h, told: block.norm2(F.silu(h)),
            ),
        ),
        Misconception(
            "ReLU stands for SiLU",
            "ReLU cuts all below 0 off; SiLU, x · sigmoid(x), bends smoothly and lets a little through. The "
            "weights were trained with SiLU.",
            _with_both(F.relu),
        ),
        Misconception(
            "a sigmoid stands for SiLU",
            "SiLU(x) is x · sigmoid(x); torch.nn.functional has it as F.silu.",
            _with_both(torch.sigmoid),
        ),
        Misconception(
            "norm1 is left out",
            "Each convolution is preceded by norm and SiLU. Both times.",
            _with(first=lambda block, h, told: F.silu(h)),
        ),
        Misconception(
            "norm2 is left out",
            "Each convolution is preceded by norm and SiLU. Both times.",
            _with(second=lambda block, h, told: F.silu(h)),
        ),
        Misconception(
            "norm1 is used twice",
            "It fits only where the channels stay. The second convolution has its own norm, norm2.",
            _with(second=_FIRST),
        ),
        Misconception(
            "conv1 is used twice",
            "It fits only where the channels stay. The second half of the block has weights of its own: conv2.",
            _with(conv2="conv1"),
        ),
        Misconception(
            "the norms come after the convolutions instead of before",
            "Here each convolution is preceded by norm and SiLU: norm1 has as many channels as x, norm2 as many as "
            "conv1 gives.",
            _norms_behind,
        ),
    ),
    hints=(
        "Two halves alike: norm, SiLU, convolution. Between them the time, and at the end the short cut.",
        "block.time(time) has shape [B, C']; the features have [B, C', H, W]. [:, :, None, None] makes it fit. "
        "The short cut starts from x as it came in.",
        "h = block.conv1(F.silu(block.norm1(x))); h = h + block.time(time)[:, :, None, None]; "
        "h = block.conv2(F.silu(block.norm2(h))); return block.shortcut(x) + h",
    ),
    success=(
        "That is the brick the whole house is built of: the butterflies' UNet has 17 of them. The rest are changes of "
        "resolution and a few looks around. (What you predicted: conv1 and the short cut are given C channels and give "
        "C'.)"
    ),
)
