"""Calling a learner's function so that nothing it does can hurt: it may fail, print, exit or never return."""

import _thread
import contextlib
import copy
import dataclasses
import inspect
import io
import os
import random
import re
import signal
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_utils.checks.answers import Part, UnreadableError, split
from course_utils.checks.exercise import Case, Exercise

SECONDS = 20.0  # for one call; every exercise needs milliseconds
PRINTED = 400  # characters of the learner's own output that are kept
_NOT_THE_LEARNERS = tuple(
    {
        str(form) + os.sep
        for folder in (
            sysconfig.get_path("stdlib"),
            sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib"),
            Path(torch.__file__).parent,
            Path(__file__).parents[1],
        )
        for form in (folder, Path(folder).resolve())
    }
)


class EndlessError(Exception):
    """The call was stopped after SECONDS."""


@dataclass(frozen=True)
class Outcome:
    """What one call came to: either `parts`, or a `problem` in words.

    Attributes:
        parts: one for each thing that the exercise returns; None where there is a problem.
        problem: one or two sentences for the learner.
        raised: the type of exception, where there was one.
        unwritten: the function is still the stub.
        hopeless: no other case can go better, so none need be tried.
        printed: the beginning of what the function printed.
    """

    parts: tuple[Part, ...] | None = None
    problem: str = ""
    raised: type | None = None
    unwritten: bool = False
    hopeless: bool = False
    printed: str = ""


def attempt(exercise: Exercise, function: Callable, case: Case, seed: int) -> Outcome:
    """Call the function on a copy of the case's arguments, as often as the case says; read its last answer.

    The global random states are seeded with `seed` during the call and put back after it.
    """
    names = list(inspect.signature(exercise.reference).parameters)
    if wrong_arity := _arity(function, names):
        return Outcome(problem=wrong_arity, hopeless=True)
    arguments = copy.deepcopy(case.arguments)
    printed = _Beginning()
    try:
        with _quiet(printed), _seeded(seed):
            for _ in range(case.calls):
                value = call_within(SECONDS, function, arguments)
    except EndlessError:
        problem = f"Your function had not returned after {SECONDS:g} seconds and was stopped: an endless loop?"
        return Outcome(problem=problem, hopeless=True, printed=printed.getvalue())
    except KeyboardInterrupt:
        raise  # the learner pressed stop
    except BaseException as error:
        if _is_stub(error):
            problem = "Your function still raises NotImplementedError."
            return Outcome(problem=problem, unwritten=True, hopeless=True)
        return Outcome(problem=_describe(error), raised=type(error), printed=printed.getvalue())
    if value is Ellipsis or value is None:
        problem = "Your function returned None: if it is written, its `return` is missing."
        if value is Ellipsis:
            problem = "Your function still returns `...`."
        return Outcome(problem=problem, unwritten=True, hopeless=True)
    for name, given, pristine in zip(names, arguments, case.arguments, strict=True):
        if not _same(given, pristine):
            problem = (
                f"Your function changed its input {name} in place (as +=, *=, .mul_() or {name}[…] = … do). "
                "Whoever called it still needs that: make a new one instead."
            )
            return Outcome(problem=problem, printed=printed.getvalue())
    try:
        return Outcome(
            parts=split(value, case.returns or exercise.returns), printed=printed.getvalue()
        )
    except UnreadableError as unreadable:
        problem = str(unreadable)
    except (
        Exception
    ) as error:  # a tensor without data, a list that holds itself, a number beyond float …
        problem = f"What your function returned cannot be read as numbers: {_message(error)}"
    return Outcome(problem=problem, printed=printed.getvalue())


def call_within(seconds: float, function: Callable, arguments: tuple) -> Any:
    """function(*arguments), interrupted after `seconds`. Outside the main thread there is no limit.

    Raises:
        EndlessError: if the time was over. Else whatever the function raises.
    """
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments)
    lock, expired, finished = threading.Lock(), threading.Event(), threading.Event()

    def stop() -> None:
        with lock:
            if not finished.is_set():
                expired.set()
                if hasattr(
                    signal, "pthread_kill"
                ):  # wakes a sleep too; Windows has only the other one
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                else:
                    _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        try:
            return function(*arguments)
        finally:
            with lock:
                finished.set()
            if expired.is_set():
                time.sleep(0.05)  # the interrupt may still be on its way: meet it here
    except KeyboardInterrupt:
        if expired.is_set():
            raise EndlessError from None
        raise
    finally:
        timer.cancel()


class _Beginning(io.StringIO):
    """Keeps the beginning of what is written to it and forgets the rest."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, PRINTED - self.tell())])
        return len(text)


@contextlib.contextmanager
def _quiet(printed: io.StringIO):
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _seeded(seed: int):
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch a GPU too
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _arity(function: Callable, names: list[str]) -> str:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some builtins and compiled functions do not tell
        return ""
    try:
        signature.bind(*names)
    except TypeError:
        own = ", ".join(signature.parameters) or "nothing"
        return f"Your function takes ({own}), but the exercise calls it with ({', '.join(names)})."
    return ""


def _is_stub(error: BaseException) -> bool:
    # torch raises NotImplementedError too, always with a message.
    if not isinstance(error, NotImplementedError):
        return False
    return not error.args or _learners_line(error)[1].startswith("raise NotImplementedError")


def _learners_line(error: BaseException) -> tuple[int, str]:
    """Number and text of the last line of the learner's own code that the error went through; 0 if none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_NOT_THE_LEARNERS) and not frame.filename.startswith(
            "<frozen"
        ):
            return frame.lineno or 0, frame.line or ""
    return 0, ""


def _message(error: BaseException) -> str:
    try:
        first = (str(error).strip() or "(no message)").splitlines()[0]
    except Exception:
        first = "(its message cannot be shown)"
    first = re.sub(r"0x[0-9a-fA-F]{4,}", "0x…", first)  # addresses change from run to run
    first, *candidates = first.split(", but expected one of:")  # torch lists them in further lines
    advice = "; write generator=generator" if candidates and "Generator" in first else ""
    return f"{type(error).__name__}: {first[:160]}{'…' if len(first) > 160 else ''}{advice}"


def _describe(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "Your function calls itself without end (RecursionError)."
    number, text = _learners_line(error)
    where = f"\nIt happened in line {number} of your code" if number else ""
    return f"Your function raised {_message(error)}{where}{f': {text}' if text else ''}"


def _same(given: Any, pristine: Any) -> bool:
    """Whether an argument still is what it was."""
    if type(given) is not type(pristine):
        return False
    if isinstance(pristine, torch.Tensor):
        if (given.dtype, given.device) != (pristine.dtype, pristine.device):
            return False
        return given.shape == pristine.shape and torch.allclose(
            given, pristine, rtol=0, atol=0, equal_nan=True
        )
    if isinstance(pristine, np.ndarray):
        return np.array_equal(given, pristine)
    if dataclasses.is_dataclass(pristine):
        return all(
            _same(getattr(given, f.name), getattr(pristine, f.name))
            for f in dataclasses.fields(pristine)
        )
    if isinstance(pristine, (list, tuple)):
        return len(given) == len(pristine) and all(map(_same, given, pristine))
    if isinstance(pristine, (int, float)):  # one of a list, which may be in another order now
        return given is pristine or given == pristine
    return True  # a random generator is there to be used up, and a model to be called
