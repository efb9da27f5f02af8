"""Which number formats a device really computes in, and which of them a run uses.

float32 is exact enough for everything and the slowest. bfloat16 keeps its range with 8 bits of precision: products of
matrices run many times faster on the units that GPUs have for them, and nothing else changes. float16 has 11 bits and
a small range, so small gradients would become 0: the loss is multiplied by a large number before they are computed.
"""

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def best_precision(device: torch.device) -> str:
    """The fastest format that the device has in hardware: "bf16", "fp16" on GPUs before it, "fp32" elsewhere."""
    if device.type != "cuda":
        return "fp32"
    # A T4 would say yes without this argument: it imitates bf16, at a fraction of its speed.
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def choose_precision(wanted: str, device: torch.device) -> str:
    """What is wanted, with "auto" for the best of the device.

    Raises:
        ValueError: if there is no such format, or the device does not have it.
    """
    if wanted not in ("auto", *DTYPES):
        raise ValueError(f"precision must be one of auto, {', '.join(DTYPES)}; got {wanted!r}.")
    best = best_precision(device)
    if wanted in ("auto", "fp32"):
        return best if wanted == "auto" else "fp32"
    if best == "fp32" or (wanted == "bf16" and best == "fp16"):
        raise ValueError(
            f"this {device.type} device does not compute in {wanted}: its best is {best}, "
            "which precision='auto' chooses."
        )
    return wanted


class Scaled:
    """An optimizer beneath a gradient scaler: what `training.loop` asks of one, and no more.

    A step whose gradients overflowed is left out, and the scaler tries a smaller number. A
    scaler that is not enabled changes nothing.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler):
        self.optimizer, self.scaler = optimizer, scaler
        self.zero_grad = optimizer.zero_grad

    @property
    def param_groups(self) -> list[dict]:
        return self.optimizer.param_groups

    def backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()

    def unscale(self) -> None:
        """Give the gradients their true size, once for each step and before they are clipped."""
        self.scaler.unscale_(self.optimizer)

    def step(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
