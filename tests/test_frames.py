"""The wire: what goes in comes out, and no bytes at all do more than raise `FrameError`."""

import contextlib
import json
import pickle
import resource
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.host import frames
from harness.host.frames import DTYPES, LENGTHS, MAX_FRAME_BYTES, Frame, FrameError, frame_size, pack, unpack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.dictionaries(st.text().filter(lambda key: key != "arrays"), JSON, max_size=4)
ARRAYS = st.dictionaries(
    st.text(max_size=8),
    hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    max_size=3,
)
FRAME = pack(Frame({"do": "encode", "texts": ["1+2="]}, {"ids": np.arange(6, dtype=np.int32).reshape(2, 3)}))


def frame_of(text: bytes, data: bytes = b"") -> bytes:
    return LENGTHS.pack(len(text), len(data)) + text + data


@given(MESSAGES, ARRAYS)
def test_what_is_packed_comes_back_unpacked(message: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    received = unpack(pack(Frame(message, arrays)))
    assert received.message == message
    assert list(received.arrays) == list(arrays)
    for name, array in arrays.items():
        assert received.arrays[name].dtype == array.dtype
        assert received.arrays[name].shape == array.shape
        np.testing.assert_array_equal(received.arrays[name], array)


def test_a_frame_is_two_lengths_then_json_then_little_endian_numbers() -> None:
    text_size, data_size = int.from_bytes(FRAME[:4], "little"), int.from_bytes(FRAME[4:8], "little")
    assert len(FRAME) == 8 + text_size + data_size
    assert json.loads(FRAME[8 : 8 + text_size])["arrays"] == [["ids", "int32", [2, 3]]]
    numbers = FRAME[8 + text_size :]
    assert [int.from_bytes(numbers[start : start + 4], "little") for start in range(0, 24, 4)] == [0, 1, 2, 3, 4, 5]


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_frame_error(content: bytes) -> None:
    with pytest.raises(FrameError):
        unpack(content)


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_text_or_data_of_the_right_length_raises_anything_but_a_frame_error(text: bytes, data: bytes) -> None:
    with pytest.raises(FrameError):
        unpack(frame_of(text, data))


@given(
    st.lists(JSON | st.tuples(st.text(max_size=2), st.sampled_from(DTYPES), JSON), max_size=3), st.binary(max_size=16)
)
@settings(max_examples=300)
def test_no_list_of_arrays_raises_anything_but_a_frame_error(listed: list[Any], data: bytes) -> None:
    text = json.dumps({"arrays": listed}).encode()
    try:
        received = unpack(frame_of(text, data))
    except FrameError:
        return
    assert sum(array.nbytes for array in received.arrays.values()) <= len(data)


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_changed_byte_gives_a_frame_or_a_frame_error(position: int, flipped: int) -> None:
    content = bytearray(FRAME)
    content[position] ^= flipped
    with contextlib.suppress(FrameError):
        assert isinstance(unpack(bytes(content)), Frame)


@pytest.mark.parametrize("length", range(len(FRAME)))
def test_a_frame_cut_short_is_refused(length: int) -> None:
    with pytest.raises(FrameError):
        unpack(FRAME[:length])


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"arrays": [["a", "int32", [4294967296, 4294967296]]]}',
        b'{"arrays": [["a", "int32", [-1]]]}',
        b'{"arrays": [["a", "int32", [true]]]}',
        b'{"arrays": [["a", "object", []]]}',
        b'{"arrays": [["a", "int32", [0, 0, 0, 0, 0, 0, 0, 0, 0]]]}',
        b'{"arrays": ' + b"9" * 5000 + b"}",
    ],
    ids=["nesting", "huge-shape", "negative", "bool-size", "object-dtype", "nine-dimensions", "huge-number"],
)
def test_hostile_descriptions_of_arrays_are_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        unpack(frame_of(text))


def test_an_oversize_frame_is_refused_from_its_first_eight_bytes() -> None:
    with pytest.raises(FrameError, match="8589934598 bytes is announced; at most 8388608"):
        frame_size(b"\xff" * LENGTHS.size)


def test_announced_sizes_take_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for text in (b'{"arrays": [["a", "float64", [8388608]]]}', b'{"arrays": [["a", "int32", [8388608, 8388608]]]}'):
        with pytest.raises(FrameError):
            unpack(frame_of(text))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_a_frame_over_the_limit_is_not_sent() -> None:
    array = np.zeros(MAX_FRAME_BYTES // 8, np.float64)
    with pytest.raises(FrameError, match="at most 8388608"):
        pack(Frame({}, {"a": array}))


def test_a_pickle_is_not_unpickled() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    bomb = pickle.dumps(Bomb())
    for content in (bomb, frame_of(bomb), frame_of(b'{"arrays": [["a", "object", [1]]]}', bomb)):
        with pytest.raises(FrameError):
            unpack(content)
    assert "pickle" not in vars(frames)
