"""06.4: attention with several heads, by hand."""

import math

import torch

from course_utils.checks.chapter_02.material import normal
from course_utils.checks.exercise import Case, Exercise, Misconception


def _attend(q, k, v, heads):
    """Head by head and pixel by pixel, in double precision."""
    d = q.shape[2] // heads
    out = torch.empty(q.shape, dtype=torch.float64)
    for b in range(len(q)):
        for first in range(0, q.shape[2], d):
            of_head = slice(first, first + d)
            keys, values = k[b, :, of_head].double(), v[b, :, of_head].double()
            for i, query in enumerate(q[b, :, of_head].double()):
                likeness = torch.exp(keys @ query / math.sqrt(d))
                out[b, i, of_head] = likeness @ values / likeness.sum()
    return out


def _cases() -> tuple[Case, ...]:
    def case(B, N, C, heads, seed):
        says = f"q, k and v of shape [{B}, {N}, {C}], heads = {heads}"
        return Case(says, (*(normal(seed + i, B, N, C) for i in range(3)), heads))

    return (
        case(1, 5, 4, 1, 11),
        case(2, 6, 8, 2, 21),
        case(2, 4, 8, 4, 31),  # as many pixels as heads
        case(3, 7, 9, 3, 41),
        case(1, 1, 6, 2, 51),
    )


def _split(x, heads):
    """[B, N, C] → [B, heads, N, d]"""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _merge(x):
    """[B, heads, N, d] → [B, N, C]"""
    return x.transpose(1, 2).flatten(2)


def _interleaved(x, heads):
    """Channel c belongs to head c % heads."""
    return x.unflatten(2, (-1, heads)).permute(0, 3, 1, 2)


def _with(
    scale=lambda N, C, heads: (C / heads) ** -0.5,
    weights=lambda scores: scores.softmax(3),
    look=lambda weights, v: weights @ v,
    count=lambda heads, C: heads,
    split=_split,
    merge=_merge,
    order=lambda q, k, v: (q, k, v),
):
    """The exercise with something else in one place.

    Args:
        scale: what the scores [B, heads, N, N] are multiplied by.
        weights: what becomes of them.
        look: how the weights meet the values [B, heads, N, d].
        count: the number of heads, from `heads` and C.
        split, merge: there and back between [B, N, C] and heads.
        order: what stands for queries, keys and values.
    """

    def wrong(q, k, v, heads):
        N, C = q.shape[1:]
        heads = count(heads, C)
        q, k, v = (split(x, heads) for x in order(q, k, v))
        scores = q @ k.transpose(2, 3) * scale(N, C, heads)
        return merge(look(weights(scores), v))

    return wrong


def _view(x, heads):
    """A view in place of a transpose: the numbers of several pixels end up in one."""
    B, N, C = x.shape
    return x.reshape(B, heads, N, C // heads)


def _viewed_back(x):
    B, heads, N, d = x.shape
    return x.reshape(B, N, heads * d)


def _all_at_once(scores):
    return scores.flatten(2).softmax(2).view_as(scores)


EXERCISE = Exercise(
    id="06.4",
    title="Attention by hand",
    difficulty=2,
    minutes=15,
    reference=_attend,
    returns=("seen",),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the softmax runs over the queries instead of the keys",
            "Each query shares its attention out among the keys: for each row of scores the weights add up to 1. "
            "The keys are on the last axis of q @ kᵀ.",
            _with(weights=lambda scores: scores.softmax(2)),
        ),
        Misconception(
            "the softmax runs over the heads",
            "The heads know nothing of each other; each has weights of its own, which add up to 1 over the keys. "
            "A softmax without dim picks this axis.",
            _with(weights=lambda scores: scores.softmax(1)),
        ),
        Misconception(
            "the softmax runs over the batch",
            "Images know nothing of each other. The weights of each query add up to 1 over the keys, the last axis.",
            _with(weights=lambda scores: scores.softmax(0)),
        ),
        Misconception(
            "the softmax runs over queries and keys at once",
            "Then all weights of the image together add up to 1, and each pixel gets next to nothing. Every query "
            "has its own softmax, over the keys.",
            _with(weights=_all_at_once),
        ),
        Misconception(
            "the factor 1/√d is missing",
            "A sum of d products of unit-size numbers has size √d. Undivided, it drives the softmax towards picking a "
            "single pixel, where gradients vanish.",
            _with(scale=lambda N, C, heads: 1),
        ),
        Misconception(
            "it is divided by d instead of √d",
            "A sum of d independent products has variance d, so deviation √d.",
            _with(scale=lambda N, C, heads: heads / C),
        ),
        Misconception(
            "it is multiplied by √d instead of divided",
            "The scores have size √d already, and are to have size 1.",
            _with(scale=lambda N, C, heads: (C / heads) ** 0.5),
        ),
        Misconception(
            "the d under the root is that of all channels, not of one head",
            "Each score is a sum over the C/heads channels of one head. With one head it is the same, so the mistake "
            "shows with several only.",
            _with(scale=lambda N, C, heads: C**-0.5),
        ),
        Misconception(
            "the d under the root is the number of pixels",
            "The scores are sums over channels, so it is the head's number of channels, C/heads.",
            _with(scale=lambda N, C, heads: N**-0.5),
        ),
        Misconception(
            "the d under the root is the number of heads",
            "The scores are sums over channels: d is the number of channels in a head, C/heads.",
            _with(scale=lambda N, C, heads: heads**-0.5),
        ),
        Misconception(
            "the weights are scaled, after the softmax, instead of the scores",
            "Then each query's weights add up to 1/√d. Scale first, so that the softmax sees numbers of size 1.",
            _with(
                scale=lambda N, C, heads: 1,
                look=lambda weights, v: weights.softmax(3) @ v / v.shape[3] ** 0.5,
                weights=lambda scores: scores,
            ),
        ),
        Misconception(
            "the softmax is missing",
            "Raw scores can be negative and of any size. The softmax makes weights of them that add up to 1 for "
            "each query.",
            _with(weights=lambda scores: scores),
        ),
        Misconception(
            "the exponentials are not divided by their sum",
            "Weights must add up to 1 for each query; else an image of more pixels gets larger answers.",
            _with(weights=torch.exp),
        ),
        Misconception(
            "queries and keys have changed places",
            "Row i of the scores belongs to query i, the pixel that looks: q @ kᵀ, not k @ qᵀ.",
            _with(order=lambda q, k, v: (k, q, v)),
        ),
        Misconception(
            "the weights are transposed before they meet the values",
            "Query i gets the sum over keys j of weight[i, j] · v[j]: weights @ v.",
            _with(look=lambda weights, v: weights.transpose(2, 3) @ v),
        ),
        Misconception(
            "the keys are returned in place of the values",
            "Keys say where to look, values what is seen there: the weights multiply v.",
            _with(order=lambda q, k, v: (q, k, k)),
        ),
        Misconception(
            "keys and values have changed places",
            "Keys say where to look, values what is seen there: the scores are q @ kᵀ, and the weights multiply v.",
            _with(order=lambda q, k, v: (q, v, k)),
        ),
        Misconception(
            "the channels are not cut into heads: only the d under the root knows of them",
            "Each head looks with its own C/heads channels. Cut q, k and v first, then divide by √d.",
            lambda q, k, v, heads: _with(scale=lambda N, C, _: (C / heads) ** -0.5)(q, k, v, 1),
        ),
        Misconception(
            "the number of heads is ignored: one head looks at all channels",
            "With several heads each part of the channels looks somewhere else. Cut C into `heads` parts first.",
            _with(count=lambda heads, C: 1),
        ),
        Misconception(
            "heads is taken for the number of channels in a head",
            "There are `heads` heads, of C/heads channels each.",
            _with(count=lambda heads, C: C // heads),
        ),
        Misconception(
            "each head takes every heads-th channel instead of neighbouring ones",
            "Head 0 has the channels 0 … d−1, head 1 the next d: reshape C to [heads, d], in this order.",
            _with(
                split=_interleaved,
                merge=lambda x: x.permute(0, 2, 3, 1).flatten(2),
            ),
        ),
        Misconception(
            "[B, N, C] is read as [B, heads, N, d] without a transpose",
            "A reshape does not move numbers: it cuts the row of pixels into pieces, not the channels. Make it "
            "[B, N, heads, d], then swap the two middle axes.",
            _with(split=_view, merge=_viewed_back),
        ),
        Misconception(
            "q, k and v are cut into heads without a transpose, and put back with one",
            "A reshape of [B, N, C] to [B, heads, N, d] cuts the row of pixels into pieces, not the channels. Make it "
            "[B, N, heads, d], then swap the two middle axes.",
            _with(split=_view),
        ),
        Misconception(
            "the heads of one pixel look at each other, not the pixels",
            "With [B, N, heads, d] the product q @ kᵀ runs over the heads. Swap the two middle axes first, so that the "
            "pixels stand beside d.",
            _with(split=lambda x, heads: x.unflatten(2, (heads, -1)), merge=lambda x: x.flatten(2)),
        ),
        Misconception(
            "the heads are put back without a transpose",
            "A reshape of [B, heads, N, d] mixes pixels and heads up. Swap the two middle axes first, then join the "
            "last two.",
            _with(merge=_viewed_back),
        ),
        Misconception(
            "the heads still stand on an axis of their own",
            "Put them side by side again: swap the middle axes, then join the last two, for shape [B, N, C].",
            _with(merge=lambda x: x),
        ),
        Misconception(
            "the heads are averaged instead of put side by side",
            "What each head saw has its own place in the channels: C numbers for each pixel.",
            _with(merge=lambda x: x.mean(1)),
        ),
        Misconception(
            "the weights are returned instead of what was seen with them",
            "They say where each pixel looks. Multiply them with the values.",
            _with(look=lambda weights, v: weights, merge=lambda x: x),
        ),
    ),
    hints=(
        "Get the heads onto an axis of their own, beside the batch: [B, heads, N, d]. From then on, with @, every "
        "head and every image goes by itself.",
        "q.reshape(B, N, heads, d).transpose(1, 2), the same for k and v. The scores are q @ k.transpose(2, 3); "
        "divide by d ** 0.5; which axis holds the keys?",
        "w = (q @ k.transpose(2, 3) / d ** 0.5).softmax(dim=3); return (w @ v).transpose(1, 2).reshape(B, N, C)",
    ),
    success=(
        "Each query's weights add up to 1, so what a pixel sees is an average of the values. Swap two pixels "
        "of the input, and the outputs swap: attention knows no neighbours. (Reshaped in one go, head 0 would have had "
        "all channels of the first pixels, instead of the first channels of all pixels.)"
    ),
)
