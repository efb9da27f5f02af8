"""Parquet files in the Hugging Face Hub's layout as a source of images."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from course_utils.data.source import Item, Source


def count_rows(path: Path) -> int:
    """How many rows a parquet file has, from its footer alone. Raises ValueError if it is damaged."""
    with _open(path) as file:
        return file.metadata.num_rows


def open_tables(
    paths: list[Path], where: str, column: str | None, label_column: str | None
) -> Source:
    """The images in these files, row by row.

    Raises:
        ValueError: if there are no rows, a file is damaged, or the columns are missing or not clear.
    """
    count, schemas = 0, []
    for path in paths:
        with _open(path) as file:
            count += file.metadata.num_rows
            schemas.append(file.schema_arrow)
    if count == 0:
        raise ValueError(
            f"the parquet files of {where} hold no rows."
            if len(paths) > 1
            else f"{where} has no rows."
        )
    declared = _declared(schemas[0])
    column = _image_column(schemas[0], declared, column, where)
    label_column = _label_column(schemas[0], declared, label_column, where)
    for path, schema in zip(paths, schemas, strict=True):
        if missing := {column, label_column} - {None, *schema.names}:
            raise ValueError(
                f"{path} lacks the column {missing.pop()!r} that the first file has: keep such files apart."
            )
    names = declared.get(label_column, {}).get("names")
    items, pick = _rows(paths, column, label_column), Rows(tuple(paths), column)
    return Source(items, count, where, tuple(names) if names else None, pick)


def _rows(paths: list[Path], column: str, label_column: str | None) -> Iterator[Item]:
    import pyarrow as pa

    columns = [column] if label_column is None else [column, label_column]
    for path in paths:
        row = 0
        with _open(path) as file:
            try:
                for batch in file.iter_batches(batch_size=64, columns=columns):
                    labels = (
                        batch.column(label_column).to_pylist()
                        if label_column
                        else [None] * len(batch)
                    )
                    for image, label in zip(batch.column(column).to_pylist(), labels, strict=True):
                        yield _item(f"{path.name} row {row}", image, label)
                        row += 1
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"{path} is damaged after row {row}: {error}. Download it again."
                ) from None


@dataclass(frozen=True)
class Rows:
    """`Source.pick` of rows, counted over all files.

    Parquet is read a row group at a time: for one image all that are in its group, which in the Hub's files are 100.
    """

    paths: tuple[Path, ...]
    column: str

    def __call__(self, numbers: Sequence[int]) -> list[Item]:
        groups, ends = _groups(self.paths)
        numbers = np.asarray(numbers)
        group_of = np.searchsorted(ends, numbers, side="right")
        picked: dict[int, Item] = {}
        for g in np.unique(group_of):
            path, group, size = groups[g]
            rows = numbers[group_of == g] - (ends[g] - size)  # within the group
            picked |= zip(numbers[group_of == g], self._read(path, group, rows), strict=True)
        return [picked[number] for number in numbers]

    def _read(self, path: Path, group: int, rows: Sequence[int]) -> list[Item]:
        import pyarrow as pa

        name = f"{path.name} row group {group}, row"
        try:
            with _open(path) as file:
                # Without pyarrow's own threads: the processes that read are many already.
                table = file.read_row_group(group, columns=[self.column], use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            return [Item(f"{name} {row}", error, None) for row in rows]
        images = table.column(0)
        return [_item(f"{name} {row}", images[int(row)].as_py(), None) for row in rows]


@lru_cache(maxsize=1)
def _groups(paths: tuple[Path, ...]) -> tuple[list[tuple[Path, int, int]], np.ndarray]:
    """Each row group's file, number in it and rows; and where each one ends, counted in rows over all files."""
    groups = []
    for path in paths:
        with _open(path) as file:
            about = file.metadata
        groups += [(path, g, about.row_group(g).num_rows) for g in range(about.num_row_groups)]
    return groups, np.cumsum([rows for *_, rows in groups])


def _item(name: str, image: dict | bytes | None, label: int | str | None) -> Item:
    if isinstance(image, dict):
        name = f"{name}, {image['path']}" if image.get("path") else name
        image = image["bytes"]
    return Item(name, image or b"", label)


def _open(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Read piece by piece: with pyarrow's defaults the whole row group is held twice over.
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path} is not a whole parquet file ({str(error).split('.')[0]}). Download it again; "
            "in a git clone, `git lfs pull` fetches what was left out."
        ) from None


def _declared(schema) -> dict[str, dict]:
    """What the Hub's `datasets` has noted of each column, such as its type."""
    try:
        return json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError):  # no note, or one of another kind
        return {}


def _image_column(schema, declared: dict[str, dict], wanted: str | None, where: str) -> str:
    import pyarrow.types as kinds

    def binary(kind) -> bool:
        return kinds.is_binary(kind) or kinds.is_large_binary(kind)

    def struct_of_bytes(kind) -> bool:
        return (
            kinds.is_struct(kind)
            and kind.get_field_index("bytes") >= 0
            and binary(kind.field("bytes").type)
        )

    structs = [field.name for field in schema if struct_of_bytes(field.type)]
    raw = [field.name for field in schema if binary(field.type)]
    if wanted is not None:
        candidates = [name for name in structs + raw if name == wanted]
    else:
        noted = [name for name in structs + raw if declared.get(name, {}).get("_type") == "Image"]
        candidates = noted or structs or raw
        if len(candidates) > 1:
            candidates = [name for name in ("image", "img") if name in candidates][:1] or candidates
    if len(candidates) == 1:
        return candidates[0]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if candidates:
        raise ValueError(
            f"{where} has several image columns; pass one of these as column: {', '.join(candidates)}."
        )
    raise ValueError(
        f"{where} has no image column{f' {wanted!r}' if wanted else ''}, of bytes, or of structs with bytes. "
        f"Its columns are {columns}."
    )


def _label_column(schema, declared: dict[str, dict], wanted: str | None, where: str) -> str | None:
    import pyarrow.types as kinds

    def labels(kind) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        return any(
            of(kind)
            for of in (kinds.is_integer, kinds.is_boolean, kinds.is_string, kinds.is_large_string)
        )

    usable = [field.name for field in schema if labels(field.type)]
    if wanted is not None:
        if wanted not in usable:
            found = ", ".join(usable) or "none"
            raise ValueError(
                f"{where} has no label column {wanted!r}; those of whole numbers or text: {found}."
            )
        return wanted
    noted = [name for name in usable if declared.get(name, {}).get("_type") == "ClassLabel"]
    named = [name for name in ("label", "labels", "class", "target") if name in usable]
    return next(iter(named or noted), None) if named or len(noted) == 1 else None
