from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bridge.config import places, records, values
from bridge.config.values import format_duration, parse_duration


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (values.Interval, "15m", 900.0),
        (values.Interval, "24h", 86400.0),
        (values.Interval, "90s", 90.0),
        (values.Interval, "1d", 86400.0),
        (values.Interval, "1h30m", 5400.0),
        (values.Interval, "continuous", 0.0),
        (values.Timeout, "250ms", 0.25),
        (values.Latency, "0s", 0.0),
        (values.Window, "22:00-02:00", (time(22), time(2))),
        (values.Window, "2:00 - 24:00", (time(2), time(0))),
        (values.Number, "1e-3", Decimal("0.001")),
        (values.Number, "-.5", Decimal("-0.5")),
        (values.Instance, "4194302", 4194302),
        (places.Primary, "0", 0),
        (places.Primary, 250, 250),
        (places.Secondary, "01234567", "01234567"),
        (places.Secondary, "1234ffff-kam-1b-04", "1234FFFF-KAM-1B-04"),
        (places.Secondary, "FFFFFFFF-2C2D-FF-FF", "FFFFFFFF-2C2D-FF-FF"),
        (places.Interface, "192.168.1.10/255.255.255.0", "192.168.1.10/24"),
        (places.Interface, "127.0.0.1/8", "127.0.0.1/8"),
        (places.Bbmd, "10.1.0.5", "10.1.0.5:47808"),
        (places.Bbmd, "10.1.0.5:47809", "10.1.0.5:47809"),
        (values.TimeToLive, "300", 300),
        (values.TimeToLive, "5m", 300),
        (places.BusPort, "/dev/serial/by-id/usb-FTDI", "/dev/serial/by-id/usb-FTDI"),
        (places.BusPort, "rfc2217://[::1]:2217", "rfc2217://[::1]:2217"),
        (records.Dif, "8C10", b"\x8c\x10"),
        (records.Vif, "fd 1b", b"\xfd\x1b"),
        (values.Name, "Wärme-1", "Wärme-1"),
        (values.Name, "Wa\u0308rme-1", "Wärme-1"),
        (records.Modifiers, ["backward"], ("backward",)),
    ],
)
def test_what_is_right_is_read(kind: Any, text: object, value: object) -> None:
    assert read(kind, text) == value
    # What was read can be read again: models are made from values, too.
    assert read(kind, value) == value


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (values.Interval, "15", "write 15s for seconds or 15m for minutes"),
        (values.Interval, "5 minutes", "write 5m"),
        (values.Interval, "15M", "write 15m"),
        (values.Interval, "soon", "like 90s, 15m, 24h or 1d, or the word continuous"),
        (values.Interval, "0s", "choose 1s to 366d (or write continuous)"),
        (values.Interval, "2000d", "too long"),
        (values.Timeout, "continuous", "like 90s"),
        (values.Window, "02:00", '"02:00-04:00"'),
        (values.Window, "25:00-26:00", "no clock"),
        (values.Window, "02:00-02:00", "begins when it ends"),
        (values.Number, "0,1", "write a point: 0.1"),
        (values.Number, "nan", "no number"),
        (values.Number, "1e99", "too large"),
        (values.Number, "1_000", "no number"),
        (values.Scale, "0.0", "would make every value 0"),
        (values.Increment, "-1", "is negative"),
        (values.Instance, "4194303", "0 to 4194302"),
        (values.Instance, "0260001", "write 260001"),
        (values.Instance, "1.0", "no whole number"),
        (values.Instance, True, "a bool stands where a whole number belongs"),
        (values.Baudrate, "115200", "19200 or 38400"),
        (places.Primary, "12345678", "write secondary: 12345678"),
        (places.Primary, "253", "selected by its secondary address"),
        (places.Primary, "254", "every meter answers"),
        (places.Primary, "255", "no meter answers"),
        (places.Secondary, "1234567", "01234567"),
        (places.Secondary, "12345678-KAM", "12345678-KAM-1B-04 in full"),
        (places.Interface, "192.168.1.10", "192.168.1.10/24"),
        (places.Interface, "192.168.1.255/24", "broadcast"),
        (places.Interface, "255.255.255.255/24", "broadcast"),
        (places.Interface, "192.168.1.0/24", "names the whole subnet"),
        (places.Interface, "0.0.0.0/8", "names the whole subnet"),
        (places.Interface, "192.168.1.10/32", "no room for a broadcast"),
        (places.Interface, "224.0.0.5/24", "multicast"),
        (places.Interface, "fe80::1/64", "IPv4"),
        (places.Interface, "bridge.local/24", "no IPv4 address"),
        (places.Bbmd, "bbmd.local", "10.1.0.5"),
        (places.Bbmd, "10.1.0.5:99999", "65535"),
        (places.BusPort, "ttyUSB0", "write /dev/ttyUSB0"),
        (places.BusPort, "10.0.0.7:10001", "write tcp://10.0.0.7:10001"),
        (places.BusPort, "tcp://10.0.0.7", "write tcp://10.0.0.7:10001"),
        (places.BusPort, "tcp://10.0.0.7:0", "no TCP port"),
        (places.BusPort, "udp://10.0.0.7:1", "rfc2217://host:port"),
        (records.Dif, "0x04", "two hex digits a byte"),
        (records.Dif, "8C" + "80" * 11, "at most 11"),
        (values.Name, "main water", "main-water"),
        (values.Name, "a/b.c", "a-b-c"),
        (values.Name, "..", "letters, digits"),
        (values.Name, "-x", "begin and end"),
        (values.Name, "x" * 49, "keep it to 48"),
        (values.DeviceName, "", "the name is empty"),
        (values.Text, "a\x1bb", "U+001B"),
        (values.Text, "x" * 256, "keep it to 255"),
        (values.Text, ["x"], "a list stands where a text belongs"),
        (values.Text, {"x": "y"}, "a group of keys stands where a text belongs"),
        (records.Modifiers, "backward", "write [backward]"),
        (values.ObjectWord, "accumulater", "did you mean accumulator?"),
        (values.UnitWord, "kWh", "write kilowatt-hours"),
        (values.UnitWord, "cubic-metres", "write cubic-meters"),
        (values.UnitWord, "furlongs", "schema lists them"),
        (values.QuantityWord, "volumeflow", "did you mean volume-flow?"),
        (values.ParityWord, "odd", "choose even or none"),
        (places.Variable, "GAS-17", "letters, digits and _"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(kind: Any, text: object, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(kind, text)
    (error,) = caught.value.errors()
    assert error["type"] == "configuration"
    assert says in error["msg"]


@given(st.integers(min_value=1, max_value=10**10).map(lambda n: n / 1000))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


def test_round_durations_are_written_short() -> None:
    written = [format_duration(s) for s in (0.25, 90.0, 900.0, 3600.0, 86400.0, 5400.0)]
    assert written == ["250ms", "90s", "15m", "1h", "1d", "90m"]
