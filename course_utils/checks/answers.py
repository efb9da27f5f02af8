"""Reading what a learner's function returned: numbers where there are numbers, else words for what it is."""

import inspect
import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LARGEST = 20_000_000  # numbers; no exercise asks for more, and reading them would take memory


class UnreadableError(Exception):
    """The value is not the kind of thing that was asked for; the message says what it is."""


@dataclass(frozen=True)
class Part:
    """One returned thing as float64, and the dtype it came in."""

    numbers: np.ndarray
    dtype: str

    @property
    def whole(self) -> bool:
        """Whether the dtype holds whole numbers only."""
        return self.dtype.startswith(("int", "uint", "bool"))


def kind_of(value: Any) -> str:
    """What a value is, in words, without ever calling the learner's own repr."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        what = "a tensor" if isinstance(value, torch.Tensor) else "an array"
        return f"{what} of shape {list(value.shape)}"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return "a string"
    if isinstance(value, numbers.Number):
        return "one number"
    if isinstance(value, (tuple, list, range, dict, set)):
        return f"a {type(value).__name__} of {len(value)}"
    if inspect.isgenerator(value):
        return "a generator (from a `yield`, or from parentheses where a list has brackets)"
    if inspect.iscoroutine(value):
        return "a coroutine, because your function is `async`"
    if callable(value):
        return "a function (are its parentheses missing?)"
    return f"an object of type {type(value).__name__}"


def split(value: Any, returns: tuple[str, ...]) -> tuple[Part, ...]:
    """One Part for each name in `returns`.

    Raises:
        UnreadableError: saying what came and what was asked for.
    """
    if inspect.iscoroutine(value):
        value.close()  # or Python warns later that it was never awaited
    wanted = " and ".join(returns) if len(returns) < 3 else ", ".join(returns)
    if len(returns) == 1:
        if isinstance(value, tuple) and not all(map(_is_number, value)):
            comma = " Is there a stray comma after `return …`?" if len(value) == 1 else ""
            raise UnreadableError(f"It returned {kind_of(value)}; return {wanted} alone.{comma}")
        return (_read(value, wanted),)
    if isinstance(value, (torch.Tensor, np.ndarray)) and value.shape[:1] == (len(returns),):
        raise UnreadableError(
            f"It returned one {kind_of(value).partition(' ')[2]}; "
            f"return them separately: return {', '.join(returns)}."
        )
    if not isinstance(value, (tuple, list)) or len(value) != len(returns):
        raise UnreadableError(
            f"It returned {kind_of(value)}; return {len(returns)} things: {wanted}."
        )
    return tuple(_read(item, name) for item, name in zip(value, returns, strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) or (
        isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim == 0
    )


def _read(value: Any, name: str) -> Part:
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return _read_array(value, name)
    if isinstance(value, numbers.Real):
        return Part(np.asarray(float(value)), type(value).__name__)
    if isinstance(value, (list, tuple, range)):
        if not value:
            return Part(np.empty(0), "float64")
        parts = [_read(item, name) for item in value]
        shapes = {part.numbers.shape for part in parts}
        if len(shapes) != 1:
            raise UnreadableError(
                f"It returned {kind_of(value)} that does not stack into one array, for {name}."
            )
        fractions = (part.dtype for part in parts if not part.whole)
        dtype = next(fractions, parts[0].dtype)  # a list may begin with the int 1
        return Part(np.stack([part.numbers for part in parts]), dtype)
    raise UnreadableError(
        f"It returned {kind_of(value)}, where {name} should be one number or a tensor of numbers."
    )


def _read_array(value: torch.Tensor | np.ndarray | np.generic, name: str) -> Part:
    dtype = str(value.dtype).removeprefix("torch.")
    if math.prod(value.shape) > LARGEST:
        raise UnreadableError(
            f"{name} has shape {list(value.shape)}: {math.prod(value.shape):,} numbers, far too many."
        )
    if "complex" in dtype:
        raise UnreadableError(f"{name} holds complex numbers ({dtype}); it should hold real ones.")
    if dtype.startswith(("float16", "bfloat16", "float8")):
        raise UnreadableError(
            f"{name} is {dtype}, which keeps only three digits; float32 is needed."
        )
    if isinstance(value, torch.Tensor):
        value = value.detach()
        dense = value if value.layout is torch.strided else value.to_dense()
        return Part(dense.cpu().to(torch.float64).numpy(), dtype)
    if value.dtype.kind not in "fiub":
        raise UnreadableError(
            f"{name} is {kind_of(value)} and dtype {dtype}; it should hold numbers."
        )
    return Part(np.asarray(value, dtype=np.float64), dtype)
