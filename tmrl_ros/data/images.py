"""Camera images of a demonstration store: compressed row by row, read row by row, each checked against its SHA-256.

    observation/images/<camera>  uint8 [rows, height, width, 3], rgb; a chunk a row, many rows a file (zarr's sharding)
    image_sha256/<camera>        uint8 [rows, 32]

Pixels are kept as they are: within an image each pixel row is the difference from the one above, which halves what
sensor noise leaves to store, compressed by zstd. Or they are kept lossy (webp.py), and then the SHA-256 of a row is
that of its bytes in the file. Zarr reads these arrays wherever this module is imported. StoredImages reads single
rows of them by itself: for 64 random ones zarr 3.1 took 30 times as long.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.abc.codec import ArrayArrayCodec
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

from tmrl_ros.data import webp
from tmrl_ros.errors import DataError

IMAGES, DIGESTS = "observation/images", "image_sha256"
QUALITY = "quality"  # attribute of images that are kept lossy
FILE_BYTES = 16 * 2**20  # of raw images in a file: what writing holds in memory
SHA_BYTES = 32
ZSTD = Zstd()


class Images(Protocol):
    """Images of one camera, a row each: uint8 [rows, height, width, 3], rgb. Asking for some reads no others."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Images uint8 [n, height, width, 3] of the rows int64 [n], in any order."""
        ...


class Lazy:
    """What images that are read when asked for have in common."""

    shape: tuple[int, ...]
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def _rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """Row numbers int64 [n]; raises IndexError outside of 0 .. rows - 1."""
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)} images")
        return wanted


class Gathered(Lazy):
    """Stretches [start, stop) of other images, one after the other, as if they were one."""

    def __init__(self, spans: Sequence[tuple[Images, int, int]]):
        self._spans = list(spans)
        self._ends = np.cumsum([stop - start for _, start, stop in spans])
        self.shape = (int(self._ends[-1]), *spans[0][0].shape[1:])

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        wanted = self._rows(rows)
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        span = np.searchsorted(self._ends, wanted, side="right")
        for number in np.unique(span):
            source, _, stop = self._spans[number]
            here = span == number
            out[here] = source[wanted[here] - self._ends[number] + stop]
        return out


@dataclass(frozen=True)
class RowDifference(ArrayArrayCodec):
    """Zarr codec "tmrl.row_difference": uint8 [n, height, ...], each pixel row less the one above, modulo 256."""

    is_fixed_size = True

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls()

    def to_dict(self) -> dict[str, Any]:
        return {"name": "tmrl.row_difference", "configuration": {}}

    async def _encode_single(self, chunk_array, chunk_spec):
        image = chunk_array.as_numpy_array()
        difference = image.copy()
        difference[:, 1:] -= image[:, :-1]
        return chunk_spec.prototype.nd_buffer.from_numpy_array(difference)

    async def _decode_single(self, chunk_array, chunk_spec):
        image = np.add.accumulate(chunk_array.as_numpy_array(), 1, dtype=np.uint8)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image)

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec) -> int:
        return input_byte_length


register_codec("tmrl.row_difference", RowDifference)


def write_images(group: zarr.Group, camera: str, images: Images, quality: int | None = None) -> np.ndarray:
    """Add one camera to a store that is being written; returns the digests uint8 [rows, 32].

    Reads `images` once and in order, FILE_BYTES at a time. With a `quality`, 1 .. 100, they are kept lossy.
    """
    rows, *size = images.shape
    exact = {"filters": RowDifference(), "compressors": ZstdCodec(level=1)}
    array = group.create_array(
        f"{IMAGES}/{camera}",
        shape=images.shape,
        dtype=np.uint8,
        chunks=(1, *size),
        shards=(min(rows, rows_a_file(images.shape)), *size),
        **(exact if quality is None else {"serializer": webp.WebP(quality), "compressors": None}),
        attributes={} if quality is None else {QUALITY: quality},
        config={"write_empty_chunks": True},  # a file that is not there is a lost one, never a black image
    )
    digests = np.empty((rows, SHA_BYTES), np.uint8)
    for part in stretches(images.shape):
        block = np.ascontiguousarray(images[np.arange(part.start, part.stop)])
        array[part] = block
        digests[part] = [digest(image if quality is None else webp.pack(image, quality)) for image in block]
    group.create_array(f"{DIGESTS}/{camera}", data=digests)
    return digests


def rows_a_file(shape: Sequence[int]) -> int:
    """How many images of this [rows, height, width, 3] share a file."""
    return max(1, FILE_BYTES // int(np.prod(shape[1:])))


def stretches(shape: Sequence[int]) -> Iterator[slice]:
    """All rows, a file's at a time."""
    step = rows_a_file(shape)
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def sizes(images: Mapping[str, Images]) -> dict[str, str]:
    """By camera, such as {"front": "128x96"}, width first."""
    return {camera: f"{images[camera].shape[2]}x{images[camera].shape[1]}" for camera in sorted(images)}


def digest(image: np.ndarray | bytes) -> np.ndarray:
    """SHA-256 of the pixels, or of what stands for them, uint8 [32]."""
    return np.frombuffer(hashlib.sha256(image).digest(), np.uint8)


def stored_images(path: Path, group: zarr.Group) -> tuple[dict[str, "StoredImages"], dict[str, np.ndarray]]:
    """The cameras of the store at `path`: their images, and the digests uint8 [rows, 32] these are checked against."""
    cameras = sorted(folder.name for folder in (path / IMAGES).glob("*") if folder.is_dir())
    digests = {camera: np.asarray(group[f"{DIGESTS}/{camera}"][:], np.uint8) for camera in cameras}
    images = {}
    for camera, known in digests.items():
        array = group[f"{IMAGES}/{camera}"]
        if array.ndim != 4 or array.dtype != np.uint8 or not array.shards or known.shape != (array.shape[0], SHA_BYTES):
            raise DataError(f"its images {camera} are not as this package stores them")
        images[camera] = StoredImages(path, camera, array.shape, array.shards[0], known, QUALITY in array.attrs)
    return images, digests


class StoredImages(Lazy):
    """Images on disk; what is kept in memory is 48 bytes a row. Raises DataError for a row that is damaged."""

    def __init__(
        self, path: Path, camera: str, shape: Sequence[int], rows_a_file: int, digests: np.ndarray, lossy: bool = False
    ):
        self._unpack = self._lossy if lossy else self._exact
        self.path, self.camera, self.shape = path, camera, tuple(map(int, shape))
        self._rows_a_file, self._digests = int(rows_a_file), digests
        self._places: dict[int, np.ndarray] = {}  # file -> uint64 [rows in it, 2]: where each begins, its bytes

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        wanted = self._rows(rows)
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        number = wanted // self._rows_a_file
        for file in np.unique(number):
            try:
                self._read_file(int(file), np.flatnonzero(number == file), wanted, out)
            except (OSError, ValueError, RuntimeError, IndexError) as error:  # RuntimeError: zstd's
                raise self._damaged(f"file {file}: {error}") from None
        return out

    def _read_file(self, file: int, positions: np.ndarray, wanted: np.ndarray, out: np.ndarray) -> None:
        descriptor = os.open(self.path / IMAGES / self.camera / f"c/{file}/0/0/0", os.O_RDONLY)
        try:
            if file not in self._places:
                self._places[file] = self._places_in(descriptor)
            places = self._places[file]
            for k in positions:
                start, size = places[wanted[k] % self._rows_a_file].tolist()
                packed = os.pread(descriptor, min(size, out[k].nbytes + 2**16), start)
                self._unpack(packed, int(wanted[k]), out[k])
        finally:
            os.close(descriptor)

    def _places_in(self, descriptor: int) -> np.ndarray:
        """The index at the end of a file of zarr's sharding, less its checksum: the digests vouch for what it finds."""
        size = 16 * self._rows_a_file
        raw = os.pread(descriptor, size, max(0, os.fstat(descriptor).st_size - size - 4))
        return np.minimum(np.frombuffer(raw, "<u8").reshape(self._rows_a_file, 2), 2**62)

    def _lossy(self, packed: bytes, row: int, out: np.ndarray) -> None:
        self._check(packed, row)
        out[:] = webp.unpack(packed, out.shape)

    def _exact(self, packed: bytes, row: int, out: np.ndarray) -> None:
        ZSTD.decode(packed, out)  # no more than the image's size, whatever the data claims
        lines = out.reshape(len(out), -1)
        np.add.accumulate(lines, 0, dtype=np.uint8, out=lines)
        self._check(out, row)

    def _check(self, stored: np.ndarray | bytes, row: int) -> None:
        if hashlib.sha256(stored).digest() != self._digests[row].tobytes():
            raise self._damaged(f"row {row} does not match its sha256")

    def _damaged(self, what: str) -> DataError:
        text = f"images {self.camera} of {self.path} are damaged ({what}); collect it again or restore a copy"
        return DataError(text.replace("\n", " "))
