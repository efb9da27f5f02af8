"""What a chart takes, checked once: numbers of any kind as NumPy arrays, and a colour for each name."""

from collections.abc import Mapping

import numpy as np

from course_utils.show.palette import series


def named(mapping, what: str) -> Mapping:
    if not isinstance(mapping, Mapping) or not mapping:
        raise ValueError(
            f"{what} must be a dict from names to values, with at least one; got {mapping!r}."
        )
    return mapping


def numbers(name: str, values) -> np.ndarray:
    """A tensor, array or list of numbers as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()  # NumPy knows no bfloat16
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers; got {type(values).__name__}.") from None


def row(name: str, values) -> np.ndarray:
    values = numbers(name, values)
    if values.ndim != 1 or not np.isfinite(values).any():
        raise ValueError(f"{name} must be a row of numbers, [N]; got shape {list(values.shape)}.")
    return values


def cloud(name: str, xy) -> np.ndarray:
    xy = numbers(name, xy)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) == 0 or not np.isfinite(xy).all():
        raise ValueError(f"{name} must be finite points, [N, 2]; got shape {list(xy.shape)}.")
    return xy


def check_log(wanted: bool, rows: Mapping[str, np.ndarray]) -> None:
    for name, values in rows.items():
        if wanted and np.nanmin(values) <= 0:
            raise ValueError(
                f"a logarithmic axis shows only values above 0; {name} goes down to {np.nanmin(values):.4g}."
            )


def colour_by_name(colours, names: list[str]) -> dict[str, str]:
    """A colour for each name."""
    if isinstance(colours, Mapping):
        if missing := [name for name in names if name not in colours]:
            raise ValueError(f"colours lacks {missing}; it names {list(colours)}.")
        return dict(colours)
    colours = list(series if colours is None else colours)
    if len(colours) < len(names):
        raise ValueError(
            f"{len(names)} names need as many colours; got {len(colours)}. Pass more in colours=…."
        )
    return dict(zip(names, colours, strict=False))
