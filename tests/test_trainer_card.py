"""What a run leaves for diffusers: pipelines that draw what the course's samplers draw, and a card that is true."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline
from huggingface_hub import ModelCard
from tiny_training import PIXELS, TINY, tiny_run

from course_utils.data import to_pixels
from course_utils.diffusion.samplers import ddim
from course_utils.trainer import draw, export, results, run, trained

CPU = torch.device("cpu")
PREDICTIONS = ["eps", "x0", "v"]


@pytest.fixture(scope="module", params=PREDICTIONS)
def finished(request, tmp_path_factory):
    """A run that has learned something, for each kind of prediction."""
    folder = tmp_path_factory.mktemp(request.param)
    rarely = dict.fromkeys(("log_every", "checkpoint_every", "sample_every"), 30)
    tiny_run(folder, steps=30, prediction=request.param, noise="cosine", **rarely)
    return folder


def pictures(kind, folder, **options):
    """Four pictures that a pipeline of diffusers draws, uint8 [4, C, H, W]."""
    pipeline = kind.from_pretrained(folder / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    images = pipeline(batch_size=4, generator=generator, **options).images
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def test_many_samples_are_drawn_in_parts_and_are_the_same(finished, monkeypatch):
    model, settings = trained(finished)
    whole = draw(model, settings, 5, CPU, steps=4)
    monkeypatch.setattr(results, "PART", 2)
    torch.testing.assert_close(draw(model, settings, 5, CPU, steps=4), whole, rtol=0, atol=1e-4)


def assert_same_pictures(ours, theirs):
    ours = to_pixels(ours).int()
    assert ours.float().std() > 10  # not one colour, nor all black and white
    assert len(ours.unique()) > 20
    assert (ours - theirs.int()).abs().max() <= 1


def test_ddpm_pipeline_draws_what_the_trainer_draws(finished):
    model, settings = trained(finished)
    ours = draw(model, settings, 4, CPU, sampler="ddpm", steps=settings.T, seed=5)
    theirs = pictures(DDPMPipeline, finished, num_inference_steps=settings.T)
    assert_same_pictures(ours, theirs)
    assert (
        to_pixels(draw(model, settings, 4, CPU, steps=settings.T)).int() - theirs
    ).abs().max() > 20


@pytest.mark.parametrize("steps", [20, 5])
def test_ddim_pipeline_draws_what_the_course_s_sampler_draws(finished, steps):
    model, settings = trained(finished)
    x = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    options = {"prediction": settings.prediction, "clip": 1.0}
    with torch.no_grad():
        *_, last = ddim(model, x, settings.schedule, steps=steps, **options)
    assert_same_pictures(last.x, pictures(DDIMPipeline, finished, num_inference_steps=steps))


def test_a_gpu_draws_in_the_format_that_it_trained_in(finished, monkeypatch):
    """Seen on a CPU that is said to have bf16: the network computes in it, the sampler does not."""
    model, settings = trained(finished)
    kinds = []
    model.conv_in.register_forward_hook(lambda layer, x, y: kinds.append(y.dtype))
    monkeypatch.setattr(results, "best_precision", lambda device: "bf16")
    fast = draw(model, settings, 4, CPU, steps=5)
    plain = draw(model, replace(settings, precision="fp32"), 4, CPU, steps=5)
    assert kinds == [torch.bfloat16] * 5 + [torch.float32] * 5
    assert fast.dtype == plain.dtype == torch.float32
    assert 0 < (fast - plain).abs().mean() < 0.1


def card_of(folder):
    return ModelCard.load(folder / "pipeline" / "README.md")


def test_the_card_is_complete_and_true(finished):
    card, settings = card_of(finished), trained(finished)[1]
    assert card.data.library_name == "diffusers"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert set(card.data.tags) >= {"diffusers", "diffusion-course"}
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", card.text, flags=re.MULTILINE))
    parameters = sum(weight.numel() for weight in trained(finished)[0].parameters())
    assert f"of {parameters:,} parameters" in card.text
    assert card.text.strip().startswith("# Images of 4×4\n")
    assert rows["data"].startswith(
        "pixels given from Python: 23 images of 4×4, in colour, mirrored"
    )
    assert rows["could not be read"] == "0 images"
    assert rows["training"].startswith("30 steps of 10 images, ")
    assert rows["objective"].startswith(
        f"{settings.prediction} prediction, t uniform over 20 steps, cosine"
    )
    assert rows["learning rate"] == "0.01, after 3 steps of warm-up; AdamW, weight decay 0"
    assert rows["weights"] == "moving average with decay 0.999"
    last = json.loads((finished / "log.jsonl").read_text().splitlines()[-1])
    assert float(rows["loss at the end"]) == pytest.approx(last["loss"], abs=6e-5)
    assert rows["made on"] == f"CPU, fp32, PyTorch {torch.__version__}"
    assert "is for you to" in card.text
    assert "{" not in card.text


def test_the_card_s_snippet_runs(finished, monkeypatch):
    (snippet,) = re.findall(r"```python\n(.*?)```", card_of(finished).text, flags=re.DOTALL)
    monkeypatch.chdir(finished)
    names = {}
    exec(snippet, names)
    assert [image.size for image in names["images"]] == [(4, 4)] * 4


def test_the_card_of_an_export_elsewhere_is_that_of_the_run(finished, tmp_path):
    export(finished, tmp_path / "elsewhere")
    theirs = (finished / "pipeline" / "README.md").read_text()
    ours = (tmp_path / "elsewhere" / "README.md").read_text()
    assert ours == theirs.replace('"pipeline"', '"elsewhere"')


@pytest.mark.parametrize("channels", [1, 3])
def test_drawn_butterflies_and_grey_images_are_called_so(tmp_path, channels):
    settings = replace(TINY, steps=1, images=10, flip=False)
    if channels == 3:
        larger = replace(settings, model=replace(TINY.model, sample_size=8))
        run(larger, tmp_path, report=lambda line: None)
        assert "# butterflies: images of 8×8\n" in card_of(tmp_path).text
        assert "butterflies: 10 images of 8×8, in colour |" in card_of(tmp_path).text
        assert "drawn by a program" in card_of(tmp_path).text
    else:
        grey = replace(settings, model=replace(TINY.model, in_channels=1, out_channels=1))
        run(grey, tmp_path, pixels=PIXELS[:, :1], report=lambda line: None)
        assert "pixels given from Python: 23 images of 4×4, grey |" in card_of(tmp_path).text
        assert "drawn by a program" not in card_of(tmp_path).text
