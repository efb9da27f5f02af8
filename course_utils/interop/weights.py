"""Weights and configurations between the course's UNet and diffusers' UNet2DModel, in both directions."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DModel

from course_utils.diffusion.unet import UNet, UNetConfig

# UNetConfig's settings under UNet2DModel's names. Attention follows from the types of the blocks.
SETTINGS = {
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "channels": "block_out_channels",
    "layers": "layers_per_block",
    "mid_attention": "add_attention",
    "head_dim": "attention_head_dim",
    "groups": "norm_num_groups",
    "norm_eps": "norm_eps",
    "dropout": "dropout",
    "downsample_padding": "downsample_padding",
    "cos_first": "flip_sin_to_cos",
    "freq_shift": "freq_shift",
    "sample_size": "sample_size",
}
DOWN = {False: "DownBlock2D", True: "AttnDownBlock2D"}
UP = {False: "UpBlock2D", True: "AttnUpBlock2D"}

# What turns the name of one of our parameters into UNet2DModel's, replaced in this order.
PARTS = {
    "time.0.": "time_embedding.linear_1.",
    "time.2.": "time_embedding.linear_2.",
    "norm_out.": "conv_norm_out.",
    "mid1.": "mid_block.resnets.0.",
    "mid2.": "mid_block.resnets.1.",
    "mid_attention.": "mid_block.attentions.0.",
    "down.": "down_blocks.",
    "up.": "up_blocks.",
    ".blocks.": ".resnets.",
    ".downsample.": ".downsamplers.0.conv.",
    ".upsample.": ".upsamplers.0.conv.",
    ".time.": ".time_emb_proj.",
    ".shortcut.": ".conv_shortcut.",
    ".norm.": ".group_norm.",
    ".out.": ".to_out.0.",
}


def unet_from_diffusers(source: UNet2DModel | str | Path) -> UNet:
    """The course's UNet with the weights of a UNet2DModel.

    Args:
        source: the model, or the folder of a model or pipeline, or the name of one on the Hugging Face Hub, such as
            "google/ddpm-cifar10-32". Old weight files, which name attention query/key/value, are fine.

    Returns:
        A new UNet of the same dtype, device and mode (training or not).

    Raises:
        ValueError: naming each setting that the course's UNet does not have, or each weight that is missing.
        OSError: if there is no such folder or model.
    """
    theirs = _load(source) if isinstance(source, str | Path) else source
    if not isinstance(theirs, UNet2DModel):
        raise ValueError(
            f"source must be a UNet2DModel, a folder or a name on the Hub; got {type(theirs).__name__}."
        )
    weights = theirs.state_dict()
    with torch.device("meta"):  # no first weights, which would be overwritten at once
        ours = UNet(config_from_diffusers(theirs.config))
    parts = {name: names_in_diffusers(name) for name in ours.state_dict()}
    stacked = {name: torch.cat([weights[part] for part in parts[name]]) for name in parts}
    ours.load_state_dict(stacked, assign=True)
    return ours.train(theirs.training)


def unet_to_diffusers(unet: UNet) -> UNet2DModel:
    """A new UNet2DModel with the weights, dtype, device and mode of the course's UNet.

    Raises:
        ValueError: if it is no such UNet.
    """
    if not isinstance(unet, UNet):
        raise ValueError(
            f"unet must be the course's UNet; got {type(unet).__name__}. (The network inside "
            "torch.compile's is its _orig_mod, inside DistributedDataParallel's its module.)"
        )
    weights = {}
    for name, parameter in unet.named_parameters():
        parts = names_in_diffusers(name)
        for part, value in zip(parts, parameter.detach().chunk(len(parts)), strict=True):
            weights[part] = value.clone()
    with torch.device("meta"):  # no first weights, which would be overwritten at once
        theirs = UNet2DModel(**config_to_diffusers(unet.config))
    theirs.load_state_dict(weights, assign=True)
    return theirs.train(unet.training)


def names_in_diffusers(name: str) -> list[str]:
    """The name in UNet2DModel of a parameter of ours; three names for one that holds queries, keys and values."""
    for ours, theirs in PARTS.items():
        name = name.replace(ours, theirs)
    return [name.replace("qkv", f"to_{one}") for one in "qkv"] if "qkv" in name else [name]


def config_from_diffusers(config: Mapping) -> UNetConfig:
    """The course's configuration for that of a UNet2DModel, `unet.config`. Errors as in `unet_from_diffusers`."""
    down = [kind.removeprefix("UNetRes") for kind in config["down_block_types"]]  # an old prefix
    up = [kind.removeprefix("UNetRes") for kind in config["up_block_types"]]
    attention = tuple(kind == DOWN[True] for kind in down)
    wrong = []
    if down != [DOWN[here] for here in attention]:
        wrong.append(f"down_block_types={down} (only those of {list(DOWN.values())})")
    elif up != [UP[here] for here in reversed(attention)]:
        wrong.append(f"up_block_types={up} (here only the mirror image of {down})")

    options = inspect.signature(UNet2DModel.__init__).parameters
    known = {"self", "down_block_types", "up_block_types", *SETTINGS.values()}
    known.add("num_train_timesteps")  # only other kinds of time embedding look at it
    same = {  # other ways to say the default
        "act_fn": "swish",
        "attn_norm_num_groups": config["norm_num_groups"],
        "time_embedding_dim": 4 * config["block_out_channels"][0],
    }
    for name in options.keys() - known:
        default = options[name].default
        if config[name] != default and config[name] != same.get(name, default):
            wrong.append(f"{name}={config[name]!r} (only {default!r})")
    if wrong:
        raise ValueError("the course's UNet does not have " + ", ".join(sorted(wrong)) + ".")
    settings = {ours: config[theirs] for ours, theirs in SETTINGS.items()}
    return UNetConfig(**settings, attention=attention)


def config_to_diffusers(config: UNetConfig) -> dict:
    """The arguments of the UNet2DModel that is the same network."""
    return {theirs: getattr(config, ours) for ours, theirs in SETTINGS.items()} | {
        "down_block_types": tuple(DOWN[here] for here in config.attention),
        "up_block_types": tuple(UP[here] for here in reversed(config.attention)),
    }


def _load(source: str | Path) -> UNet2DModel:
    folder = Path(source).expanduser()
    if folder.is_dir():
        places = [(str(folder), "unet" if (folder / "unet").is_dir() else None)]
    else:  # most repositories keep the network of a pipeline in a folder of its own; google/ddpm-* do not
        places = [(str(source), "unet"), (str(source), None)]
    for name, subfolder in places:
        try:
            model, report = UNet2DModel.from_pretrained(
                name, subfolder=subfolder, output_loading_info=True
            )
            break
        except OSError as error:
            problem = error
    else:
        raise problem
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))
        raise ValueError(f"the weights in {source} are not complete: {missing} missing.")
    return model
