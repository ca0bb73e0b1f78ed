"""Lossy images: a WebP a row, in a twentieth of what every pixel takes. `tmrl data shrink` makes stores of them.

Pixels come back near what they were; the SHA-256 of a row is that of the bytes that are stored.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import cv2
import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.registry import register_codec

HEADER = (b"RIFF", b"WEBPVP8 ")  # of a lossy WebP without extensions, at bytes 0 and 8


def pack(image: np.ndarray, quality: int) -> bytes:
    """`image` uint8 [height, width, 3], rgb, at `quality` 1 .. 100."""
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def unpack(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The image uint8 [height, width, 3], rgb; raises ValueError for what is none of this `shape`.

    The size is looked at before it is decoded: a few bytes may claim an image of a gigabyte.
    """
    width, height = (int.from_bytes(packed[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if (packed[:4], packed[8:16]) != HEADER or (height, width, 3) != tuple(shape):
        raise ValueError(f"no WebP of {shape[1]}x{shape[0]} px")
    bgr = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape != tuple(shape):
        raise ValueError("a WebP that cannot be decoded")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


@dataclass(frozen=True)
class WebP(ArrayBytesCodec):
    """Zarr codec "tmrl.webp": a chunk uint8 [1, height, width, 3] as one WebP."""

    quality: int
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data["configuration"])

    def to_dict(self) -> dict[str, Any]:
        return {"name": "tmrl.webp", "configuration": asdict(self)}

    async def _encode_single(self, chunk_array, chunk_spec):
        return chunk_spec.prototype.buffer.from_bytes(pack(chunk_array.as_numpy_array()[0], self.quality))

    async def _decode_single(self, chunk_bytes, chunk_spec):
        image = unpack(chunk_bytes.to_bytes(), chunk_spec.shape[1:])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image[None])

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec) -> int:
        raise NotImplementedError("a WebP is as long as its image needs")


register_codec("tmrl.webp", WebP)
