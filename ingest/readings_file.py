"""Readings files: recorded readings as CSV, JSON lines (each also `.gz`) or Parquet.

Column `time` (ISO 8601 with zone; or a number since 1970: below 1e11 seconds, else milliseconds), `site`, `device`,
then any quantity or state by its name in ingest.readings. Empty = not reported. Read and written piece by piece, in
file order, so a file may be larger than memory. What is wrong is an OperatorError of one line:
`file:line: column: what; what would be right`.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import OperatorError
from ingest.file_rows import KEYS, KNOWN, NEEDED, FileRow, Rows, check_columns, parse_time
from ingest.readings import QUANTITIES, to_datetime

__all__ = ["CHUNK", "FileRow", "parse_time", "read_readings", "write_readings"]

#: Rows converted together: large enough for speed, small enough for memory.
CHUNK = 20_000
_KNOWN_NAMES = frozenset(KNOWN)
_NEEDED_NAMES = frozenset(NEEDED)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What the name of a readings file says about its content."""

    kind: str
    packed: bool = False


def form_of(path: Path) -> Form:
    """Format by file name; OperatorError for a name that says none."""
    name = path.name.lower()
    packed = name.endswith(".gz")
    ending = name.removesuffix(".gz").rpartition(".")[2]
    kinds = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
    if ending not in kinds or (packed and ending == "parquet"):
        raise OperatorError(f"{path}: not a readings file by its name; use .csv, .jsonl (each also .gz) or .parquet")
    return Form(kind=kinds[ending], packed=packed)


def read_readings(path: Path | str) -> Iterator[FileRow]:
    """Rows in file order; OperatorError for the first thing that is wrong, before any row of its chunk."""
    path = Path(path)
    form = form_of(path)
    readers = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
    with _said_plainly(path):
        yield from readers[form.kind](path, form)


# --- reading ----------------------------------------------------------------------------------------------------


def _read_csv(path: Path, form: Form) -> Iterator[FileRow]:
    frames = pd.read_csv(
        path,
        header=None,  # the header is a row like others here: pandas would rename doubled columns
        dtype=object,
        na_filter=False,
        skip_blank_lines=False,  # so that rows can be counted to lines
        chunksize=CHUNK,
        encoding="utf-8-sig",
        compression="gzip" if form.packed else None,
    )
    rows, names, line = Rows(path), list[str](), 1
    with frames:
        for frame in frames:
            if not names:
                names = [str(name).strip() for name in frame.iloc[0]]
                check_columns(path, 1, names)
                frame, line = frame.iloc[1:], 2
            columns = [frame[index].tolist() for index in range(len(names))]
            lines: Sequence[int] = range(line, line + len(frame))
            line += len(frame)
            yield from rows.convert(*_without_blank(dict(zip(names, columns, strict=True)), lines))


def _without_blank(columns: dict[str, list[Any]], lines: Sequence[int]) -> tuple[dict[str, list[Any]], Sequence[int]]:
    """Leaves out rows of empty cells alone: blank lines, as editors leave them at the end."""
    suspects = [row for row, cell in enumerate(columns["time"]) if cell == ""]
    blank = {row for row in suspects if not any(column[row] for column in columns.values())}
    if not blank:
        return columns, lines
    keep = [row for row in range(len(lines)) if row not in blank]
    return {name: [cells[row] for row in keep] for name, cells in columns.items()}, [lines[row] for row in keep]


def _read_jsonl(path: Path, form: Form) -> Iterator[FileRow]:
    rows = Rows(path)
    with gzip.open(path) if form.packed else path.open("rb") as file:
        numbered = enumerate(file, start=1)
        while chunk := list(islice(numbered, CHUNK)):
            kept = [(line, _json_row(path, line, text)) for line, text in chunk if text.strip()]
            names = dict.fromkeys(chain(KEYS, *(row for _, row in kept)))
            columns = {name: [row.get(name) for _, row in kept] for name in names}
            yield from rows.convert(columns, [line for line, _ in kept])


def _json_row(path: Path, line: int, text: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}:{line}: not JSON: {error}; write one JSON object a line") from None
    if not isinstance(row, dict):
        raise OperatorError(f"{path}:{line}: not a JSON object; write one JSON object a line")
    if not row.keys() <= _KNOWN_NAMES or not row.keys() >= _NEEDED_NAMES:
        check_columns(path, line, list(row))
    return row


def _read_parquet(path: Path, form: Form) -> Iterator[FileRow]:
    rows, line = Rows(path), 1
    with pq.ParquetFile(path) as file:
        check_columns(path, 1, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=CHUNK):
            columns = {name: _arrow_cells(path, name, batch.column(name)) for name in batch.schema.names}
            yield from rows.convert(columns, range(line, line + batch.num_rows))
            line += batch.num_rows


def _arrow_cells(path: Path, name: str, column: Any) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return cast(list[Any], column.to_pylist())
    if column.type.tz is None:
        raise OperatorError(f"{path}: {name}: timestamps without a zone; store them as timestamp with zone UTC")
    micros = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_pylist()
    return [None if at is None else to_datetime(at).isoformat() for at in micros]


@contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    """What the libraries raise about a file, as one line of ours."""
    try:
        yield
    except pd.errors.EmptyDataError:
        raise OperatorError(f"{path}:1: empty; the first line names the columns: time,site,device,…") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if not found:
            raise OperatorError(f"{path}: not CSV: {' '.join(str(error).split())}; check the quotes") from None
        expected, line, saw = found.groups()
        what = f"{saw} cells where the header names {expected} columns; remove or quote what is too much"
        raise OperatorError(f"{path}:{line}: {what}") from None
    except UnicodeDecodeError:
        raise OperatorError(f"{path}: not UTF-8 text; save it as CSV UTF-8") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise OperatorError(f"{path}: broken gzip file: {error}; copy it again") from None
    except pa.ArrowInvalid as error:
        raise OperatorError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise OperatorError(f"{path}: {(error.strerror or str(error)).lower()}; name a readable file") from None


# --- writing ----------------------------------------------------------------------------------------------------


def write_readings(path: Path | str, rows: Iterable[FileRow], *, columns: Sequence[str] = ()) -> int:
    """Write rows in the format of the file's name, whole or not at all; the number of rows.

    `columns` are the quantities and states to write (JSON lines need none); without them all rows are held in
    memory to find out. The same rows give the same bytes.
    """
    path = Path(path)
    form = form_of(path)
    if not columns and form.kind != "jsonl":
        rows = list(rows)
        used = set(chain.from_iterable((*row.values, *row.states) for row in rows))
        columns = [name for name in KNOWN if name in used]
    draft = path.with_name(f".{path.name}.part")
    try:
        count = _write(draft, form, rows, columns)
        draft.replace(path)
    except OSError as error:
        raise OperatorError(f"{path}: {(error.strerror or str(error)).lower()}; name a place to write to") from None
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write(path: Path, form: Form, rows: Iterable[FileRow], columns: Sequence[str]) -> int:
    if form.kind == "parquet":
        return _write_parquet(path, rows, columns)
    with path.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if form.packed else None
        text = io.TextIOWrapper(cast(IO[bytes], packed or raw), encoding="utf-8", newline="")
        count = _write_csv(text, rows, columns) if form.kind == "csv" else _write_jsonl(text, rows)
        text.close()  # also ends the gzip stream
    return count


def _written_time(at: int) -> str:
    return to_datetime(at).isoformat().removesuffix("+00:00") + "Z"


def _write_csv(file: IO[str], rows: Iterable[FileRow], columns: Sequence[str]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*KEYS, *columns))
    count = 0
    for row in rows:
        count += 1
        cells: dict[str, object] = {name: "true" if on else "false" for name, on in row.states.items()}
        cells.update(row.values)  # written as repr does
        writer.writerow((_written_time(row.at), row.site, row.device, *map(cells.get, columns)))
    return count


def _write_jsonl(file: IO[str], rows: Iterable[FileRow]) -> int:
    count = 0
    for row in rows:
        count += 1
        keys = {"time": _written_time(row.at), "site": row.site, "device": row.device}
        file.write(msgspec.json.encode({**keys, **row.values, **row.states}).decode() + "\n")
    return count


def _write_parquet(path: Path, rows: Iterable[FileRow], columns: Sequence[str]) -> int:
    kinds = [(name, pa.float64() if name in QUANTITIES else pa.bool_()) for name in columns]
    keys = [("time", pa.timestamp("us", "UTC")), ("site", pa.string()), ("device", pa.string())]
    schema, source, count = pa.schema([*keys, *kinds]), iter(rows), 0
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(source, CHUNK)):
            cells = [{**row.values, **row.states} for row in chunk]
            data = {
                "time": [r.at for r in chunk],
                "site": [r.site for r in chunk],
                "device": [r.device for r in chunk],
            }
            data |= {name: [row.get(name) for row in cells] for name in columns}
            arrays = [pa.array(data[field.name], field.type) for field in schema]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(chunk)
    return count
