"""Images of a LeRobotDataset v3.0, read when asked for: files in Parquet, or frames of videos."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.data.exchange import need
from tmrl_ros.data.images import Lazy
from tmrl_ros.errors import DataError


class ParquetImages(Lazy):
    """Column `key` of data files that follow each other, its rows `kept` int64 [rows]; one row group is in memory.

    `size` is [height, width, 3]. Asking for an image that is damaged, or of another size, raises DataError.
    """

    def __init__(self, files: Sequence[Path], key: str, size: Sequence[int], kept: np.ndarray):
        parquet = need("pyarrow.parquet", "pyarrow")
        self.key, self.shape, self._kept = key, (len(kept), *size), kept
        self._groups, lengths = [], []
        for file in files:
            metadata = parquet.read_metadata(file)
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            lengths += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = np.cumsum([0, *lengths])
        self._loaded: tuple[int, Any] = (-1, None)  # number of a row group, its column

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        wanted = self._kept[self._rows(rows)]
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        group = np.searchsorted(self._starts, wanted, side="right") - 1
        for k in np.argsort(wanted):  # so that each row group is read once
            entry = self._column(int(group[k]))[int(wanted[k] - self._starts[group[k]])].as_py()
            out[k] = self._decode(int(wanted[k]), entry)
        return out

    def _column(self, number: int) -> Any:
        if self._loaded[0] != number:
            file, group = self._groups[number]
            table = need("pyarrow.parquet", "pyarrow").ParquetFile(file).read_row_group(group, columns=[self.key])
            self._loaded = number, table.column(0)
        return self._loaded[1]

    def _decode(self, row: int, entry: Any) -> np.ndarray:
        """A file's bytes as uint8 [height, width, 3]."""
        if not isinstance(entry, dict) or not entry.get("bytes"):
            raise DataError(f"Row {row} of {self.key} has no image in its Parquet file; embed it and import again")
        height, width = self.shape[1:3]
        try:
            with need("PIL.Image", "pillow").open(io.BytesIO(entry["bytes"])) as image:
                if image.size != (width, height):  # before it is decoded: what it claims may be huge
                    raise DataError(f"it has {image.size[0]}x{image.size[1]} px, not {width}x{height}")
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, DataError) as error:  # SyntaxError: Pillow's, of a broken PNG
            raise DataError(f"Row {row} of {self.key} is damaged ({error}); restore a copy") from None


class VideoImages(Lazy):
    """Frames of videos: row k is frame `frames[k]` int64 of `files[number[k]]`; quick where rows are read in order.

    `size` is [height, width, 3]. Needs PyAV. Asking for a frame that is not there raises DataError.
    """

    def __init__(self, files: Sequence[Path], number: np.ndarray, frames: np.ndarray, size: Sequence[int], hz: float):
        need("av")
        self.shape = (len(frames), *size)
        self._files, self._number, self._wanted, self._hz = list(files), number, frames, hz
        self._playing: tuple[int, Iterator[tuple[int, np.ndarray]]] | None = None  # a file's number, its next frames
        self._last: tuple[int, np.ndarray | None] = (-1, None)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        wanted = self._rows(rows)
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for k in np.lexsort((self._wanted[wanted], self._number[wanted])):
            out[k] = self._frame(int(self._number[wanted[k]]), int(self._wanted[wanted[k]]))
        return out

    def _frame(self, file: int, frame: int) -> np.ndarray:
        if self._playing is None or self._playing[0] != file or frame < self._last[0]:
            self._playing, self._last = (file, self._play(self._files[file])), (-1, None)
        while self._last[0] < frame:
            self._last = next(self._playing[1], (frame + 1, None))
        at, image = self._last
        if at != frame or image is None or image.shape != self.shape[1:]:
            there = "has no such frame" if image is None or at != frame else f"it is {list(image.shape)}"
            raise DataError(
                f"Frame {frame} of {self._files[file]} is not an image {list(self.shape[1:])}: {there}; restore a copy"
            )
        return image

    def _play(self, file: Path) -> Iterator[tuple[int, np.ndarray]]:
        """Frames from the first on, each with its number by its time stamp."""
        av = need("av")
        try:
            with av.open(str(file)) as container:
                for frame in container.decode(video=0):
                    yield round(float(frame.time) * self._hz), frame.to_ndarray(format="rgb24")
        except (OSError, ValueError, IndexError, TypeError) as error:  # TypeError: a frame without a time
            raise DataError(f"{file} is damaged ({error}); restore a copy") from None
