"""The wire between the harness and a host: length-prefixed frames of JSON and raw arrays.

A frame is two little-endian 32-bit lengths, then that many bytes of JSON, then that many bytes of array data:

    [len(json)] [len(data)] {"…": …, "arrays": [["ids", "int32", [64]], …]} <data of the arrays, one after the other>

Both sides use it, so it imports neither torch nor any other part of the harness. Nothing in a frame is ever unpickled.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_VOCAB_SIZE = 2048
MAX_DECODED_CHARACTERS = 4096
LENGTHS = struct.Struct("<II")
DTYPES = ("bool", "int32", "int64", "float32", "float64")


class FrameError(ValueError):
    """Bytes that are not a frame: too large, cut short, not JSON, or arrays that do not fill their data."""


@dataclass(frozen=True, slots=True)
class Frame:
    message: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def pack(frame: Frame) -> bytes:
    """The frame as bytes.

    Raises:
        FrameError: it is larger than `MAX_FRAME_BYTES`.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in frame.arrays.items()}
    listed = [[name, array.dtype.name, list(np.shape(frame.arrays[name]))] for name, array in arrays.items()]
    text = json.dumps({**frame.message, "arrays": listed}).encode()
    data = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays.values())
    if LENGTHS.size + len(text) + len(data) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(text) + len(data)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return LENGTHS.pack(len(text), len(data)) + text + data


def frame_size(header: bytes) -> int:
    """Bytes of the whole frame that begins with `header` (`LENGTHS.size` bytes).

    Raises:
        FrameError: it would be larger than `MAX_FRAME_BYTES`.
    """
    size = LENGTHS.size + sum(LENGTHS.unpack(header))
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {size} bytes is announced; at most {MAX_FRAME_BYTES} are allowed")
    return size


def unpack(content: bytes) -> Frame:
    """The one frame that makes up `content`.

    Raises:
        FrameError: it is not a frame; whatever the bytes are, no other error is raised.
    """
    if len(content) < LENGTHS.size:
        raise FrameError("a frame that was cut short")
    text_size, data_size = LENGTHS.unpack(content[: LENGTHS.size])
    if len(content) != LENGTHS.size + text_size + data_size:
        raise FrameError("a frame that was cut short")
    text, data = content[LENGTHS.size : LENGTHS.size + text_size], content[LENGTHS.size + text_size :]
    try:
        message = json.loads(text)
        listed = message.pop("arrays")
        arrays: dict[str, NDArray[Any]] = {}
        offset = 0
        for name, dtype, shape in listed:
            if dtype not in DTYPES or not isinstance(name, str) or len(shape) > 8:
                raise FrameError(f"an array of dtype {dtype!r:.20}; allowed: {', '.join(DTYPES)}")
            if not all(type(size) is int and 0 <= size <= MAX_FRAME_BYTES for size in shape):
                raise FrameError("an array whose shape is not whole numbers")
            count = 1
            for size in shape:
                count *= size
            stored = np.dtype(dtype).newbyteorder("<")
            array = np.frombuffer(data, stored, count, offset).reshape(shape)
            arrays[name] = array.astype(dtype)
            offset += count * stored.itemsize
    except FrameError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise FrameError(f"a malformed frame ({type(error).__name__})") from error
    if offset != len(data):
        raise FrameError("arrays that do not fill their data")
    return Frame(message, arrays)
