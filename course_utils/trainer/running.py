"""A training run: the loop of `diffusion.training` on whatever device there is, with all that a long run needs.

A run lives in a folder: settings.json, log.jsonl, its checkpoints, pictures in samples/, and at its end pipeline/,
which diffusers opens. Whatever ends it early, it goes on from its newest checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from course_utils.data.streaming import DiskImages, ReadError
from course_utils.diffusion.training import EMA, TrainStep, cool_down, loop, warm_up
from course_utils.diffusion.unet import UNet
from course_utils.interop import checkpoint
from course_utils.trainer import speed
from course_utils.trainer.card import PIPELINE, export
from course_utils.trainer.folder import (
    SKIPPED,
    RunError,
    advice,
    as_begun,
    check_folder,
    check_number,
    no_room,
    read_facts,
    resuming,
    write_facts,
)
from course_utils.trainer.images import Loaded, check_images, feed, load
from course_utils.trainer.log import add_skipped, back_to, in_words, write_line
from course_utils.trainer.precision import DTYPES, Scaled, choose_precision
from course_utils.trainer.processes import (
    LostProcess,
    agreed,
    here,
    leave_at_exit,
    share_of,
    sum_numbers,
)
from course_utils.trainer.results import (
    LOG,
    PICTURES,
    SETTINGS,
    draw,
    pictures_back_to,
    save_picture,
    sheet,
)
from course_utils.trainer.settings import Settings, write_settings
from course_utils.trainer.step import Gradients, add_gradients
from course_utils.trainer.stopping import Stop, stop_on_request


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step, whether that was its end, and where its newest checkpoint is."""

    step: int
    finished: bool
    checkpoint: Path | None


@dataclass(frozen=True)
class Look:
    """An entry for the log, whether somebody asked to stop, and whether the time is over."""

    entry: dict
    stopped: bool
    over: bool


class Run:
    """The parts of a run, on their device.

    Attributes:
        model, ema, optimizer, generator: what learns, its average, what moves it, and what draws t and eps.
        seconds: how long it has trained, without pictures and checkpoints, up to the last look; by the clock of the
            main process, the same in all.
    """

    def __init__(self, settings: Settings, out: Path, report: Callable[[str], None]):
        self.settings, self.out, self.seconds = settings, out, 0.0
        processes = here()
        self.device, self.main = processes.device, processes.is_main_process
        self.number, self.processes = processes.process_index, processes.num_processes
        self.share = share_of(settings.batch, processes.process_index, processes.num_processes)
        self.report = report if self.main else lambda line: None
        self.precision = choose_precision(settings.precision, self.device)
        if settings.images_in == "gpu" and self.device.type != "cuda":
            raise ValueError(
                f"images_in is 'gpu', but this device is a {self.device.type}: leave it at 'auto'."
            )

        torch.manual_seed(settings.seed)  # the same first weights in every process
        self.model = UNet(settings.model).to(self.device)
        self.own_dropout(0)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            speed.try_convolutions_out(settings.autotune)
            if settings.channels_last:
                speed.colours_innermost(self.model)
        mode = settings.compile
        if mode is not None and settings.accumulate > 1:
            mode = "default"  # a CUDA graph would overwrite the gradients of the batch before
        if mode is not None and settings.fusible_norm:
            speed.fuse_group_norms(self.model)
        self.ema = EMA(self.model, settings.ema)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.optimizer = speed.adamw(
            self.model, settings.lr, weight_decay=settings.weight_decay, fused=settings.fused
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.loss_function = speed.loss_function(
            self.model,
            settings.schedule,
            self.device,
            prediction=settings.prediction,
            dtype=DTYPES[self.precision],
            compile=mode,
        )

    def steps(self, images: torch.Tensor | DiskImages, start: int) -> Iterator[TrainStep]:
        """The loop, from step number `start` on."""
        s = self.settings
        optimizer = Scaled(self.optimizer, self.scaler)
        add = partial(
            add_gradients,
            self.loss_function,
            T=s.T,
            generator=self.generator,
            share=self.share,
        )
        return loop(
            self.model,
            feed(
                images,
                s,
                self.device,
                start * s.accumulate,
                share=self.share,
                skipped=self.leave_out,
            ),
            Gradients(add, optimizer),
            optimizer,
            rate=self.rate,
            ema=self.ema,
            max_norm=s.max_norm,
            accumulate=s.accumulate,
            start=start,
        )

    def own_dropout(self, step: int) -> None:
        """Let torch's own generator, which dropout draws from, go other ways in other processes from a step on."""
        if self.number > 0:
            torch.manual_seed(hash((self.settings.seed, step, self.number)) % 2**63)

    def done(self, step: int) -> float:
        """How much of the run is over when a step begins: 0 … 1, and more in one that goes on after its end."""
        s = self.settings
        by_steps = step / s.steps if s.steps else 0.0
        return max(by_steps, self.seconds / (60 * s.minutes) if s.minutes else 0.0)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        s = self.settings
        return warm_up(s.lr, s.warm_up)(step) * cool_down(self.done(step), s.cool_down)

    # --- checkpoints ---

    @property
    def parts(self) -> dict:
        """What `checkpoint.save` and `load` take."""
        names = ("model", "optimizer", "ema", "generator")
        return {name: getattr(self, name) for name in names} | {
            "config": asdict(self.settings.model)
        }

    def save(self, step: int) -> None:
        """A checkpoint after `step` steps, by one process for all, unless the last step spoilt the weights."""
        weights = torch.stack(torch._foreach_norm(list(self.model.parameters())))
        if not bool(weights.isfinite().all()):
            raise RunError(f"the weights are no longer finite at step {step}. {advice(self.out)}")
        if not self.main:
            return
        if self.scaler.is_enabled():  # what the loss is multiplied by goes with the optimizer
            self.optimizer.param_groups[0]["loss_scaler"] = self.scaler.state_dict()
        checkpoint.save(self.out, step, **self.parts)

    def load(self) -> int:
        """Go back to the newest checkpoint; the number of steps it has made."""
        try:
            step = checkpoint.load(self.out, **self.parts)
        except checkpoint.CheckpointError as error:
            raise RunError(
                f"{error} Delete what is damaged, and go on from what is left: {resuming(self.out)}"
            ) from None
        state = self.optimizer.param_groups[0].get("loss_scaler")
        if self.scaler.is_enabled() and state is not None:
            self.scaler.load_state_dict(state)
        self.own_dropout(step)
        return step

    # --- images that cannot be read ---

    def leave_out(self, names: Iterable[str]) -> None:
        """Name them in a file, once."""
        new = add_skipped(self.out / SKIPPED, names)
        if new:
            number = "1 image" if len(new) == 1 else f"{len(new):,} images"
            self.report(f"{number} cannot be read, see {SKIPPED}: {new[0]}")

    # --- a look at the run ---

    def look(self, step: int, losses: list[torch.Tensor], since: float, stop: Stop) -> Look:
        """What the last steps did, since a moment of time.perf_counter(). Waits for GPU and others."""
        s, own = self.settings, self.share.stop - self.share.start
        loss = float(torch.stack(losses).sum()) * own  # here the GPU is waited for
        seconds = time.perf_counter() - since
        loss, stopped, seconds = sum_numbers(loss, stop.signal is not None, self.main * seconds)
        self.seconds += seconds
        over = s.minutes is not None and self.seconds >= 60 * s.minutes
        loss /= s.batch * len(losses)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} within the {len(losses)} steps up to {step}: "
                "a smaller learning rate often helps."
            )
        cuda = self.device.type == "cuda"
        rate = len(losses) * s.batch * s.accumulate / seconds
        entry = {
            "step": step,
            "loss": loss,
            "images_per_s": float(f"{rate:.5g}"),
            "seconds": round(self.seconds, 2),
            "lr": self.optimizer.param_groups[0]["lr"],
            "memory_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2) if cuda else None,
        }
        return Look(entry, bool(stopped), over)

    def left(self, entry: dict) -> float:
        """The seconds until the end, at the rate of an entry."""
        s = self.settings
        by_time = 60 * s.minutes - self.seconds if s.minutes else float("inf")
        rate = entry["images_per_s"] / (s.batch * s.accumulate)
        by_steps = (s.steps - entry["step"]) / rate if s.steps else float("inf")
        return max(0.0, min(by_time, by_steps))

    def picture(self, step: int) -> None:
        """Sixteen samples of the averaged network, always from the same noise."""
        if self.main:
            folder = self.out / PICTURES
            folder.mkdir(exist_ok=True)
            samples = draw(
                self.ema.model, self.settings, 16, self.device, steps=min(50, self.settings.T)
            )
            save_picture(sheet(samples), folder / f"step-{step:08d}.png")


def run(
    settings: Settings,
    out: str | Path,
    *,
    pixels: torch.Tensor | None = None,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> Outcome:
    """Train until the settings' end, or until somebody asks to stop; a run that was stopped goes on with `resume`.

    It takes torch's own generator along, and what the settings say of cuDNN holds for the whole program.

    Args:
        out: the folder of this run alone.
        pixels: the images, uint8 [N, C, H, W], if not those that settings.data names. A run that was begun with them
            goes on with them.
        resume: go on from the newest checkpoint in `out`, with the settings that it was begun with; only its end, how
            often it reports and how fast it is may be others.
        report: what to do with lines for people.

    Raises:
        RunError: if out holds another run, the newest checkpoint is damaged, the images are not those that the run
            was begun with, the loss is no longer finite, a GPU has too little memory, nothing can be written, images
            can no longer be read, or another process is lost. Checkpoints that are there stay as they are.
        ValueError: if the settings, the images and the device do not go together; and those of `data.load_images`.
    """
    out = Path(out)
    check_folder(settings, out, resume, pixels is not None)
    try:
        outcome = _run(settings, out, pixels, resume, report)
    except FloatingPointError as error:
        raise RunError(
            f"{error} Another learning rate takes a new run, in another folder. {advice(out)}"
        ) from None
    except (LostProcess, ReadError) as error:
        raise RunError(f"{error} {advice(out)}") from None
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"the GPU's memory is full ({str(error).split('. ')[0]}). A smaller batch needs less, and with "
            "accumulate as many images make a step as before; that takes a new run, in another folder."
        ) from None
    leave_at_exit()
    return outcome


def _run(
    settings: Settings,
    out: Path,
    pixels: torch.Tensor | None,
    resume: bool,
    report: Callable[[str], None],
) -> Outcome:
    """`run`, in a folder that may be used."""
    this = Run(settings, out, report)
    facts = read_facts(out) if resume else {}
    given = pixels is not None
    loaded = Loaded(check_images(pixels, settings)) if given else load(as_begun(settings, facts))
    check_number(out, facts, len(loaded.images))
    start = 0
    if resume and checkpoint.checkpoints(out):
        start = this.load()
        this.report(f"Going on after step {start:,}.")
    (main_start,) = sum_numbers(this.main * start)
    if not agreed(start == main_start):
        raise RunError(
            f"{out} is not one folder for all processes: they see other checkpoints. "
            "Choose one on a disk that all machines share."
        )
    if settings.compile is not None:
        this.report("The first step compiles the network, which takes one or two minutes.")
    with stop_on_request() as stop:
        try:
            if this.main:
                out.mkdir(parents=True, exist_ok=True)
                write_settings(settings, out / SETTINGS)
                write_facts(out, settings, loaded.images, this.precision, given=given)
                this.seconds = back_to(out / LOG, start)
                pictures_back_to(out, start)
                this.leave_out(loaded.skipped)
            (this.seconds,) = sum_numbers(this.seconds)  # all go by the main process's clock
            outcome = _train(this, loaded.images, start, stop)
            if outcome.finished and this.main:
                export(out, out / PIPELINE)
        except BrokenPipeError:  # nobody listens to `report` any more
            raise
        except OSError as error:
            raise RunError(
                f"cannot write to {out}: {error}. {no_room(error)}{advice(out)}"
            ) from None
    if outcome.finished:
        this.report(f"Done: {out / PIPELINE} is ready for diffusers.")
    else:
        this.report(f"Stopped by {stop.signal or 'another process'}, and saved. {advice(out)}")
    return outcome


def _train(this: Run, images: torch.Tensor | DiskImages, start: int, stop: Stop) -> Outcome:
    """The steps, and what is due after some of them. Between two looks nothing waits for the GPU."""
    s, out = this.settings, this.out
    losses, since, step = [], time.perf_counter(), start
    ends = this.done(start) >= 1
    for state in () if ends else this.steps(images, start):
        step = state.step + 1
        losses.append(state.loss)
        ends = step == s.steps
        log, save, picture = (
            ends or step % every == 0 for every in (s.log_every, s.checkpoint_every, s.sample_every)
        )
        # Several processes must stop after the same step: at a look.
        asked = this.processes == 1 and stop.signal is not None
        if not (log or save or picture or asked or step == start + 1):
            continue
        look = this.look(step, losses, since, stop)
        ends = ends or look.over
        if this.main:
            write_line(out / LOG, look.entry)
            this.report(in_words(look.entry, this.left(look.entry)))
        if save or ends or look.stopped:
            this.save(step)
        if picture or ends:
            this.picture(step)
        if ends or look.stopped:
            break
        losses, since = [], time.perf_counter()
    newest = checkpoint.checkpoints(out)
    return Outcome(step, ends, newest[-1] if newest else None)
