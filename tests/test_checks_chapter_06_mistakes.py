"""Chapter 06's mistakes, made as a learner would and not as the misconception is: they are named."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_checks_chapter_06_answers import Field, norm_in_numpy

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge


def embed_as(f=lambda k, half, s: 10_000 ** (-k / (half - s)), told=lambda t: t, flip=lambda c: c):
    """06.1 in single precision, with other frequencies f(k, half, s), another t or another order."""

    def answer(t, dim, cos_first, freq_shift):
        half = dim // 2
        angle = torch.outer(told(t).float(), f(torch.arange(half), half, freq_shift).float())
        first, second = (torch.cos, torch.sin) if flip(cos_first) else (torch.sin, torch.cos)
        return torch.hstack([first(angle), second(angle)])

    return answer


def field_adding(step):
    """06.2 with step(kernel, stride, strides so far): what each layer adds."""

    def answer(layers):
        field, jump, out = 1, 1, []
        for kernel, stride in layers:
            field += step(kernel, stride, jump)
            jump *= stride
            out.append(field)
        return out

    return answer


def vaswani(t, dim, cos_first, freq_shift):
    """Even places sines, odd places cosines, as the paper has it."""
    row = torch.zeros(len(t), dim)
    angle = t[:, None] / 10_000 ** (torch.arange(dim // 2) / (dim // 2 - freq_shift))
    row[:, cos_first::2], row[:, 1 - cos_first :: 2] = angle.sin(), angle.cos()
    return row


def field_with_own_stride(layers):
    field, jump, out = 1, 1, []
    for kernel, stride in layers:
        jump *= stride
        field += (kernel - 1) * jump
        out.append(field)
    return out


def field_of_output_sizes(layers):
    """(field − 1) · stride + kernel, forwards."""
    out = [1]
    for kernel, stride in layers:
        out.append((out[-1] - 1) * stride + kernel)
    return out[1:]


def norm_over(*axes, correction=0):
    """06.3 by torch.var_mean over some axes of [B, groups, C / groups, H, W]."""

    def answer(x, groups, weight, bias, eps):
        B, C, H, W = x.shape
        g = x.view(B, groups, C // groups, H, W)
        variance, mean = torch.var_mean(g, dim=axes, correction=correction, keepdim=True)
        g = (g - mean) / torch.sqrt(variance + eps)
        return g.view(B, C, H, W) * weight.view(1, C, 1, 1) + bias.view(1, C, 1, 1)

    return answer


def norm_by_std(x, groups, weight, bias, eps):
    """The first thing that comes to mind: torch's std, and eps beside it."""
    g = x.reshape(len(x), groups, -1)
    g = (g - g.mean(-1, keepdim=True)) / (g.std(-1, keepdim=True) + eps)
    return g.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]


def norm_without_eps(x, groups, weight, bias, eps):
    return norm_in_numpy(x.double(), groups, weight, bias, 0.0)


def attention_as(scale=lambda d, C: d**-0.5, axis=-1, swap=False, split=True):
    """06.4 by einsum, with one thing changed."""

    def answer(q, k, v, heads):
        B, N, C = q.shape
        d = C // heads
        if split:
            q, k, v = (x.view(B, N, heads, d).permute(0, 2, 1, 3) for x in (q, k, v))
        else:
            q, k, v = (x.view(B, heads, N, d) for x in (q, k, v))
        q, k = (k, q) if swap else (q, k)
        weights = F.softmax(torch.einsum("bhid,bhjd->bhij", q, k) * scale(d, C), dim=axis)
        seen = torch.einsum("bhij,bhjd->bhid", weights, v)
        return (seen.permute(0, 2, 1, 3) if split else seen).reshape(B, N, C)

    return answer


def forgets_to_transpose_back(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).reshape(q.shape[0], q.shape[2], -1)


def never_transposes(q, k, v, heads):
    """[B, N, heads, d] straight into the products: the heads look at each other."""
    q, k, v = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
    return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).flatten(2)


def one_head(q, k, v, heads):
    return F.scaled_dot_product_attention(q, k, v)


def block_with(time_at="conv1", bend=F.silu, short=lambda block, x: block.shortcut(x)):
    """06.5 as a list of parts, with the time after the part of that name."""

    def answer(block, x, time):
        h = x
        for name in ("norm1", "silu1", "conv1", "norm2", "silu2", "conv2"):
            h = bend(h) if name.startswith("silu") else getattr(block, name)(h)
            if name == time_at:
                h = h + block.time(time)[..., None, None]
        return short(block, x) + h

    return answer


def time_without_new_axes(block, x, time):
    h = block.conv1(F.silu(block.norm1(x))) + block.time(time)
    return block.shortcut(x) + block.conv2(F.silu(block.norm2(h)))


def block_that_overwrites_x(block, x, time):
    x = block.conv1(F.silu(block.norm1(x))) + block.time(time)[:, :, None, None]
    x = block.conv2(F.silu(block.norm2(x)))
    return block.shortcut(x) + x


def u_with(take=lambda kept, i: kept.pop(), join=lambda h, skip: torch.cat([h, skip], 1)):
    """06.6 with other skips, take(kept, i), or joined in another way."""

    def answer(h, down, middle, up):
        kept = [h]
        for stage in down:
            kept.append(stage(kept[-1]))
        h = middle(kept[-1])
        for i, stage in enumerate(up):
            h = stage(join(h, take(kept, i)))
        return h

    return answer


def u_that_keeps_too_early(h, down, middle, up):
    kept = [h]
    for stage in down:
        kept.append(h)
        h = stage(h)
    h = middle(h)
    for stage in up:
        h = stage(torch.cat([h, kept.pop()], 1))
    return h


def u_without_the_first(h, down, middle, up):
    kept = []
    for stage in down:
        h = stage(h)
        kept.append(h)
    h = middle(h)
    for stage, skip in zip(up, reversed(kept)):  # noqa: B905 — as learners write it
        h = stage(torch.cat([h, skip], 1))
    return h


@pytest.mark.parametrize(
    ("exercise", "answer", "name"),
    [
        ("06.1", embed_as(flip=lambda c: not c), "sines and cosines have changed places"),
        ("06.1", embed_as(flip=lambda c: False), "the sines always come first"),
        ("06.1", embed_as(told=lambda t: t + 1), "t is off by one"),
        ("06.1", embed_as(told=lambda t: t / 1000), "t is divided by 1000"),
        ("06.1", embed_as(lambda k, half, s: 10_000 ** (-k / half)), "the freq_shift is left out"),
        (
            "06.1",
            embed_as(lambda k, half, s: 10_000 ** (-k / (half - 1))),
            "the freq_shift is always 1",
        ),
        (
            "06.1",
            embed_as(lambda k, half, s: torch.logspace(0, -4, half)),
            "the freq_shift is always 1",
        ),
        (
            "06.1",
            embed_as(lambda k, half, s: torch.exp(-k / (half - s))),
            "the power of e is taken instead of the power of 10,000",
        ),
        (
            "06.1",
            embed_as(lambda k, half, s: 10_000 ** (-2 * k / (half - s))),
            "the exponent has 2k over half of dim",
        ),
        ("06.1", vaswani, "sines and cosines alternate"),
        ("06.2", field_with_own_stride, "a layer's own stride already counts for its own kernel"),
        (
            "06.2",
            field_of_output_sizes,
            "the rule for walking from the output to the image is used from the image to the output",
        ),
        ("06.2", lambda ls: 1 + np.cumsum([k - 1 for k, _ in ls]), "the strides are left out"),
        (
            "06.2",
            field_adding(lambda k, s, jump: (k - 1) * s),
            "only a layer's own stride counts, not those before it",
        ),
        ("06.2", field_adding(lambda k, s, jump: 2 * jump), "every kernel is taken for one of 3"),
        (
            "06.2",
            lambda ls: np.diff([1, *Field()(ls)]),
            "what each layer adds is returned, not the field",
        ),
        ("06.2", lambda ls: np.cumprod([k for k, _ in ls]), "the kernels are multiplied"),
        ("06.2", lambda ls: Field()(ls)[-1:], "only the field after the last layer is returned"),
        ("06.3", norm_over(3, 4), "each channel is normalised by itself"),
        ("06.3", norm_over(1, 2, 3, 4), "all channels are normalised together"),
        ("06.3", norm_over(0, 3, 4), "each channel is normalised over the batch"),
        ("06.3", norm_over(2, 3, 4, correction=1), "the variance divides by n−1 instead of n"),
        ("06.3", norm_without_eps, "eps is missing"),
        (
            "06.3",
            lambda x, groups, w, b, eps: F.group_norm(x, groups, w, b),
            "eps is a fixed small number instead of the argument",
        ),
        ("06.3", norm_by_std, "the divisor is torch's std plus eps"),
        (
            "06.3",
            lambda x, groups, w, b, eps: F.instance_norm(x, weight=w, bias=b, eps=eps),
            "each channel is normalised by itself",
        ),
        (
            "06.3",
            lambda x, groups, w, b, eps: F.batch_norm(x, None, None, w, b, training=True, eps=eps),
            "each channel is normalised over the batch",
        ),
        (
            "06.3",
            lambda x, groups, w, b, eps: F.group_norm(x, groups, eps=eps) * w + b,
            "weight and bias run along the columns instead of the channels",
        ),
        (
            "06.4",
            attention_as(axis=-2),
            "the softmax runs over the queries instead of the keys",
        ),
        ("06.4", attention_as(axis=1), "the softmax runs over the heads"),
        ("06.4", attention_as(scale=lambda d, C: 1), "the factor 1/√d is missing"),
        (
            "06.4",
            attention_as(scale=lambda d, C: C**-0.5),
            "the d under the root is that of all channels, not of one head",
        ),
        ("06.4", attention_as(swap=True), "queries and keys have changed places"),
        (
            "06.4",
            attention_as(split=False),
            "[B, N, C] is read as [B, heads, N, d] without a transpose",
        ),
        (
            "06.4",
            never_transposes,
            "the heads of one pixel look at each other, not the pixels",
        ),
        ("06.4", forgets_to_transpose_back, "the heads are put back without a transpose"),
        (
            "06.4",
            one_head,
            "the number of heads is ignored: one head looks at all channels",
        ),
        ("06.5", block_with("norm2"), "the time is added after norm2 instead of before it"),
        ("06.5", block_with("silu1"), "the time is added before conv1, after the first SiLU"),
        ("06.5", block_with("conv2"), "the time is added after conv2"),
        ("06.5", block_with("nowhere"), "the time is left out"),
        ("06.5", block_with(bend=torch.relu), "ReLU stands for SiLU"),
        ("06.5", block_with(bend=lambda h: h), "both SiLUs are missing"),
        ("06.5", block_with(short=lambda block, x: 0), "the short cut is missing"),
        (
            "06.5",
            block_that_overwrites_x,
            "x was overwritten: the short cut starts at conv2's answer",
        ),
        (
            "06.5",
            block_with(short=lambda block, x: block.shortcut(block.norm1(x))),
            "the short cut starts after norm1 instead of at x",
        ),
        ("06.5", block_with(short=lambda block, x: x), "x itself is added, without block.shortcut"),
        (
            "06.5",
            time_without_new_axes,
            "the time's numbers run along height and width instead of the channels",
        ),
        (
            "06.5",
            lambda block, x, time: block(x, F.silu(time)),
            "the time goes through one more SiLU",
        ),
        (
            "06.6",
            u_with(take=lambda kept, i: kept.pop(0)),
            "the skips come in the wrong order: the first that was kept is used first",
        ),
        (
            "06.6",
            u_with(take=lambda kept, i: kept[-1]),
            "every stage of the way up gets the same skip, the last",
        ),
        (
            "06.6",
            u_with(join=lambda h, skip: torch.hstack([skip, h])),
            "the skip comes before h in the channels",
        ),
        ("06.6", u_with(join=torch.add), "the skip is added instead of put beside h"),
        (
            "06.6",
            u_with(join=lambda h, skip: torch.cat([h, skip])),
            "h and skip are joined along the batch instead of the channels",
        ),
        (
            "06.6",
            u_that_keeps_too_early,
            "what goes into each stage is kept: h twice, and never what the last one gives",
        ),
        (
            "06.6",
            u_without_the_first,
            "h itself, from before the first stage, is not kept, and the last stage of the way up is left out",
        ),
    ],
)
def test_a_mistake_is_named_however_it_is_written(exercise, answer, name):
    assert judge(EXERCISES[exercise], answer).misconception == name


def test_a_wrong_block_is_told_which_and_by_how_much():
    """The case says which block it was, and the worst number of it how far off."""
    said = " ".join(judge(EXERCISES["06.5"], block_with("nowhere")).text.split())
    assert "Tried: a block that keeps its 4 channels, x of shape [2, 4, 2, 4]." in said
    assert "expected" in said
    assert "Off in 64 of 64 numbers." in said


def test_an_empty_pile_of_skips_is_shown_where_it_happens():
    """Who never keeps h runs out of skips at the last stage; that is an exception of the learner's own code."""

    def answer(h, down, middle, up):
        kept = []
        for stage in down:
            h = stage(h)
            kept.append(h)
        h = middle(h)
        for stage in up:
            h = stage(torch.cat([h, kept.pop()], dim=1))
        return h

    text = judge(EXERCISES["06.6"], answer).text
    assert "IndexError: pop from empty list" in text
    assert "h = stage(torch.cat([h, kept.pop()], dim=1))" in " ".join(text.split())


def test_a_stage_that_is_given_no_features_says_its_name():
    text = judge(EXERCISES["06.6"], lambda h, down, middle, up: down[0](h[0])).text
    assert "down[0] takes features of shape [B, C, H, W]; got shape [3, 4, 4]." in " ".join(
        text.split()
    )
