"""diffusers' DDPM scheduler with tables in double precision.

It builds them in single, and 1 − ᾱ as a difference there: at the first steps three digits are left. With better
tables its own formulas agree with ours to nine, so it is the rounding that differs and nothing else.
"""

from diffusers import DDPMScheduler

from course_utils.diffusion.schedule import Schedule


def ddpm_scheduler(schedule: Schedule, **options) -> DDPMScheduler:
    """Its scheduler for our schedule, in float64."""
    scheduler = DDPMScheduler(num_train_timesteps=schedule.T, clip_sample=False, **options)
    scheduler.betas, scheduler.alphas = schedule.beta, schedule.alpha
    scheduler.alphas_cumprod = schedule.alpha_bar
    return scheduler
