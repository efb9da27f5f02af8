"""The whole UNet against diffusers'; and what it does with input and configurations that it cannot use."""

import json
from dataclasses import FrozenInstanceError, asdict, replace

import pytest
import torch
from devices import on_every_device
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from unet_cases import (
    BATCHES,
    CELEBA,
    CIFAR,
    DTYPES,
    MODES,
    SHIPPED,
    SMALL,
    assert_agree,
    make_unet2d,
    pairs_of,
    rand,
    relative,
)

from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop.weights import config_from_diffusers, unet_from_diffusers

CONFIG = UNetConfig(channels=(8, 16), groups=4, layers=1, attention=(False, True), norm_eps=1e-5)
# Even and odd batches, both dtypes, both modes: every pair of these once.
EVERY_PAIR = pytest.mark.parametrize(
    ("batch", "dtype", "train"),
    [
        pytest.param(2, torch.float32, False, id="2-f32-eval"),
        pytest.param(3, torch.float32, True, id="3-f32-train"),
        pytest.param(2, torch.float64, True, id="2-f64-train"),
        pytest.param(3, torch.float64, False, id="3-f64-eval"),
    ],
)


# The whole


def both(options, dtype=torch.float32, train=False):
    """Our network and diffusers' with the same weights, as functions, and the pairs of their parameters."""
    theirs = make_unet2d(**options).train(train)
    if dtype == torch.float64:
        theirs = theirs.double()
    ours = unet_from_diffusers(theirs)
    pairs = pairs_of(ours, theirs, ("", ""))
    return ours, lambda x, t: theirs(x, t).sample, pairs


@DTYPES
@MODES
@BATCHES
def test_the_shipped_shape(batch, train, dtype):
    ours, theirs, pairs = both(SHIPPED | {"dropout": 0.3}, dtype, train)
    assert_agree(ours, theirs, pairs, rand(batch, 3, 16, 8, dtype=dtype), torch.arange(batch) * 333)
    assert sum(p.numel() for p in ours.parameters()) == 3_229_667


@EVERY_PAIR
@pytest.mark.parametrize(
    ("options", "size", "parameters"),
    [(CIFAR, 8, 35_746_307), (CELEBA, 32, 113_673_219)],
    ids=["ddpm-cifar10-32", "ddpm-celebahq-256"],
)
def test_the_shapes_of_google_s_models(options, size, parameters, batch, dtype, train):
    """The networks are whole; the images are smaller than those that they are meant for."""
    ours, theirs, pairs = both(options | {"dropout": 0.1}, dtype, train)
    x = rand(batch, 3, size, size, dtype=dtype)
    assert_agree(ours, theirs, pairs, x, torch.arange(batch) * 333)
    assert sum(p.numel() for p in ours.parameters()) == parameters


@st.composite
def shapes(draw):
    levels = draw(st.integers(1, 4))
    attention = draw(st.lists(st.booleans(), min_size=levels, max_size=levels))
    options = {
        "in_channels": draw(st.integers(1, 4)),
        "out_channels": draw(st.integers(1, 4)),
        "block_out_channels": tuple(
            draw(st.lists(st.sampled_from([8, 12, 16, 24]), min_size=levels, max_size=levels))
        ),
        "layers_per_block": draw(st.integers(1, 3)),
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attention[::-1]),
        "add_attention": draw(st.booleans()),
        "attention_head_dim": draw(st.sampled_from([None, 1, 2, 4])),
        "norm_num_groups": draw(st.sampled_from([1, 2, 4])),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-3])),
        "dropout": draw(st.sampled_from([0.0, 0.5])),
        "downsample_padding": draw(st.integers(0, 1)),
        "flip_sin_to_cos": draw(st.booleans()),
        "freq_shift": draw(st.integers(0, 1)),
    }
    halvings = 2 ** (levels - 1)
    size = [halvings * draw(st.integers(1, 3)) for _ in "HW"]
    return options, draw(st.integers(1, 3)), size


@settings(max_examples=30, deadline=None)
@given(shapes(), st.booleans())
def test_any_shape_of_network(shape, train):
    options, batch, size = shape
    ours, theirs, pairs = both(options, torch.float64, train)
    x = rand(batch, options["in_channels"], *size, dtype=torch.float64)
    assert_agree(ours, theirs, pairs, x, torch.arange(batch) * 400)


@pytest.mark.parametrize(
    ("options", "parameters"), [(CIFAR, 35_746_307), (CELEBA, 113_673_219), (SHIPPED, 3_229_667)]
)
def test_parameters_to_the_unit(options, parameters):
    with torch.device("meta"):
        theirs = UNet2DModel(**options)
        ours = UNet(config_from_diffusers(theirs.config))
    for model in (ours, theirs):
        assert sum(p.numel() for p in model.parameters()) == parameters


# Its input


@pytest.fixture(scope="module")
def unet():
    return unet_from_diffusers(make_unet2d(**SMALL).eval())


def test_t_as_a_number_a_tensor_and_one_for_each_image(unet):
    x = rand(3, 3, 8, 8)
    with torch.no_grad():
        expected = unet(x, torch.tensor([7, 7, 7]))
        for t in (7, 7.0, torch.tensor(7), torch.tensor(7.0), torch.tensor([7, 7, 7]).int()):
            assert torch.equal(unet(x, t), expected)
        mixed = unet(x, torch.tensor([7, 900, 0]))
        assert relative(mixed[:1], expected[:1]) < 1e-5
        for i, t in ((1, 900), (2, 0)):
            assert relative(mixed[i : i + 1], unet(x[i : i + 1], t)) < 1e-5
            assert relative(mixed[i], expected[i]) > 1e-3


@pytest.mark.parametrize("t", [torch.tensor([1]), torch.arange(4), torch.ones(3, 1)])
def test_a_t_of_wrong_length_is_refused(unet, t):
    with pytest.raises(ValueError, match=r"one number for all 3 images, or one for each, \[3\]"):
        unet(torch.zeros(3, 3, 8, 8), t)


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        (torch.zeros(2, 1, 8, 8), r"\[B, 3, H, W\]; got \[2, 1, 8, 8\]"),
        (torch.zeros(3, 8, 8), r"\[B, 3, H, W\]; got \[3, 8, 8\]"),
        (torch.zeros(2, 3, 8, 9), r"divisible by 2, for 2 levels; got 8 × 9"),
        (torch.zeros(2, 3, 7, 8), r"divisible by 2, for 2 levels; got 7 × 8"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"floating point; got torch.uint8.*to_model"),
    ],
)
def test_images_that_do_not_fit_are_refused(unet, x, complaint):
    with pytest.raises(ValueError, match=complaint):
        unet(x, 0)


def test_the_input_is_left_as_it_was(unet):
    x, t = rand(2, 3, 8, 8), torch.tensor([1, 2])
    unet(x, t)
    assert torch.equal(x, rand(2, 3, 8, 8))
    assert t.tolist() == [1, 2]


def test_dropout_is_on_in_training_alone(unet):
    noisy = UNet(replace(unet.config, dropout=0.5))
    noisy.load_state_dict(unet.state_dict())
    x = rand(2, 3, 8, 8)
    with torch.no_grad():
        assert not torch.equal(noisy.train()(x, 3), noisy(x, 3))
        assert torch.equal(noisy.eval()(x, 3), unet(x, 3))


# Other ways to run it


def test_it_compiles_as_one_graph(unet):
    compiled = torch.compile(unet, backend="eager", fullgraph=True)  # needs no C++ compiler
    x = rand(2, 3, 8, 8)
    for t in (3, 4, torch.tensor([3, 900])):
        assert relative(compiled(x, t), unet(x, t)) < 1e-5


def test_channels_last_changes_nothing(unet):
    last = unet_from_diffusers(make_unet2d(**SMALL).eval()).to(memory_format=torch.channels_last)
    x = rand(2, 3, 8, 8)
    answer = last(x.contiguous(memory_format=torch.channels_last), 5)
    assert relative(answer, unet(x, 5)) < 1e-5


def test_bf16_autocast_is_near_and_its_gradients_are_finite(unet):
    x = rand(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        answer = unet(x, 5)
    assert answer.dtype == torch.bfloat16
    assert relative(answer.float(), unet(x, 5)) < 0.05
    gradients = torch.autograd.grad(answer.float().square().sum(), list(unet.parameters()))
    assert all(g.isfinite().all() and g.dtype == torch.float32 for g in gradients)


def test_with_bf16_weights_t_is_not_rounded(unet):
    """bfloat16 has no 999: its neighbours are 996 and 1000."""
    half = unet_from_diffusers(make_unet2d(**SMALL).eval()).bfloat16()
    x = rand(2, 3, 8, 8)
    answer = half(x.bfloat16(), 999)
    assert torch.equal(half(x.bfloat16(), torch.tensor([999, 999])), answer)
    assert not torch.equal(half(x.bfloat16(), 1000), answer)
    assert relative(answer.float(), unet(x, 999)) < 0.05


@on_every_device
def test_every_device_gives_the_same(unet, device):
    moved = unet_from_diffusers(make_unet2d(**SMALL).eval()).to(device)
    x, t = rand(2, 3, 8, 8), torch.tensor([3, 900])
    with torch.backends.cudnn.flags(allow_tf32=False):  # 10 bits of mantissa in place of 23
        assert relative(moved(x.to(device), t).cpu(), unet(x, t)) < 1e-5


def test_no_value_is_read_back():
    """On the meta device there are no values; on a GPU to read one would make it wait."""
    with torch.device("meta"):
        unet, x = UNet(CONFIG), torch.zeros(2, 3, 8, 6)
    for t in (5, torch.tensor(5, device="meta"), torch.zeros(2, device="meta")):
        assert unet(x, t).shape == x.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_whole_number_t_does_not_make_the_gpu_wait(unet):
    moved, x = unet_from_diffusers(make_unet2d(**SMALL)).cuda(), rand(2, 3, 8, 8).cuda()
    moved(x, 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        moved(x, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_of_training_does_not_make_the_gpu_wait():
    unet, x = UNet(CONFIG).cuda(), torch.rand(2, 3, 8, 6, device="cuda")
    t = torch.zeros(2, dtype=torch.int64, device="cuda")
    unet(x, t).mean().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        unet(x, t).mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Its configuration


@pytest.mark.parametrize("sample_size", [None, 32, (32, 16)])
def test_a_configuration_survives_json(sample_size):
    config = UNetConfig(head_dim=8, dropout=0.1, sample_size=sample_size)
    assert UNetConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_a_configuration_is_frozen():
    with pytest.raises(FrozenInstanceError):
        CONFIG.layers = 3


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"in_channels": 0}, "in_channels to be a whole number of at least 1; got 0"),
        ({"out_channels": 1.5}, "out_channels .* got 1.5"),
        ({"layers": 0}, "layers .* got 0"),
        ({"layers": True}, "layers .* got True"),
        ({"groups": 0}, "groups .* got 0"),
        ({"groups": None}, "groups .* got None"),
        ({"groups": 3}, r"channels to be multiples of groups=3, .* got \(8, 16\)"),
        ({"channels": ()}, r"channels .* got \(\)"),
        ({"channels": 8}, "channels .* got 8"),
        ({"channels": (8, 0)}, r"channels .* got \(8, 0\)"),
        ({"channels": (9, 12), "groups": 3}, r"channels to be even on the first level.* got \(9,"),
        ({"attention": (True,)}, r"attention .* each of channels=\(8, 16\); got \(True,\)"),
        ({"attention": True}, "attention .* got True"),
        ({"head_dim": 5}, r"head_dim .* divisor .* \[16, 16\]; got 5"),
        ({"head_dim": 0}, "head_dim .* got 0"),
        ({"head_dim": 16, "attention": (True, True)}, r"head_dim .* \[8, 16, 16\]; got 16"),
        ({"norm_eps": 0.0}, "norm_eps to be above 0; got 0.0"),
        ({"dropout": 1.0}, r"dropout to be in \[0, 1\); got 1.0"),
        ({"downsample_padding": 2}, "downsample_padding to be 0 or 1; got 2"),
        ({"freq_shift": 4}, "freq_shift to be at least 0 and below 4; got 4"),
        ({"sample_size": 9}, "sample_size .* multiple of 2 .* got 9"),
        ({"sample_size": (8, 9)}, r"sample_size .* got \(8, 9\)"),
        ({"sample_size": (8, 8, 8)}, r"sample_size .* got \(8, 8, 8\)"),
        ({"sample_size": 0}, "sample_size .* got 0"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(CONFIG, **change)


def test_a_head_may_be_wider_than_levels_without_attention():
    assert UNet(replace(CONFIG, head_dim=16)).mid_attention.heads == 1
