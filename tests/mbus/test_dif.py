from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.dif import DataField, Dib, Function, decode_dib, encode_dib
from bridge.mbus.errors import EncodeError


@pytest.mark.parametrize(
    ("dib", "says"),
    [
        ("0C", Dib(DataField.BCD8, Function.INSTANTANEOUS, 0, 0, 0)),
        ("14", Dib(DataField.INT32, Function.MAXIMUM, 0, 0, 0)),
        ("22", Dib(DataField.INT16, Function.MINIMUM, 0, 0, 0)),
        ("34", Dib(DataField.INT32, Function.ERROR, 0, 0, 0)),
        ("4C", Dib(DataField.BCD8, Function.INSTANTANEOUS, 1, 0, 0)),
        ("84 10", Dib(DataField.INT32, Function.INSTANTANEOUS, 0, 1, 0)),
        ("84 50", Dib(DataField.INT32, Function.INSTANTANEOUS, 0, 1, 1)),
        ("C4 05", Dib(DataField.INT32, Function.INSTANTANEOUS, 11, 0, 0)),
        ("8E 80 40", Dib(DataField.BCD12, Function.INSTANTANEOUS, 0, 0, 2)),
    ],
)
def test_a_dib_says_function_storage_tariff_and_subunit(dib: str, says: Dib) -> None:
    assert decode_dib(bytes.fromhex(dib)) == says
    assert encode_dib(*says) == bytes.fromhex(dib)


def test_ten_difes_reach_the_largest_numbers() -> None:
    largest = Dib(DataField.INT8, Function.MAXIMUM, 2**41 - 1, 2**20 - 1, 2**10 - 1)
    dib = bytes.fromhex("D1 FF FF FF FF FF FF FF FF FF 7F")
    assert decode_dib(dib) == largest
    assert encode_dib(*largest) == dib
    with pytest.raises(EncodeError, match="11 DIFEs"):
        encode_dib(DataField.INT8, storage=2**41)


def test_a_last_dife_00_marks_a_register_number_and_changes_nothing() -> None:
    assert decode_dib(bytes.fromhex("84 01")) == decode_dib(bytes.fromhex("84 81 00"))


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(EncodeError, match="never negative"):
        encode_dib(DataField.INT8, tariff=-1)


@given(
    st.sampled_from(DataField),
    st.sampled_from(Function),
    st.integers(0, 2**41 - 1),
    st.integers(0, 2**20 - 1),
    st.integers(0, 2**10 - 1),
)
def test_every_dib_comes_back(
    data_field: DataField, function: Function, storage: int, tariff: int, subunit: int
) -> None:
    dib = encode_dib(data_field, function, storage, tariff, subunit)
    assert decode_dib(dib) == (data_field, function, storage, tariff, subunit)
