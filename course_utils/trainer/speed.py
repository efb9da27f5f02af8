"""What makes training fast on a GPU. Each is one function, and one argument switches it on or off.

None of them changes what is computed, but for rounding. On a CPU none of them pays.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

from course_utils.diffusion.objective import Model, squared_error
from course_utils.diffusion.schedule import Schedule, from_beta

COMPILE_MODES = (None, "default", "reduce-overhead")


def group_norm(
    x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """`F.group_norm` in tensor operations that torch.compile can melt into its neighbours.

    Two sums over the pixels tell each group's mean and variance. What is left is one
    multiplication and one addition for each number, which the compiler puts into one kernel with
    the activation that follows. Variance as the mean square minus the squared mean needs no second
    pass; in float32 that leaves fewer digits than bfloat16 has only where a group's mean is
    hundreds of times its deviation.
    """
    B, C = x.shape[:2]
    numbers = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = numbers.mean((2, 3)).view(B, groups, -1).mean(2, keepdim=True)  # [B, groups, 1]
    square = numbers.square().mean((2, 3)).view(B, groups, -1).mean(2, keepdim=True)
    variance = (square - mean.square()).clamp(min=0)
    scale = weight.view(groups, -1) * (variance + eps).rsqrt()  # [B, groups, C / groups]
    shift = bias.view(groups, -1) - mean * scale
    return (numbers * scale.reshape(B, C, 1, 1) + shift.reshape(B, C, 1, 1)).to(x.dtype)


class FusibleGroupNorm(nn.GroupNorm):
    """nn.GroupNorm with `group_norm` inside: the same weights under the same names."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def fuse_group_norms(model: nn.Module) -> None:
    """Put a FusibleGroupNorm in the place of each nn.GroupNorm, with the very same weights. Only for compiling."""
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            if type(norm) is nn.GroupNorm:
                with torch.device("meta"):  # no first weights
                    fusible = FusibleGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
                fusible.weight, fusible.bias = norm.weight, norm.bias
                setattr(parent, name, fusible.train(norm.training))


def colours_innermost(model: nn.Module) -> None:
    """Lay convolutions' weights out so that a pixel's channels are neighbours in memory, as tensor cores want them.

    Images follow the weights of the first convolution that they meet.
    """
    model.to(memory_format=torch.channels_last)


def try_convolutions_out(on: bool) -> None:
    """Let cuDNN time its algorithms for each shape of convolution that it meets first, and keep the fastest.

    It has made no run faster that was measured, and the first step waits for the trials.
    """
    torch.backends.cudnn.benchmark = on


def compiled(function: Callable, mode: str | None) -> Callable:
    """The function as few large GPU kernels, made when it is first called, in one or two minutes.

    Args:
        mode: None leaves the function as it is; "default" compiles it; "reduce-overhead" also
            records all its kernels as a CUDA graph, so that launching them costs no time. The
            results then stay in the graph's own memory, which the next call overwrites.
    """
    return function if mode is None else torch.compile(function, mode=mode, dynamic=False)


def on_device(schedule: Schedule, device: torch.device) -> Schedule:
    """The schedule with its tables on a GPU, where each step would otherwise wait for a copy of them."""
    return from_beta(schedule.beta.to(device)) if device.type == "cuda" else schedule


def loss_function(
    model: Model,
    schedule: Schedule,
    device: torch.device,
    *,
    prediction: str = "eps",
    dtype: torch.dtype = torch.float32,
    compile: str | None = None,
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """The function from x0 [B, C, H, W], t [B] and eps to `objective.squared_error`, [B].

    Args:
        model: model(x, t), on the device.
        dtype: of matrix products and convolutions; all else, and the weights, stay in float32.
        compile: a mode of `compiled`: network, noising and loss become one piece.
    """
    schedule = on_device(schedule, device)

    def losses(x0: torch.Tensor, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return squared_error(model, schedule, x0, t, eps, prediction)

    return compiled(losses, compile)


def adamw(
    model: nn.Module, lr: float, *, weight_decay: float = 0.0, fused: bool = True
) -> torch.optim.Optimizer:
    """AdamW with a kernel for dozens of tensors of weights at a time; or, without `fused`, as torch makes it.

    On a GPU torch's default, "foreach", needs some ten kernels for all of them, each of which reads them anew.
    """
    fused = fused or None  # False would forbid foreach as well
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=fused)


def for_sampling(
    model: nn.Module, *, dtype: torch.dtype = torch.float32, compile: str | None = None
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """A copy of the model that samplers can ask, model(x, t), as fast as its GPU allows.

    Args:
        dtype: of the copy's weights and of all it computes. What it answers has the dtype of x.
        compile: a mode of `compiled`. The first call for each shape of x then takes its time. Group norms stay
            torch's own: for one picture at a time, a step with `group_norm` took longer.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False).to(dtype)
    if compile is not None:
        colours_innermost(model)
    network = compiled(model, compile)

    @torch.no_grad()
    def ask(x: torch.Tensor, t: int) -> torch.Tensor:
        t = torch.full(
            (), t, device=x.device
        )  # a bare number would be compiled in, anew for each t
        return network(x.to(dtype), t).to(x.dtype, copy=True)  # off the graph's own memory

    return ask
