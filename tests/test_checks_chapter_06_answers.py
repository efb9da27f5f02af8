"""Chapter 06's exercises, answered in a learner's own words: right answers pass, however they are written."""

import math
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from written_answers import assert_three_for_each_exercise, each

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge
from course_utils.diffusion import unet


def embed_in_numpy(t, dim, cos_first, freq_shift):
    frequencies = (
        np.geomspace(1, 1e-4, dim // 2)
        if freq_shift
        else 1e4 ** -np.linspace(0, 1, dim // 2 + 1)[:-1]
    )
    angle = np.outer(t, frequencies)
    return np.hstack([np.cos(angle), np.sin(angle)][:: 1 if cos_first else -1])


def embed_by_complex_numbers(t, dim, cos_first, freq_shift):
    k = torch.arange(dim // 2, dtype=torch.float64)
    turned = torch.exp(1j * t[:, None] * torch.exp(-math.log(1e4) * k / (dim // 2 - freq_shift)))
    real, imaginary = turned.real, turned.imag
    return torch.cat([real, imaginary] if cos_first else [imaginary, real], -1)


def embed_in_a_loop(t, dim, cos_first, freq_shift):
    half, rows = dim // 2, []
    for step in t:
        row = [0.0] * dim
        for k in range(half):
            angle = step.item() / 10_000 ** (k / (half - freq_shift))
            row[k + half * cos_first] = math.sin(angle)
            row[k + half * (not cos_first)] = math.cos(angle)
        rows.append(row)
    return rows


def embed_by_the_library(t, dim, cos_first, freq_shift):
    return unet.time_embedding(t, dim, cos_first=cos_first, freq_shift=freq_shift)


def field_from_the_end(layers):
    def field(some):
        return reduce(lambda width, layer: (width - 1) * layer[1] + layer[0], reversed(some), 1)

    return [field(layers[: n + 1]) for n in range(len(layers))]


def field_by_cumulated_products(layers):
    kernels, strides = np.array(layers).T
    jumps = np.concatenate([[1], np.cumprod(strides)[:-1]])
    return 1 + np.cumsum((kernels - 1) * jumps)


def field_by_gradients(layers):
    """Asks autograd how many pixels one output depends on."""
    fields = []
    for depth in range(1, len(layers) + 1):
        x = h = torch.ones(1, 1, 400, requires_grad=True)
        for kernel, stride in layers[:depth]:
            h = F.conv1d(h, torch.ones(1, 1, kernel) / kernel, stride=stride)
        (gradient,) = torch.autograd.grad(h[0, 0, 0], x)
        fields.append((gradient != 0).sum())
    return fields


class Field:
    """A right answer to 06.2 that remembers between layers, as an object may."""

    def __call__(self, layers):
        self.field = self.jump = 1
        return torch.tensor([self.after(*layer) for layer in layers])

    def after(self, kernel, stride):
        self.field, self.jump = self.field + (kernel - 1) * self.jump, self.jump * stride
        return self.field


def norm_in_numpy(x, groups, weight, bias, eps):
    x = x.numpy()
    B, C, H, W = x.shape
    g = x.reshape(B, groups, C // groups, H, W)
    g = (g - g.mean((2, 3, 4), keepdims=True)) / np.sqrt(g.var((2, 3, 4), keepdims=True) + eps)
    return g.reshape(x.shape) * weight.numpy().reshape(1, C, 1, 1) + bias.numpy().reshape(
        1, C, 1, 1
    )


def norm_group_by_group(x, groups, weight, bias, eps):
    done = []
    for part in x.chunk(groups, dim=1):
        centred = part - part.mean((1, 2, 3), keepdim=True)
        done.append(centred * (centred.square().mean((1, 2, 3), keepdim=True) + eps).rsqrt())
    return torch.einsum("bchw,c->bchw", torch.cat(done, 1), weight) + bias.view(-1, 1, 1)


def norm_by_layer_norm(x, groups, weight, bias, eps):
    grouped = x.double().reshape(len(x), groups, -1)
    normed = F.layer_norm(grouped, grouped.shape[2:], eps=eps).view(x.shape)
    return torch.stack([normed[:, c] * weight[c] + bias[c] for c in range(x.shape[1])], 1)


def attend_head_by_head(q, k, v, heads):
    parts = zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True)
    return torch.cat(
        [torch.softmax(a @ b.mT / math.sqrt(b.shape[-1]), -1) @ c for a, b, c in parts], -1
    )


def attend_in_numpy(q, k, v, heads):
    B, N, C = q.shape
    q, k, v = (x.double().numpy().reshape(B, N, heads, -1) for x in (q, k, v))
    scores = np.einsum("bihd,bjhd->bhij", q, k) * (heads / C) ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhij,bjhd->bihd", weights, v).reshape(B, N, C)


def attend_by_torch(q, k, v, heads):
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)


def attend_with_both_sides_scaled(q, k, v, heads):
    """Keys first, and the softmax along their axis: the same, transposed."""
    root = (q.shape[2] / heads) ** 0.25
    q, k, v = (x.unflatten(2, (heads, -1)).movedim(2, 1) for x in (q / root, k / root, v))
    weights = (k @ q.mT).softmax(dim=2)
    return (weights.mT @ v).movedim(1, 2).flatten(2)


def block_in_another_order(block, x, time):
    """The short cut first, and the time by broadcasting from the left."""
    out = block.shortcut(x)
    h = block.norm1(x)
    h = block.conv1(h * torch.sigmoid(h)).permute(2, 3, 0, 1) + block.time(time)
    h = block.norm2(h.permute(2, 3, 0, 1))
    return out + block.conv2(h / (1 + (-h).exp()))


def block_in_double(block, x, time):
    block = block.double()
    h = torch.nn.Sequential(block.norm1, torch.nn.SiLU(), block.conv1)(x.double())
    h = h + block.time(time.double()).unsqueeze(-1).unsqueeze(-1)
    return block.shortcut(x.double()) + torch.nn.Sequential(
        block.norm2, torch.nn.SiLU(), block.conv2
    )(h)


def block_image_by_image(block, x, time):
    return torch.stack([block(x[i : i + 1], time[i : i + 1])[0] for i in range(len(x))])


def u_with_an_index(h, down, middle, up):
    kept = [h]
    for stage in down:
        h = stage(h)
        kept.append(h)
    h = middle(h)
    for i, stage in enumerate(up):
        h = stage(torch.cat((h, kept[-1 - i]), -3))
    return h


def u_with_a_channel_axis_in_front(h, down, middle, up):
    def joined(a, b):
        return torch.vstack([a.transpose(0, 1), b.transpose(0, 1)]).transpose(0, 1)

    kept = [h]
    for stage in down:
        kept.insert(0, stage(kept[0]))
    return reduce(
        lambda h, pair: pair[0](joined(h, pair[1])), zip(up, kept, strict=True), middle(kept[0])
    )


def u_in_numpy(h, down, middle, up):
    kept = [h.double()]
    for stage in down:
        kept += [stage(kept[-1])]
    h = middle(kept[-1])
    for stage in up:
        h = stage(torch.from_numpy(np.concatenate([h.numpy(), kept.pop().numpy()], axis=1)))
    return h.numpy()


RIGHT = {
    "06.1": [embed_in_numpy, embed_by_complex_numbers, embed_in_a_loop, embed_by_the_library],
    "06.2": [field_from_the_end, field_by_cumulated_products, field_by_gradients, Field()],
    "06.3": [norm_in_numpy, norm_group_by_group, norm_by_layer_norm, F.group_norm],
    "06.4": [attend_head_by_head, attend_in_numpy, attend_by_torch, attend_with_both_sides_scaled],
    "06.5": [
        block_in_another_order,
        block_in_double,
        block_image_by_image,
        lambda block, x, time: block(x, time),
    ],
    "06.6": [u_with_an_index, u_with_a_channel_axis_in_front, u_in_numpy],
}


@each(RIGHT)
def test_a_right_answer_passes_however_it_is_written(exercise, answer):
    verdict = judge(exercise, answer)
    assert verdict.passed, verdict.text


def test_every_exercise_has_at_least_three_right_answers():
    assert_three_for_each_exercise(RIGHT, "06")


def test_a_check_leaves_the_learner_s_random_numbers_alone():
    """A block of the library draws its first weights when it is made."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    judge(EXERCISES["06.5"], block_in_another_order)
    assert torch.equal(torch.get_rng_state(), before)
