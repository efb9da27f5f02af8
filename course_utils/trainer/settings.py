"""All that decides what a run does, in one frozen dataclass, and three sets of settings to begin with."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from course_utils.diffusion.objective import PREDICTIONS, check_one_of
from course_utils.diffusion.schedule import Schedule, cosine, linear
from course_utils.diffusion.unet import UNetConfig
from course_utils.interop.checkpoint import write_whole
from course_utils.trainer.precision import DTYPES
from course_utils.trainer.speed import COMPILE_MODES

SCHEDULES = {"linear": linear, "cosine": cosine}
BUTTERFLIES = "butterflies"
PLACES = ("auto", "gpu", "memory", "disk")


@dataclass(frozen=True)
class Settings:
    """What is trained, on what, for how long, and how.

    Attributes:
        purpose: what these settings are for, in a sentence, with the time and memory that they take.
        model: the network; its sample_size and in_channels say what images become.
        data: "butterflies", or a folder, parquet file or Hub data set, as for `data.load_images`.
        images: how many of them, the first ones; None for all. Butterflies are drawn, so they need a number.
        flip: whether images may be mirrored, left and right.
        noise: the schedule, "linear" or "cosine".
        T: its steps.
        prediction: what the network answers, "eps", "x0" or "v".
        batch: images in one batch, over all processes.
        accumulate: batches in one step.
        steps, minutes: when the run ends; the first of both that comes.
        lr: the learning rate after `warm_up` steps.
        cool_down: the last part of the run, 0 … 1, over which the learning rate falls to 0, as `training.cool_down`
            says. Where minutes end the run, it follows the clock, and falls where the log has a line. In a run that
            goes on to a later end it rises again.
        weight_decay: AdamW's.
        ema: the largest decay of the moving average.
        max_norm: a longer gradient is scaled down to it.
        precision: "bf16", "fp16", "fp32", or "auto" for the best of the device.
        compile: None, "default" or "reduce-overhead", which adds CUDA graphs unless batches accumulate; for GPUs.
        log_every: steps between two lines of the log. Only there does the program wait for the GPU.
        checkpoint_every, sample_every: steps between two checkpoints, and between two pictures of samples.
        seed: of the weights, the order of the images, t and eps.
        channels_last, fusible_norm, fused: what makes a GPU fast, see `speed`, each to be switched off; group norms are
            exchanged only in what is compiled.
        autotune: whether cuDNN tries its convolutions out, which has made no run faster that was measured.
        images_in: where images are kept, "gpu", "memory" or "disk", from where they are read anew in each epoch; "auto"
            for the first of them where they fit.

    Raises:
        ValueError: if no run can have these settings, naming the first that is in the way.
    """

    purpose: str = ""
    model: UNetConfig = field(default_factory=lambda: UNetConfig(sample_size=32))
    data: str = BUTTERFLIES
    images: int | None = 20_000
    flip: bool = True
    noise: str = "linear"
    T: int = 1000
    prediction: str = "eps"
    batch: int = 128
    accumulate: int = 1
    steps: int | None = None
    minutes: float | None = None
    lr: float = 2e-4
    warm_up: int = 500
    cool_down: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.999
    max_norm: float = 1.0
    precision: str = "auto"
    compile: str | None = None
    log_every: int = 50
    checkpoint_every: int = 1000
    sample_every: int = 1000
    seed: int = 0
    channels_last: bool = True
    fusible_norm: bool = True
    fused: bool = True
    autotune: bool = False
    images_in: str = "auto"

    def __post_init__(self):
        if isinstance(self.model, dict):  # as it comes from JSON
            object.__setattr__(self, "model", UNetConfig(**self.model))
        _check(self)

    @property
    def schedule(self) -> Schedule:
        return SCHEDULES[self.noise](self.T)

    @property
    def channels(self) -> int:
        return self.model.in_channels


def write_settings(settings: Settings, path: Path) -> None:
    """As JSON, for people and for `read_settings`."""
    text = json.dumps(asdict(settings), indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode())


def read_settings(path: Path) -> Settings:
    """What `write_settings` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no settings.
    """
    try:
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(
            f"{path} holds no settings of a run: {error}. Restore it, or choose another folder."
        ) from None


def _check(s: Settings) -> None:
    def need(name: str, fine: bool, what: str) -> None:
        if not fine:
            raise ValueError(f"a run needs {name} to be {what}; got {getattr(s, name)!r}.")

    def is_count(value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    def is_positive(value) -> bool:
        return isinstance(value, int | float) and 0 < value < math.inf

    fine = isinstance(s.model, UNetConfig) and isinstance(s.model.sample_size, int)
    need("model", fine, "a UNetConfig with a sample_size")
    channels = s.model.in_channels, s.model.out_channels
    if channels not in ((1, 1), (3, 3)):
        raise ValueError(
            "a run needs a model with in_channels and out_channels both 3, for colour, or both 1, for grey; "
            f"got {channels[0]} and {channels[1]}."
        )
    check_one_of("noise", s.noise, tuple(SCHEDULES))
    check_one_of("prediction", s.prediction, PREDICTIONS)
    check_one_of("precision", s.precision, ("auto", *DTYPES))
    need("compile", s.compile in COMPILE_MODES, f"one of {COMPILE_MODES}")
    counts = (
        "T",
        "batch",
        "accumulate",
        "warm_up",
        "log_every",
        "checkpoint_every",
        "sample_every",
    )
    for name in counts:
        need(name, is_count(getattr(s, name)), "a whole number of at least 1")
    for name in ("steps", "images"):
        value = getattr(s, name)
        need(name, value is None or is_count(value), "None or a whole number of at least 1")
    need("minutes", s.minutes is None or is_positive(s.minutes), "None or a number above 0")
    need("steps", s.steps is not None or s.minutes is not None, "given, unless minutes are")
    for name in ("lr", "max_norm"):
        need(name, is_positive(getattr(s, name)), "a number above 0")
    need("weight_decay", s.weight_decay == 0 or is_positive(s.weight_decay), "0 or a number above")
    need("ema", s.ema == 0 or (is_positive(s.ema) and s.ema < 1), "in [0, 1)")
    last = s.cool_down == 0 or (is_positive(s.cool_down) and s.cool_down <= 1)
    need("cool_down", last, "a part of the run, in [0, 1]")
    need("data", isinstance(s.data, str), "a name or a path, in quotes")
    for name in ("flip", "channels_last", "fusible_norm", "fused", "autotune"):
        need(name, isinstance(getattr(s, name), bool), "True or False")
    need("seed", isinstance(s.seed, int) and s.seed >= 0, "a whole number of at least 0")
    check_one_of("images_in", s.images_in, PLACES)
    drawn = s.data == BUTTERFLIES
    need("images", not drawn or s.images is not None, "a number, to draw so many")
    need(
        "images_in",
        not drawn or s.images_in != "disk",
        "another: butterflies are drawn into memory",
    )


CHANGEABLE = ("purpose", "steps", "minutes", "log_every", "checkpoint_every", "sample_every")
CHANGEABLE += ("compile", "channels_last", "fusible_norm", "fused", "autotune", "images_in")


def same_run(saved: Settings, wanted: Settings) -> list[str]:
    """What differs between two settings other than how long and fast to go on and what to report, in words."""
    return [
        f"{f.name} was {getattr(saved, f.name)!r} and is {getattr(wanted, f.name)!r}"
        for f in fields(Settings)
        if f.name not in CHANGEABLE and getattr(saved, f.name) != getattr(wanted, f.name)
    ]


# Memory on a GPU, where it is estimated: 20 bytes for each weight (itself, its gradient, Adam's two means, its mean), 2
# for each number that the forward pass keeps for the way back, and the images. For two networks whose training was
# measured, benchmarks' and the recorded photographs', that is 3.9 and 3.0 GB, where it took 3.7 and 2.9.
PRESETS = {
    "cpu": Settings(
        purpose="every part at work on a laptop, with 1 GB and, on two cores, 30 to 40 seconds of training; the "
        "pictures stay blurred",
        model=UNetConfig(
            channels=(32, 64), layers=1, attention=(False, True), groups=16, sample_size=16
        ),
        images=800,
        noise="cosine",
        prediction="v",  # after so few steps much better pictures than eps
        batch=16,
        steps=300,
        lr=2e-3,
        warm_up=30,
        ema=0.98,
        log_every=10,
        checkpoint_every=100,
        sample_every=100,
    ),
    "t4": Settings(
        purpose="a 32×32 model in an hour of Colab's free T4, which may end at any time, and some 2 GB of it "
        "(estimated: nobody has run it on a T4 yet)",
        model=UNetConfig(
            channels=(64, 128, 256), attention=(False, False, True), head_dim=64, sample_size=32
        ),
        minutes=60,
        precision="fp16",
        compile="default",
        lr=4e-4,
        checkpoint_every=500,
    ),
    "h100": Settings(
        purpose="a 64×64 model in six minutes of one data-centre GPU, two of them for compiling, and some 7 GB of it",
        model=UNetConfig(
            channels=(64, 128, 256, 256),
            attention=(False, False, True, False),
            head_dim=64,
            sample_size=64,
        ),
        images=40_000,
        batch=128,
        minutes=6,
        precision="bf16",
        compile="reduce-overhead",
        lr=4e-4,
        sample_every=500,
    ),
}
