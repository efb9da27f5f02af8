"""A training run that is over in a moment and uses everything that a checkpoint must keep: dropout, an average,
warm-up, clipping, accumulated batches in a shuffled order with flips, and a fused optimizer with two groups."""

import hashlib
import os

import torch
from torch import nn

from course_utils.data import batches
from course_utils.diffusion import schedule
from course_utils.diffusion.training import EMA, train, warm_up
from course_utils.interop import checkpoint

SCHEDULE = schedule.linear(20)
ACCUMULATE = 2
CONFIG = {"channels": (3, 4), "dropout": 0.2}  # a tuple, which JSON turns into a list


class Network(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.before = nn.Conv2d(1, width, 3, padding=1)
        self.time = nn.Linear(1, width)
        self.dropout = nn.Dropout(CONFIG["dropout"])
        self.norm = nn.BatchNorm2d(width)  # it has buffers, one of them a whole number
        self.after = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, t):
        h = self.before(x) + self.time(t[:, None] / 20)[:, :, None, None]
        return self.after(self.norm(self.dropout(h.relu())))


def fused(weights):
    return torch.optim.AdamW(weights, fused=True)


class Run:
    """A new run. The seed decides its first weights and all that is drawn later."""

    def __init__(
        self, seed=0, *, make_optimizer=fused, width=3, decay=0.99, layout=None, device="cpu"
    ):
        torch.manual_seed(seed)
        self.model = Network(width).to(device)
        if layout is not None:
            self.model.to(memory_format=layout)
        first, *others = self.model.parameters()
        self.optimizer = make_optimizer([{"params": [first]}, {"params": others}])
        self.ema = EMA(self.model, decay)
        self.generator = torch.Generator(device).manual_seed(seed)
        images = torch.randint(256, (10, 1, 4, 4), generator=torch.Generator().manual_seed(3))
        self.pixels = images.to(torch.uint8).to(device)

    @property
    def parts(self):
        """What `save` and `load` take."""
        names = ("model", "optimizer", "ema", "generator")
        return {name: getattr(self, name) for name in names} | {"config": CONFIG}

    def go_on(self, start, end, folder=None, prediction="eps"):
        """Steps start … end − 1, each followed by a checkpoint if there is a folder. Yields as `train` does."""
        source = batches(self.pixels, 4, start=start * ACCUMULATE, flip=True)
        steps = train(
            self.model,
            source,
            SCHEDULE,
            lr=warm_up(0.01, 5),
            prediction=prediction,
            generator=self.generator,
            optimizer=self.optimizer,
            ema=self.ema,
            max_norm=0.5,
            accumulate=ACCUMULATE,
            start=start,
        )
        for _, state in zip(range(start, end), steps, strict=False):
            if folder is not None:
                checkpoint.save(folder, state.step + 1, **self.parts)
            yield state

    def bits(self):
        """A digest of everything: two runs with the same one are the same, now and later."""
        digest = hashlib.sha256()

        def take(value):
            if isinstance(value, torch.Tensor):
                digest.update(f"{value.dtype} {value.shape}".encode())
                digest.update(
                    value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                )
            elif isinstance(value, dict):
                for key in sorted(value, key=str):
                    digest.update(str(key).encode())
                    take(value[key])
            elif isinstance(value, list | tuple):
                for one in value:
                    take(one)
            else:
                digest.update(repr(value).encode())

        take(self.model.state_dict())
        take(self.ema.model.state_dict())
        take([self.ema.updates, self.ema.decay, self.optimizer.state_dict()])
        take([self.generator.get_state(), torch.get_rng_state()])
        return digest.hexdigest()


CHECKPOINTS = ["step-00000001.safetensors", "step-00000002.safetensors"]


def after_two_steps(folder=None):
    """A run that has made two steps, and left a checkpoint after each if there is a folder."""
    run = Run()
    for _ in run.go_on(0, 2, folder):
        pass
    return run


def with_checkpoints(tmp_path):
    """A folder with CHECKPOINTS, those of such a run."""
    after_two_steps(tmp_path)
    assert sorted(os.listdir(tmp_path)) == CHECKPOINTS
    return tmp_path
