"""What makes training fast changes nothing but rounding."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from devices import on_every_device
from tiny_training import TINY
from torch import nn

from course_utils.diffusion import schedule
from course_utils.diffusion.objective import squared_error
from course_utils.diffusion.schedule import Schedule
from course_utils.diffusion.training import loop
from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.trainer import precision, speed
from course_utils.trainer.step import Gradients, add_gradients


def unet():
    torch.manual_seed(0)
    return UNet(TINY.model)


@pytest.mark.parametrize("shape", [(2, 8, 4, 4), (1, 6, 5, 3), (3, 32, 1, 1)])
@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (30, 1), (-2, 0.01), (0, 100)])
def test_group_norm_is_torch_s(shape, mean, deviation):
    torch.manual_seed(0)
    x = (mean + deviation * torch.randn(shape)).requires_grad_()
    weight = torch.randn(shape[1], requires_grad=True)
    bias = torch.randn(shape[1], requires_grad=True)
    towards = torch.randn(shape)
    results = []
    for norm in (F.group_norm, speed.group_norm):
        y = norm(x, 2, weight, bias, 1e-6)
        results.append((y, *torch.autograd.grad((y * towards).sum(), (x, weight, bias))))
    # A mean that is m deviations away costs m² of float32's 6e-8.
    bound = 1e-5 * max(1.0, (mean / deviation) ** 2 / 100)
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=bound, atol=bound * theirs.detach().abs().max().item()
        )


def test_group_norm_of_one_value_everywhere_is_finite():
    x = torch.full((1, 4, 8, 8), 12345.678)
    y = speed.group_norm(x, 2, torch.ones(4), torch.zeros(4), 1e-6)
    assert y.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_group_norm_keeps_the_dtype_and_computes_in_a_good_one(dtype):
    x = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight, bias = torch.ones(8, dtype=dtype), torch.zeros(8, dtype=dtype)
    y = speed.group_norm(x, 4, weight, bias, 1e-6)
    assert y.dtype == dtype
    exact = F.group_norm(x.double(), 4, eps=1e-6)
    bound = {torch.bfloat16: 1e-2, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(y.double(), exact, rtol=bound, atol=bound)


def test_fused_group_norms_share_the_weights_and_answer_the_same():
    plain = unet()
    fused = copy.deepcopy(plain)
    weights = {name: w.data_ptr() for name, w in fused.named_parameters()}
    speed.fuse_group_norms(fused)
    assert {name: w.data_ptr() for name, w in fused.named_parameters()} == weights
    assert not any(type(module) is nn.GroupNorm for module in fused.modules())
    x, t = torch.randn(2, 3, 4, 4), torch.tensor([3, 7])
    torch.testing.assert_close(fused(x, t), plain(x, t), rtol=1e-5, atol=1e-5)
    plain.load_state_dict(fused.state_dict())


def test_colours_innermost_changes_the_layout_alone():
    model, x, t = unet(), torch.randn(2, 3, 4, 4), torch.tensor([3, 7])
    before = model(x, t)
    speed.colours_innermost(model)
    assert model.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x, t), before, rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_course_s():
    model, plan = unet(), schedule.linear(20)
    x0, eps = torch.rand(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    t = torch.tensor([0, 7, 19])
    for prediction in ("eps", "x0", "v"):
        losses = speed.loss_function(model, plan, torch.device("cpu"), prediction=prediction)
        expected = squared_error(model, plan, x0, t, eps, prediction)
        torch.testing.assert_close(losses(x0, t, eps), expected, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*[Aa]utocast")
def test_network_noising_and_loss_compile_into_one_piece():
    """On tensors without contents, which like a GPU's are never read back. One read would break the piece in two."""
    with torch.device("meta"):
        model = UNet(UNetConfig(channels=(4,), attention=(True,), layers=1, groups=2))
    speed.fuse_group_norms(model)
    tables = [table.to("meta") for table in vars(schedule.linear(20)).values()]
    plan = Schedule(*tables)

    def losses(x0, t, eps):
        return squared_error(model, plan, x0, t, eps)

    whole = torch.compile(losses, backend="aot_eager", fullgraph=True, dynamic=False)
    x0, t = torch.empty(2, 3, 4, 4, device="meta"), torch.empty(2, dtype=torch.long, device="meta")
    answer = whole(x0, t, torch.empty_like(x0))
    answer.sum().backward()
    assert answer.shape == (2,)
    assert all(weight.grad is not None for weight in model.parameters())


@on_every_device
def test_what_samplers_ask_is_the_model(device):
    model = unet().to(device)
    ask = speed.for_sampling(model)
    x = torch.randn(2, 3, 4, 4, device=device)
    first = ask(x, 3)
    kept = first.clone()
    ask(x, 9)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)
    torch.testing.assert_close(first, model.eval()(x, 3).detach(), rtol=1e-5, atol=1e-5)
    assert not first.requires_grad
    assert model.conv_in.weight.requires_grad  # the model itself is as it was


def test_what_is_compiled_for_sampling_keeps_torch_s_group_norms(monkeypatch):
    given = []
    monkeypatch.setattr(speed, "compiled", lambda model, mode: given.append(model) or model)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    model = unet()
    speed.for_sampling(model, compile="default")
    (asked,) = given
    kinds = [{type(module) for module in network.modules()} for network in (asked, model)]
    assert kinds[0] == kinds[1]
    assert asked.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not torch.backends.cudnn.benchmark


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_samplers_ask_compiled_is_the_model_within_bf16():
    device = torch.device("cuda")
    torch.manual_seed(0)
    model = UNet(UNetConfig(channels=(32, 64), attention=(False, True), sample_size=16)).to(device)
    ask = speed.for_sampling(model, dtype=torch.bfloat16, compile="reduce-overhead")
    x, times = torch.randn(1, 3, 16, 16, device=device), [999, 500, 3, 0, 999]
    answers = [ask(x, t) for t in times]  # the later ones replay the CUDA graph
    for answer, t in zip(answers, times, strict=True):
        torch.testing.assert_close(answer, model(x, t).detach(), rtol=0.03, atol=0.03)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_network_agrees_with_the_eager_one_within_bf16(mode):
    device = torch.device("cuda")
    torch.manual_seed(0)
    config = UNetConfig(channels=(32, 64), attention=(False, True), sample_size=16)
    plain = UNet(config).to(device)
    fast = copy.deepcopy(plain)
    speed.colours_innermost(fast)
    speed.fuse_group_norms(fast)
    plan = schedule.linear()
    x0, eps = torch.rand(8, 3, 16, 16, device=device), torch.randn(8, 3, 16, 16, device=device)
    t = torch.arange(0, 1000, 125, device=device)
    eager = speed.loss_function(plain, plan, device)(x0, t, eps)
    eager.mean().backward()
    losses = speed.loss_function(fast, plan, device, dtype=torch.bfloat16, compile=mode)
    for _ in range(3):  # a CUDA graph is recorded in the second and third
        fast.zero_grad()
        compiled = losses(x0, t, eps)
        compiled.mean().backward()
    torch.testing.assert_close(compiled, eager, rtol=0.02, atol=0.02)
    ours = torch.cat([w.grad.flatten() for w in fast.parameters()])
    theirs = torch.cat([w.grad.flatten() for w in plain.parameters()])
    assert float((ours - theirs).norm() / theirs.norm()) < 0.05


class TestPrecision:
    @pytest.mark.parametrize("enabled", [True, False])
    def test_a_scaled_step_is_the_same_step(self, enabled):
        """The loss is multiplied, but what is clipped and what the optimizer sees is the true gradient."""
        plan, x0 = schedule.linear(20), torch.rand(4, 3, 4, 4)
        models = [unet(), unet()]
        for model, on in zip(models, (enabled, False), strict=True):
            scaler = torch.amp.GradScaler("cpu", enabled=on, init_scale=2.0**10)
            optimizer = precision.Scaled(torch.optim.SGD(model.parameters()), scaler)
            losses = speed.loss_function(model, plan, torch.device("cpu"))
            add = partial(add_gradients, losses, T=20, generator=torch.Generator().manual_seed(0))
            steps = loop(
                model,
                iter([x0[:2], x0[2:]] * 2),
                Gradients(add, optimizer),
                optimizer,
                rate=lambda step: 0.1,
                ema=None,
                max_norm=0.1,
                accumulate=2,
                start=0,
            )
            norms = [step.norm for step in steps]
            assert len(norms) == 2
            assert all(0.1 < norm < 100 for norm in norms)
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)

    def test_a_cpu_computes_in_fp32(self):
        assert precision.choose_precision("auto", torch.device("cpu")) == "fp32"

    @pytest.mark.parametrize(("real", "best"), [(True, "bf16"), (False, "fp16")])
    def test_a_gpu_that_imitates_bf16_takes_fp16(self, monkeypatch, real, best):
        def supported(including_emulation=True):
            return real or including_emulation

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
        gpu = torch.device("cuda")
        assert precision.choose_precision("auto", gpu) == best
        assert precision.choose_precision("fp32", gpu) == "fp32"
        assert precision.choose_precision("fp16", gpu) == "fp16"

    def test_what_a_device_has_not_is_refused_by_name(self, monkeypatch):
        with pytest.raises(ValueError, match=r"cpu device does not compute in bf16.*fp32"):
            precision.choose_precision("bf16", torch.device("cpu"))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
        with pytest.raises(ValueError, match=r"bf16.*fp16"):
            precision.choose_precision("bf16", torch.device("cuda"))
        with pytest.raises(ValueError, match="one of auto"):
            precision.choose_precision("fp8", torch.device("cpu"))
