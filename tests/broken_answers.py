"""Whatever a learner may hand in that is not an answer, made for any exercise."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from course_utils.checks.answers import split
from course_utils.checks.exercise import Exercise


def handed_in(thing: Any) -> Callable[[Exercise], Any]:
    """The thing itself, for every exercise."""
    return lambda exercise: thing


def gives(value: Any) -> Callable[[Exercise], Any]:
    """A function that returns the value whatever it is given."""
    return handed_in(lambda *arguments: value)


def right_parts(exercise: Exercise, arguments: tuple) -> list[torch.Tensor]:
    """The right answer: a float64 tensor for each thing that the exercise returns."""
    answer = exercise.reference(*arguments)
    names = exercise.returns if len(exercise.returns) == 1 else ("",) * len(answer)
    parts = split(answer, names)  # a case may have names of its own, which do not matter here
    return [torch.from_numpy(part.numbers.copy()) for part in parts]


def spoils(change: Callable[[torch.Tensor], Any]) -> Callable[[Exercise], Any]:
    """A function that returns the right answer with each of its parts changed."""

    def make(exercise):
        def function(*arguments):
            parts = [change(part) for part in right_parts(exercise, arguments)]
            return parts[0] if len(parts) == 1 else tuple(parts)

        return function

    return make


def packs(pack: Callable[[list[torch.Tensor]], Any]) -> Callable[[Exercise], Any]:
    """A function that returns the right numbers in the wrong packing."""
    return lambda exercise: lambda *arguments: pack(right_parts(exercise, arguments))


def with_one_infinity(x: torch.Tensor) -> torch.Tensor:
    x.reshape(-1)[0] = torch.inf
    return x


def fails(*arguments):
    scale = arguments[0]
    return scale.squareroot()


def exits(*arguments):
    sys.exit("done")


def recurs(*arguments):
    return recurs(*arguments)


def talks(*arguments):
    raise ValueError("many words " * 100 + "\nand many lines" * 100)


class SayNothingError(Exception):
    """An exception that cannot even be printed."""

    def __str__(self):
        raise RuntimeError


def says_nothing(*arguments):
    raise SayNothingError


class NotAnError(BaseException):
    """As an interpreter or a debugger may raise."""


def raises_oddly(*arguments):
    raise NotAnError("odd")


def stops(*arguments):
    return next(iter(()))


def prints(*arguments):
    print("\n".join(["scale", "is", "wrong", "here"] * 1000))
    return "no answer"


def inside_torch(*arguments):
    return torch.nn.functional.conv2d(torch.zeros(2, 3), torch.zeros(2, 3))


def returns_itself(*arguments):
    answer = []
    answer.append(answer)
    return answer


def yields(exercise):
    def function(*arguments):
        yield exercise.reference(*arguments)

    return function


def waits(exercise):
    async def function(*arguments):
        return exercise.reference(*arguments)

    return function


def only_once(exercise):
    """Right on the first call; after that a branch without a return."""
    calls = []

    def function(*arguments):
        calls.append(arguments)
        return exercise.reference(*arguments) if len(calls) == 1 else None

    return function


BROKEN: dict[str, Callable[[Exercise], Any]] = {
    # not a function
    "None": handed_in(None),
    "a result instead of a function": handed_in(torch.zeros(3)),
    "a name in quotes": handed_in("answer"),
    "a class": handed_in(torch.nn.Identity),
    "a module": handed_in(torch),
    # not numbers
    "a string": gives("x_t"),
    "a complex number": gives(1j),
    "an object": gives(object()),
    "a function returned": gives(len),
    "a class returned": gives(dict),
    "an empty list": gives([]),
    "a list of nothing": gives([None, None]),
    "a ragged list": gives([torch.zeros(2), torch.zeros(3)]),
    "a list that holds itself": handed_in(returns_itself),
    "a number beyond float": gives(10**400),
    "an object array": gives(np.array([None, "x"])),
    "texts in an array": gives(np.array(["x"])),
    "a generator": yields,
    "a coroutine": waits,
    # the right numbers in the wrong packing
    "twice": packs(lambda parts: (*parts, *parts)),
    "a stray comma": packs(lambda parts: (tuple(parts) if len(parts) > 1 else parts[0],)),
    "a dict": packs(lambda parts: {"x_t": parts[0]}),
    "one axis too many": spoils(lambda x: x[None]),
    "one number too many": spoils(lambda x: torch.cat([x.flatten(), x.new_ones(1)])),
    "empty": spoils(lambda x: x.flatten()[:0]),
    "no data": spoils(lambda x: x.to("meta")),
    "huge": gives(torch.zeros(1).expand(10**12)),
    # the wrong numbers
    "True": gives(True),
    "a number": gives(0.5),
    "the first argument": handed_in(lambda *arguments: arguments[0]),
    "complex": spoils(lambda x: x.to(torch.complex64)),
    "bfloat16": spoils(lambda x: x.bfloat16()),
    "float16 in a list": spoils(lambda x: [x.half(), x]),
    "whole numbers": spoils(lambda x: x.long()),
    "yes or no": spoils(lambda x: x > 0.1),
    "NaN": spoils(lambda x: x * torch.nan),
    "one infinity": spoils(with_one_infinity),
    "overflow": spoils(lambda x: x * 1e307),
    # no answer at all
    "an exception": handed_in(fails),
    "an error inside torch": handed_in(inside_torch),
    "a generator in the wrong place": handed_in(
        lambda *arguments: torch.randn((2, 3), torch.Generator())
    ),
    "sys.exit": handed_in(exits),
    "StopIteration": handed_in(stops),
    "infinite recursion": handed_in(recurs),
    "an exception of many words": handed_in(talks),
    "an exception without words": handed_in(says_nothing),
    "not even an Exception": handed_in(raises_oddly),
    "a long printout": handed_in(prints),
    "no parameters": handed_in(lambda: 0),
    "too many parameters": handed_in(lambda a, b, c, d, e, f, g, h, i, j: a),
    "None on the second call": only_once,
}


def spoilt_inputs(exercise: Exercise) -> dict[str, Callable]:
    """For each argument that holds tensors or is a list, the reference with that one changed in place at the end."""
    names = list(inspect.signature(exercise.reference).parameters)

    def spoiling(k):
        def function(*arguments):
            answer = exercise.reference(*arguments)
            for tensor in tensors_in(arguments[k]):
                tensor.add_(1)
            if reversible(arguments[k]):
                arguments[k].reverse()
            return answer

        return function

    arguments = exercise.cases()[0].arguments
    return {
        names[k]: spoiling(k)
        for k, argument in enumerate(arguments)
        if reversible(argument) or any(True for _ in tensors_in(argument))
    }


def reversible(argument: Any) -> bool:
    """Whether it is a list of numbers, another one when read from its end."""
    return (
        isinstance(argument, list)
        and all(isinstance(item, (int, float)) for item in argument)
        and argument != argument[::-1]
    )


def tensors_in(argument: Any):
    """The tensors of an argument that is one, a list of them, or a record with some."""
    if isinstance(argument, torch.Tensor):
        if argument.dtype != torch.bool and argument.numel():
            yield argument
    elif isinstance(argument, (list, tuple)):
        for item in argument:
            yield from tensors_in(item)
    elif hasattr(argument, "__dataclass_fields__"):
        for name in argument.__dataclass_fields__:
            yield from tensors_in(getattr(argument, name))
