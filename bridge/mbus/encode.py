"""Data records as a meter sends them: from value to bytes, by which tests prove the decoder."""

from __future__ import annotations

import datetime
from decimal import Decimal

from bridge.mbus.dif import LENGTHS, DataField, Function, encode_dib
from bridge.mbus.errors import EncodeError
from bridge.mbus.values import (
    PartialDate,
    Value,
    encode_bcd,
    encode_date_f,
    encode_date_g,
    encode_date_i,
    encode_int,
    encode_real,
    encode_text,
    encode_time_j,
    scaled,
)
from bridge.mbus.vif import EXACT, Coding, Vib, decode_vib
from bridge.mbus.walk import vib_parts


def encode_record(
    vib: bytes,
    value: Value | int,
    data_field: int = DataField.INT32,
    *,
    function: Function = Function.INSTANTANEOUS,
    storage: int = 0,
    tariff: int = 0,
    subunit: int = 0,
) -> bytes:
    """A data record, the inverse of what `bridge.mbus.walk.decode_records` does with it.

    Args:
        vib: VIF and VIFEs. A plain-text VIF has its text in the place where meters have it, behind
            the VIF.
        value: in the unit without power of ten that the VIB's quantity has (Wh, m3, s); None for
            the pattern that says "no value".
        data_field: one that can hold the value; for text and bytes, VARIABLE.
        function: and the others are what the DIB shall say.

    Raises:
        EncodeError: the value does not fit, or has more digits than the VIB's power of ten lets
            the meter say.
    """
    dib = encode_dib(data_field, function, storage, tariff, subunit)
    return dib + vib + _encode_data(DataField(data_field), value, decode_vib(*vib_parts(vib)))


def _encode_data(data_field: DataField, value: Value | int, vib: Vib) -> bytes:
    length = LENGTHS[data_field]
    if data_field is DataField.VARIABLE:
        return _encode_variable(value, vib)
    if value is None:
        return _no_value(data_field, vib)
    if isinstance(value, (datetime.date, datetime.time, PartialDate)):
        data = _encode_time_point(value, length)
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        raise EncodeError(f"a text wants the data field VARIABLE, not {data_field.name}")
    elif data_field is DataField.REAL32:
        data = encode_real(_raw(value, vib))
    else:
        number = _whole(value, vib)
        if data_field >= DataField.BCD2:
            data = encode_bcd(number, length)
        else:
            data = encode_int(number, length, signed=vib.coding is Coding.SIGNED)
    if len(data) != length:
        raise EncodeError(f"{data_field.name} has {length} bytes, and the value {len(data)}")
    return data


def _encode_variable(value: Value | int, vib: Vib) -> bytes:
    if value is None:
        return b"\xe0"  # a number of no bytes
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, bytes):
        return bytes((len(value),)) + value
    if isinstance(value, (Decimal, int)):
        number = _whole(value, vib)
        signed = vib.coding is Coding.SIGNED
        length = max(1, number.bit_length() // 8 + 1)
        if length > 15:
            raise EncodeError(f"{number} does not fit in 15 bytes")
        return bytes((0xE0 + length,)) + encode_int(number, length, signed=signed)
    raise EncodeError(f"{value} has no coding of variable length")


def _encode_time_point(value: datetime.date | datetime.time | PartialDate, length: int) -> bytes:
    if isinstance(value, datetime.time):
        return encode_time_j(value)
    if length == 2 and not isinstance(value, datetime.datetime):
        return encode_date_g(value)
    if not isinstance(value, (datetime.datetime, PartialDate)):
        raise EncodeError(f"{value} is a date without a time, which wants the data field INT16")
    return encode_date_f(value) if length == 4 else encode_date_i(value)


def _no_value(data_field: DataField, vib: Vib) -> bytes:
    length = LENGTHS[data_field]
    if data_field is DataField.REAL32:
        return bytes.fromhex("0000C07F")
    if data_field < DataField.SELECTION and vib.coding is Coding.SIGNED and length:
        return bytes(length - 1) + b"\x80"
    return b"\xff" * length


def _raw(value: Decimal | int, vib: Vib) -> Decimal:
    """The number that the meter has to send; it may need to be rounded by a real."""
    number = EXACT.subtract(value, vib.offset or 0)
    return number if vib.scale is None else number / vib.scale


def _whole(value: Decimal | int, vib: Vib) -> int:
    number = int(_raw(value, vib).to_integral_value())
    if scaled(Decimal(number), vib) != value:
        step = "" if vib.scale is None else f" of {vib.scale} {vib.unit}"
        raise EncodeError(f"{value} {vib.unit} is no whole number{step}")
    return number
