"""A trained UNet and its schedule as a folder that diffusers' pipelines open."""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler
from safetensors import SafetensorError

from course_utils.diffusion.objective import PREDICTIONS, check_one_of
from course_utils.diffusion.schedule import Schedule, linear, scaled_linear
from course_utils.diffusion.unet import UNet
from course_utils.interop.weights import unet_to_diffusers

PREDICTION_TYPES = dict(zip(PREDICTIONS, ("epsilon", "sample", "v_prediction"), strict=True))


def save_pipeline(
    unet: UNet,
    schedule: Schedule,
    folder: str | Path,
    *,
    prediction: str = "eps",
    sample_size: int | tuple[int, int] | None = None,
) -> None:
    """Writes a folder that `DDPMPipeline.from_pretrained` and `DDIMPipeline.from_pretrained` open.

    Args:
        unet: the trained network. It is not changed.
        schedule: the one it was trained with.
        folder: made if it is not there; a pipeline in it is replaced.
        prediction: what the network answers: "eps", "x0" or "v".
        sample_size: of the images that the pipeline is to draw, one int or (height, width), if it is not that of
            the network's configuration.

    Raises:
        ValueError: if no sample_size is known or it does not fit the network, prediction is none of these, or unet
            is not the course's.
        OSError: if it cannot be written, for instance on a full disk, or there is a file where the folder is to be.
    """
    scheduler = scheduler_to_diffusers(schedule, prediction)
    theirs = unet_to_diffusers(unet)
    config = replace(unet.config, sample_size=sample_size or unet.config.sample_size)
    if config.sample_size is None:
        raise ValueError(
            "a pipeline needs to know which size to draw: give sample_size, here or in the UNetConfig."
        )
    theirs.register_to_config(sample_size=config.sample_size)
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        DDPMPipeline(theirs, scheduler).save_pretrained(folder)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(str(error)) from None


def scheduler_to_diffusers(schedule: Schedule, prediction: str = "eps") -> DDPMScheduler:
    """The DDPMScheduler of a schedule, with diffusers' own defaults: it clips x0 to [−1, 1].

    A linear or scaled linear schedule keeps its name; any other is handed on as its table of β.

    Raises:
        ValueError: if prediction is none of "eps", "x0" and "v".
    """
    check_one_of("prediction", prediction, PREDICTIONS)
    first, last = schedule.beta[0].item(), schedule.beta[-1].item()
    betas = {"trained_betas": schedule.beta.tolist()}
    for name, make in (("linear", linear), ("scaled_linear", scaled_linear)):
        if first <= last and torch.allclose(
            make(schedule.T, first, last).beta, schedule.beta.cpu(), rtol=1e-12, atol=0
        ):
            betas = {"beta_schedule": name, "beta_start": first, "beta_end": last}
            break
    return DDPMScheduler(
        num_train_timesteps=schedule.T, prediction_type=PREDICTION_TYPES[prediction], **betas
    )
