"""The loop of diffusers' examples/unconditional_image_generation/train_unconditional.py, and its image loader.

The loop takes its images from any stream of batches. In the example it is the loader's, which also decodes files.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from PIL import Image
from torch.utils.data import DataLoader


def example_steps(
    model: UNet2DModel,
    stream: Iterator[torch.Tensor],
    *,
    lr: float = 1e-4,
    steps: int = 100_000,
    ema: EMAModel | None = None,
) -> Iterator[torch.Tensor]:
    """Train for `steps` steps, and yield each step's loss. The other settings are the example's defaults.

    Args:
        model: on its device; bf16 on a GPU, as accelerate's mixed precision makes it.
        stream: batches of images [B, C, H, W] between −1 and 1, on any device.
        ema: the moving average of the weights, which the example keeps if asked.
    """
    from accelerate import Accelerator

    device = next(model.parameters()).device
    cuda = device.type == "cuda"
    accelerator = Accelerator(mixed_precision="bf16" if cuda else "no", cpu=not cuda)
    weight_dtype = torch.bfloat16 if cuda else torch.float32
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    lr_scheduler = get_scheduler(
        "cosine", optimizer, num_warmup_steps=min(500, steps // 10), num_training_steps=steps
    )
    model, optimizer, lr_scheduler = accelerator.prepare(model, optimizer, lr_scheduler)
    for _ in range(steps):
        clean_images = next(stream).to(device, weight_dtype)
        noise = torch.randn(clean_images.shape, dtype=weight_dtype, device=device)
        timesteps = torch.randint(0, 1000, (len(clean_images),), device=device).long()
        noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
        with accelerator.accumulate(model):
            model_output = model(noisy_images, timesteps).sample
            loss = F.mse_loss(model_output.float(), noise.float())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
        if ema is not None:
            ema.step(model.parameters())
        yield torch.tensor(loss.detach().item())  # the example logs it after every step


def example_images(pixels: torch.Tensor, batch: int) -> Iterator[torch.Tensor]:
    """The example's loader without end, with its defaults: one image after the other, by the process that trains.

    Args:
        pixels: uint8 [N, C, H, W]. They are given to it as decoded images, which is in its favour.
    """
    from torchvision import transforms

    augmentations = transforms.Compose(
        [
            transforms.Resize(
                pixels.shape[-1], interpolation=transforms.InterpolationMode.BILINEAR
            ),
            transforms.CenterCrop(pixels.shape[-1]),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels.cpu()]

    class Transformed(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, i: int) -> torch.Tensor:
            return augmentations(pictures[i].convert("RGB"))

    loader = DataLoader(Transformed(), batch_size=batch, shuffle=True)
    while True:
        yield from loader
