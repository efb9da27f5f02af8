"""What save_pipeline leaves behind: diffusers' pipelines open it and draw what the course's own formulas draw."""

import json

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler
from unet_cases import SMALL, make_unet2d

from course_utils.diffusion import objective, posterior, schedule
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop import save_pipeline, scheduler_to_diffusers, unet_from_diffusers

SCHEDULES = {
    "linear": schedule.linear(),
    "scaled_linear": schedule.scaled_linear(),
    "sigmoid": schedule.sigmoid(),
    "cosine": schedule.cosine(),
    "short": schedule.linear(10, 1e-3, 0.7),
    "one step": schedule.linear(1, 0.3, 0.3),
    "any": schedule.from_beta(torch.rand(20, generator=torch.Generator().manual_seed(0)) / 9),
    "falling": schedule.from_beta([0.5, 0.4, 0.1]),
    "down to pure noise": schedule.from_beta([0.1, 0.5, 1.0]),
}


@pytest.fixture(scope="module")
def unet():
    return unet_from_diffusers(make_unet2d(**SMALL).eval())


def opened(kind, folder):
    pipeline = kind.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_pipeline_draws_what_the_course_s_posterior_draws(unet, tmp_path, prediction):
    """Algorithm 2 of Ho et al. with x0 clipped, as diffusers does it, with the same noise: not a level of 255 apart."""
    s = SCHEDULES["short"]
    save_pipeline(unet, s, tmp_path, prediction=prediction)
    images = opened(DDPMPipeline, tmp_path)(
        batch_size=2,
        num_inference_steps=s.T,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images

    noise = torch.Generator().manual_seed(5)
    x = torch.randn(2, 3, 8, 8, generator=noise)
    with torch.no_grad():
        for t in reversed(range(s.T)):
            x0, _ = objective.to_x0_eps(s, unet(x, t), x, t, prediction)
            x, variance = posterior.q_posterior(s, x0.clamp(-1, 1), x, t)
            if t > 0:
                x = x + variance.sqrt() * torch.randn(x.shape, generator=noise)
    expected = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    assert expected.std() > 0.1
    assert (torch.from_numpy(images) - expected).abs().max() * 255 < 1


def test_ddim_opens_it_too(unet, tmp_path):
    save_pipeline(unet, SCHEDULES["cosine"], tmp_path)
    ddim = opened(DDIMPipeline, tmp_path)
    assert ddim.scheduler.config.trained_betas is not None
    (image,) = ddim(num_inference_steps=3, generator=torch.Generator().manual_seed(0)).images
    assert image.size == (8, 8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_both_pipelines_have_the_schedule_to_single_precision(unet, tmp_path, name):
    s = SCHEDULES[name]
    save_pipeline(unet, s, tmp_path)
    for kind in (DDPMPipeline, DDIMPipeline):
        scheduler = opened(kind, tmp_path).scheduler
        assert scheduler.config.num_train_timesteps == s.T
        torch.testing.assert_close(scheduler.betas, s.beta.float(), rtol=1e-6, atol=0)
        torch.testing.assert_close(
            scheduler.alphas_cumprod, s.alpha_bar.float(), rtol=1e-4, atol=1e-9
        )


@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_a_schedule_that_has_a_name_keeps_it(name):
    config = scheduler_to_diffusers(SCHEDULES[name]).config
    made = getattr(schedule, name)()
    assert config.beta_schedule == name
    assert config.trained_betas is None
    assert config.beta_start == pytest.approx(made.beta[0].item(), rel=1e-12)
    assert config.beta_end == pytest.approx(made.beta[-1].item(), rel=1e-12)


def test_a_schedule_that_is_nearly_linear_is_not_called_linear():
    beta = schedule.linear().beta.clone()
    beta[500] *= 1.001
    scheduler = scheduler_to_diffusers(schedule.from_beta(beta))
    torch.testing.assert_close(scheduler.betas, beta.float(), rtol=1e-6, atol=0)


def test_a_linear_ddpm_has_diffusers_own_defaults():
    ours, theirs = scheduler_to_diffusers(schedule.linear()).config, DDPMScheduler().config
    assert {k: v for k, v in ours.items() if k[0] != "_"} == {
        k: v for k, v in theirs.items() if k[0] != "_"
    }


@pytest.mark.parametrize("size", [16, (8, 16)])
def test_the_size_may_be_another_than_the_configuration_s(unet, tmp_path, size):
    save_pipeline(unet, SCHEDULES["short"], tmp_path, sample_size=size)
    pipeline = opened(DDPMPipeline, tmp_path)
    height, width = (size, size) if isinstance(size, int) else size
    images = pipeline(num_inference_steps=1, output_type="np").images
    assert images.shape == (1, height, width, 3)
    assert unet.config.sample_size == 8


def test_one_channel_is_a_grey_picture(tmp_path):
    grey = UNetConfig(1, 1, (8,), attention=(False,), groups=4, sample_size=4)
    save_pipeline(UNet(grey), SCHEDULES["short"], tmp_path / "new" / "folder")
    (image,) = opened(DDPMPipeline, tmp_path / "new" / "folder")(num_inference_steps=1).images
    assert image.mode == "L"


def test_a_pipeline_in_the_folder_is_replaced(unet, tmp_path):
    save_pipeline(unet, SCHEDULES["linear"], tmp_path)
    other = unet_from_diffusers(make_unet2d(**(SMALL | {"layers_per_block": 2})))
    save_pipeline(other, SCHEDULES["any"], tmp_path, prediction="v")
    pipeline = opened(DDPMPipeline, tmp_path)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.unet.config.layers_per_block == 2
    back = unet_from_diffusers(tmp_path)
    assert back.config == other.config
    assert all(map(torch.equal, back.parameters(), other.parameters()))


def test_the_files_hold_no_pickle(unet, tmp_path):
    save_pipeline(unet, SCHEDULES["linear"], tmp_path)
    files = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {
        "model_index.json",
        "config.json",
        "scheduler_config.json",
        "diffusion_pytorch_model.safetensors",
    }
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "DDPMPipeline"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prediction": "noise"}, "prediction must be one of .* got 'noise'"),
        ({"sample_size": 9}, "sample_size .* multiple of 2 .* got 9"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(unet, tmp_path, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        save_pipeline(unet, SCHEDULES["linear"], tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_a_network_that_does_not_know_its_size_needs_to_be_told(tmp_path):
    unet = UNet(UNetConfig(channels=(8,), attention=(False,), groups=4))
    with pytest.raises(ValueError, match="which size to draw: give sample_size"):
        save_pipeline(unet, SCHEDULES["linear"], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_file_in_the_way_is_an_error(unet, tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        save_pipeline(unet, SCHEDULES["linear"], tmp_path / "x")


def test_only_the_course_s_network_is_taken(tmp_path):
    with pytest.raises(ValueError, match="must be the course's UNet; got Linear"):
        save_pipeline(torch.nn.Linear(1, 1), SCHEDULES["linear"], tmp_path / "x")
