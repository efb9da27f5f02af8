"""The one place where pixels, 0 … 255, and samples, −1 to 1, turn into each other."""

import torch


def to_model(pixels: torch.Tensor) -> torch.Tensor:
    """What a diffusion model takes: 0 becomes −1, 255 becomes 1, and all between lies on the line.

    Args:
        pixels: uint8, [..., C, H, W] or any shape.

    Returns:
        float32 tensor of the same shape and device, in [−1, 1].

    Raises:
        ValueError: if pixels is not a uint8 tensor.
    """
    if not isinstance(pixels, torch.Tensor) or pixels.dtype != torch.uint8:
        kind = pixels.dtype if isinstance(pixels, torch.Tensor) else type(pixels).__name__
        raise ValueError(
            f"pixels must be a tensor of whole numbers 0 … 255, dtype torch.uint8; got {kind}."
        )
    return pixels.float() / 127.5 - 1


def to_pixels(sample: torch.Tensor) -> torch.Tensor:
    """What a screen takes: to_model undone. Values beyond [−1, 1] are clamped, the rest rounded.

    Args:
        sample: floating point, [..., C, H, W] or any shape, meant to lie in [−1, 1].

    Returns:
        uint8 tensor of the same shape and device, detached from any gradient.

    Raises:
        ValueError: if sample is not a floating-point tensor, or holds NaN or infinity, as it does once
            sampling or training has diverged.
    """
    if not isinstance(sample, torch.Tensor) or not sample.is_floating_point():
        kind = sample.dtype if isinstance(sample, torch.Tensor) else type(sample).__name__
        raise ValueError(f"sample must be a floating-point tensor in [−1, 1]; got {kind}.")
    # Half precision cannot hold every whole number up to 255 exactly.
    sample = sample.detach().float()
    bad = int((~sample.isfinite()).sum())
    if bad:
        raise ValueError(
            f"sample holds {bad} values of {sample.numel()} that are NaN or infinite: "
            "no picture can be made of it. Look for the step where it diverged."
        )
    return ((sample + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
