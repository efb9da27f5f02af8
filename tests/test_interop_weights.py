"""Weights and configurations from diffusers to the course and back; what does not fit is refused by name."""

import json
import re

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file
from unet_cases import CIFAR, SHIPPED, SMALL, make_unet2d, rand, relative

from course_utils.diffusion.unet import UNet, UNetConfig
from course_utils.interop import find_pipeline, unet_from_diffusers, unet_to_diffusers
from course_utils.interop.weights import config_from_diffusers, config_to_diffusers

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def assert_same_network(ours, theirs):
    x = rand(2, 3, 8, 8)
    with torch.no_grad():
        assert relative(ours(x, 7), theirs(x, 7).sample) < 1e-5


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_shipped_pipeline_from_its_folder():
    folder = find_pipeline("butterflies")
    ours = unet_from_diffusers(folder)
    theirs = UNet2DModel.from_pretrained(folder, subfolder="unet")
    assert_same_network(ours, theirs)
    assert_same_weights(ours, unet_from_diffusers(theirs))
    assert sum(p.numel() for p in ours.parameters()) == 3_229_667
    assert ours.config.sample_size == 32
    assert not ours.training


@pytest.mark.parametrize("names", ["new", "old"])
@pytest.mark.parametrize("ending", ["bin", "safetensors"])
@pytest.mark.parametrize("nested", [False, True], ids=["model", "pipeline"])
def test_a_folder_with_new_and_old_names_in_both_formats(tmp_path, nested, ending, names):
    theirs = make_unet2d(**SMALL).eval()
    folder = tmp_path / "unet" if nested else tmp_path
    folder.mkdir(exist_ok=True)
    theirs.save_config(folder)
    weights = theirs.state_dict()
    if names == "old":
        for new, old in OLD_NAMES.items():
            weights = {name.replace(new, old): value for name, value in weights.items()}
        assert not any("to_" in name for name in weights)
    file = folder / f"diffusion_pytorch_model.{ending}"
    torch.save(weights, file) if ending == "bin" else save_file(weights, file)
    for source in (tmp_path, str(tmp_path)):
        assert_same_network(unet_from_diffusers(source), theirs)


def test_incomplete_weights_are_refused_naming_what_is_missing(tmp_path):
    theirs = make_unet2d(**SMALL)
    theirs.save_config(tmp_path)
    weights = theirs.state_dict()
    del weights["mid_block.attentions.0.to_k.bias"], weights["conv_in.weight"]
    save_file(weights, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"conv_in\.weight, mid_block.*to_k\.bias missing"):
        unet_from_diffusers(tmp_path)


@pytest.mark.parametrize("place", [None, "unet"])
def test_a_name_on_the_hub_may_be_a_model_or_a_pipeline(monkeypatch, place):
    theirs = make_unet2d(**SMALL)

    def from_pretrained(name, subfolder, output_loading_info):
        assert name == "google/ddpm-cifar10-32"
        if subfolder != place:
            raise OSError("no such file")
        return theirs, {"missing_keys": []}

    monkeypatch.setattr(UNet2DModel, "from_pretrained", from_pretrained)
    assert_same_network(unet_from_diffusers("google/ddpm-cifar10-32"), theirs)


def test_an_empty_folder_and_a_silent_hub_are_an_error(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"config\.json"):
        unet_from_diffusers(tmp_path)

    def from_pretrained(name, **_):
        raise OSError("the Hub does not answer")

    monkeypatch.setattr(UNet2DModel, "from_pretrained", from_pretrained)
    with pytest.raises(OSError, match="does not answer"):
        unet_from_diffusers("somebody/something")


@pytest.mark.parametrize("options", [SMALL, SHIPPED, SMALL | {"add_attention": False}])
def test_there_and_back_again(options):
    theirs = make_unet2d(**options)
    ours = unet_from_diffusers(theirs)
    back = unet_to_diffusers(ours)
    assert_same_weights(back, theirs)
    assert_same_weights(unet_from_diffusers(back), ours)
    assert {k: v for k, v in back.config.items() if k[0] != "_"} == {
        k: v for k, v in theirs.config.items() if k[0] != "_"
    }


def test_every_setting_survives_the_way_there_and_back():
    config = UNetConfig(
        in_channels=2,
        out_channels=5,
        channels=(12, 24, 48),
        layers=3,
        attention=(True, False, True),
        mid_attention=False,
        head_dim=6,
        groups=6,
        norm_eps=1e-4,
        dropout=0.25,
        downsample_padding=0,
        cos_first=True,
        freq_shift=0,
        sample_size=(8, 12),
    )
    defaults = UNetConfig()
    assert all(getattr(config, name) != getattr(defaults, name) for name in vars(config))
    theirs = unet_to_diffusers(UNet(config)).config
    assert config_from_diffusers(theirs) == config
    # And by way of the file, where tuples are lists.
    assert config_from_diffusers(json.loads(json.dumps(dict(theirs)))) == config
    assert config_to_diffusers(config).items() <= dict(theirs).items()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("train", [False, True])
def test_dtype_and_mode_are_kept(dtype, train):
    theirs = make_unet2d(**SMALL)
    torch.nn.Module.to(theirs, dtype).train(train)  # diffusers' own `to` warns
    ours = unet_from_diffusers(theirs)
    back = unet_to_diffusers(ours)
    for model in (ours, back):
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert all(p.requires_grad for p in model.parameters())
        assert model.training == train
    assert_same_weights(back, theirs)


def test_the_networks_share_nothing():
    theirs = make_unet2d(**SMALL)
    ours = unet_from_diffusers(theirs)
    back = unet_to_diffusers(ours)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert_same_weights(back, theirs)
    assert theirs.conv_in.weight.abs().max() > 0
    storages = [p.untyped_storage().data_ptr() for p in back.parameters()]
    assert len(set(storages)) == len(storages)


def test_no_random_number_is_drawn_and_nothing_is_printed(capfd, caplog):
    theirs = make_unet2d(**SMALL)
    state = torch.get_rng_state()
    unet_to_diffusers(unet_from_diffusers(theirs).half())
    assert torch.equal(torch.get_rng_state(), state)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "same",
    [
        {"act_fn": "swish"},
        {"time_embedding_dim": 32},
        {"attn_norm_num_groups": 4},
        {"num_train_timesteps": 1000},
        {"down_block_types": ("UNetResDownBlock2D", "UNetResAttnDownBlock2D")},
        {"up_block_types": ("UNetResAttnUpBlock2D", "UNetResUpBlock2D")},
    ],
    ids=lambda same: next(iter(same)),
)
def test_other_words_for_the_same_are_understood(same):
    theirs = make_unet2d(**(SMALL | same))
    assert_same_network(unet_from_diffusers(theirs), theirs)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type='timestep' (only None)"),
        ({"num_class_embeds": 10}, "num_class_embeds=10 (only None)"),
        ({"center_input_sample": True}, "center_input_sample=True (only False)"),
        (
            {"time_embedding_type": "fourier"},
            "time_embedding_type='fourier' (only 'positional')",
        ),
        (
            {"time_embedding_type": "learned", "num_train_timesteps": 10},
            "time_embedding_type='learned' (only 'positional')",
        ),
        ({"time_embedding_dim": 16}, "time_embedding_dim=16 (only None)"),
        (
            {"resnet_time_scale_shift": "scale_shift"},
            "resnet_time_scale_shift='scale_shift' (only 'default')",
        ),
        ({"act_fn": "mish"}, "act_fn='mish' (only 'silu')"),
        ({"mid_block_type": None}, "mid_block_type=None (only 'UNetMidBlock2D')"),
        ({"mid_block_scale_factor": 2}, "mid_block_scale_factor=2 (only 1)"),
        ({"attn_norm_num_groups": 2}, "attn_norm_num_groups=2 (only None)"),
        ({"downsample_type": "resnet"}, "downsample_type='resnet' (only 'conv')"),
        ({"upsample_type": "resnet"}, "upsample_type='resnet' (only 'conv')"),
        (
            {"down_block_types": ("DownBlock2D", "ResnetDownsampleBlock2D")},
            "down_block_types=['DownBlock2D', 'ResnetDownsampleBlock2D'] (only",
        ),
        (
            {"up_block_types": ("UpBlock2D", "UpBlock2D")},
            "up_block_types=['UpBlock2D', 'UpBlock2D'] (here only the mirror image",
        ),
        ({"attention_head_dim": 3}, "head_dim to be None or a divisor"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_the_course_does_not_have_is_refused_by_name(change, complaint):
    theirs = UNet2DModel(**(SMALL | change))
    with pytest.raises(ValueError, match=re.escape(complaint)):
        unet_from_diffusers(theirs)


def test_all_that_is_wrong_is_named_at_once():
    theirs = UNet2DModel(**(SMALL | {"num_class_embeds": 10, "center_input_sample": True}))
    with pytest.raises(ValueError, match=r"center_input_sample=True.*num_class_embeds=10"):
        unet_from_diffusers(theirs)


def test_an_option_of_a_later_diffusers_is_refused_unless_it_is_off(monkeypatch):
    config = dict(UNet2DModel(**SMALL).config) | {"new_trick": False}

    class Later(UNet2DModel):
        def __init__(self, sample_size=None, new_trick=False): ...

    monkeypatch.setattr("course_utils.interop.weights.UNet2DModel", Later)
    assert config_from_diffusers(config).channels == (8, 16)
    with pytest.raises(ValueError, match=r"new_trick=True \(only False\)"):
        config_from_diffusers(config | {"new_trick": True})


def test_what_is_no_network_at_all_is_refused():
    with pytest.raises(ValueError, match=r"must be a UNet2DModel, a folder or a name.*got Linear"):
        unet_from_diffusers(torch.nn.Linear(1, 1))
    unet = UNet(UNetConfig(channels=(8,), attention=(True,), groups=4))
    with pytest.raises(
        ValueError, match=r"must be the course's UNet; got DataParallel.*its module"
    ):
        unet_to_diffusers(torch.nn.DataParallel(unet))


def test_google_s_settings_are_the_course_s_defaults():
    with torch.device("meta"):
        config = config_from_diffusers(UNet2DModel(**CIFAR).config)
    assert config == UNetConfig(
        channels=(128, 256, 256, 256),
        attention=(False, True, False, False),
        downsample_padding=0,
        sample_size=32,
    )
