"""Every row of every VIF table, as examples: the record bytes and what they must say."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.mbus.vif import FB, FD, FD_FD, PRIMARY, Coding, Row, decode_vib, split_vib, spread
from bridge.mbus.walk import decode_records
from bridge.units import Quantity, Unit

# VIB, what a raw 1 is, unit, quantity. First and last code of each row of the standard's table.
PRIMARY_EXAMPLES = [
    ("00", "0.001", "Wh", "energy"),
    ("06", "1000", "Wh", "energy"),
    ("07", "10000", "Wh", "energy"),
    ("08", "1", "J", "energy"),
    ("0F", "10000000", "J", "energy"),
    ("10", "0.000001", "m3", "volume"),
    ("16", "1", "m3", "volume"),
    ("17", "10", "m3", "volume"),
    ("18", "0.001", "kg", "mass"),
    ("1F", "10000", "kg", "mass"),
    ("20", "1", "s", "on-time"),
    ("21", "60", "s", "on-time"),
    ("22", "3600", "s", "on-time"),
    ("23", "86400", "s", "on-time"),
    ("24", "1", "s", "operating-time"),
    ("27", "86400", "s", "operating-time"),
    ("28", "0.001", "W", "power"),
    ("2F", "10000", "W", "power"),
    ("30", "1", "J/h", "power"),
    ("37", "10000000", "J/h", "power"),
    ("38", "0.000001", "m3/h", "volume-flow"),
    ("3F", "10", "m3/h", "volume-flow"),
    ("40", "0.000006", "m3/h", "volume-flow"),  # 0.1 ml/min
    ("47", "60", "m3/h", "volume-flow"),  # 1 m3/min
    ("48", "0.0000036", "m3/h", "volume-flow"),  # 1 mm3/s
    ("4F", "36", "m3/h", "volume-flow"),  # 0.01 m3/s
    ("50", "0.001", "kg/h", "mass-flow"),
    ("57", "10000", "kg/h", "mass-flow"),
    ("58", "0.001", "Cel", "flow-temperature"),
    ("5B", "1", "Cel", "flow-temperature"),
    ("5C", "0.001", "Cel", "return-temperature"),
    ("5F", "1", "Cel", "return-temperature"),
    ("60", "0.001", "K", "temperature-difference"),
    ("63", "1", "K", "temperature-difference"),
    ("64", "0.001", "Cel", "external-temperature"),
    ("67", "1", "Cel", "external-temperature"),
    ("68", "0.001", "bar", "pressure"),
    ("6B", "1", "bar", "pressure"),
    ("6E", "1", "HCA", "heat-cost-allocation"),
    ("70", "1", "s", "averaging-duration"),
    ("73", "86400", "s", "averaging-duration"),
    ("74", "1", "s", "actuality-duration"),
    ("77", "86400", "s", "actuality-duration"),
    ("78", "1", "", "fabrication-number"),
    ("79", "1", "", "identification"),
    ("7A", "1", "", "bus-address"),
    ("7E", "1", "", "any"),
    ("7F", "1", "", "manufacturer-specific"),
]
FD_EXAMPLES = [
    ("FD 00", "0.001", "currency", "credit"),
    ("FD 07", "1", "currency", "debit"),
    ("FD 08", "1", "", "access-number"),
    ("FD 09", "1", "", "device-type"),
    ("FD 0A", "1", "", "manufacturer"),
    ("FD 0B", "1", "", "parameter-set"),
    ("FD 0C", "1", "", "model-version"),
    ("FD 0D", "1", "", "hardware-version"),
    ("FD 0E", "1", "", "firmware-version"),
    ("FD 0F", "1", "", "software-version"),
    ("FD 10", "1", "", "customer-location"),
    ("FD 11", "1", "", "customer"),
    ("FD 12", "1", "", "access-code-user"),
    ("FD 13", "1", "", "access-code-operator"),
    ("FD 14", "1", "", "access-code-system-operator"),
    ("FD 15", "1", "", "access-code-developer"),
    ("FD 16", "1", "", "password"),
    ("FD 17", "1", "", "error-flags"),
    ("FD 18", "1", "", "error-mask"),
    ("FD 1A", "1", "", "digital-output"),
    ("FD 1B", "1", "", "digital-input"),
    ("FD 1C", "1", "Bd", "baudrate"),
    ("FD 1D", "1", "bit", "response-delay"),
    ("FD 1E", "1", "", "retry"),
    ("FD 1F", "1", "", "remote-control"),
    ("FD 20", "1", "", "first-storage-number"),
    ("FD 21", "1", "", "last-storage-number"),
    ("FD 22", "1", "", "storage-block-size"),
    ("FD 23", "1", "", "tariff-descriptor"),
    ("FD 24", "1", "s", "storage-interval"),
    ("FD 27", "86400", "s", "storage-interval"),
    ("FD 28", "1", "month", "storage-interval"),
    ("FD 29", "1", "year", "storage-interval"),
    ("FD 2A", "1", "", "operator-data"),
    ("FD 2B", "1", "s", "time-point-second"),
    ("FD 2C", "1", "s", "duration-since-readout"),
    ("FD 2F", "86400", "s", "duration-since-readout"),
    ("FD 31", "60", "s", "tariff-duration"),
    ("FD 33", "86400", "s", "tariff-duration"),
    ("FD 34", "1", "s", "tariff-period"),
    ("FD 37", "86400", "s", "tariff-period"),
    ("FD 38", "1", "month", "tariff-period"),
    ("FD 39", "1", "year", "tariff-period"),
    ("FD 3A", "1", "", "dimensionless"),
    ("FD 3C", "1", "s", "transmission-period"),
    ("FD 3F", "86400", "s", "transmission-period"),
    ("FD 40", "0.000000001", "V", "voltage"),
    ("FD 48", "0.1", "V", "voltage"),
    ("FD 49", "1", "V", "voltage"),
    ("FD 4F", "1000000", "V", "voltage"),
    ("FD 50", "0.000000000001", "A", "current"),
    ("FD 59", "0.001", "A", "current"),
    ("FD 5C", "1", "A", "current"),
    ("FD 5F", "1000", "A", "current"),
    ("FD 60", "1", "", "reset-counter"),
    ("FD 61", "1", "", "cumulation-counter"),
    ("FD 62", "1", "", "control-signal"),
    ("FD 63", "1", "", "day-of-week"),
    ("FD 64", "1", "", "week-number"),
    ("FD 65", "1", "", "day-change-time"),
    ("FD 66", "1", "", "parameter-activation"),
    ("FD 67", "1", "", "supplier-information"),
    ("FD 68", "3600", "s", "duration-since-cumulation"),
    ("FD 69", "86400", "s", "duration-since-cumulation"),
    ("FD 6A", "1", "month", "duration-since-cumulation"),
    ("FD 6B", "1", "year", "duration-since-cumulation"),
    ("FD 6C", "3600", "s", "battery-operating-time"),
    ("FD 6E", "1", "month", "battery-operating-time"),
    ("FD 6F", "1", "year", "battery-operating-time"),
    ("FD 71", "1", "dBm", "rf-level"),
    ("FD 74", "86400", "s", "remaining-battery-life"),
    ("FD 75", "1", "", "stop-counter"),
    ("FD FD 00", "1", "", "selected-application"),
    ("FD FD 02", "1", "month", "remaining-battery-life"),
    ("FD FD 03", "1", "year", "remaining-battery-life"),
    ("FD FD 3E", "1", "%", "moisture"),
]
FB_EXAMPLES = [
    ("FB 00", "100000", "Wh", "energy"),
    ("FB 01", "1000000", "Wh", "energy"),
    ("FB 02", "1", "kvarh", "reactive-energy"),
    ("FB 03", "10", "kvarh", "reactive-energy"),
    ("FB 04", "1", "kVAh", "apparent-energy"),
    ("FB 05", "10", "kVAh", "apparent-energy"),
    ("FB 06", "0.1", "", "coefficient-of-performance"),
    ("FB 08", "100000000", "J", "energy"),
    ("FB 09", "1000000000", "J", "energy"),
    ("FB 0C", "100000", "cal", "energy"),
    ("FB 0F", "100000000", "cal", "energy"),
    ("FB 10", "100", "m3", "volume"),
    ("FB 11", "1000", "m3", "volume"),
    ("FB 14", "0.001", "kvar", "reactive-power"),
    ("FB 17", "1", "kvar", "reactive-power"),
    ("FB 18", "100000", "kg", "mass"),
    ("FB 19", "1000000", "kg", "mass"),
    ("FB 1A", "0.1", "%RH", "relative-humidity"),
    ("FB 1B", "1", "%RH", "relative-humidity"),
    ("FB 20", "1", "ft3", "volume"),
    ("FB 21", "0.1", "ft3", "volume"),
    ("FB 22", "0.1", "gal", "volume"),
    ("FB 23", "1", "gal", "volume"),
    ("FB 24", "0.001", "gal/min", "volume-flow"),
    ("FB 25", "1", "gal/min", "volume-flow"),
    ("FB 26", "1", "gal/h", "volume-flow"),
    ("FB 28", "100000", "W", "power"),
    ("FB 29", "1000000", "W", "power"),
    ("FB 2A", "0.1", "deg", "phase-voltage-voltage"),
    ("FB 2B", "0.1", "deg", "phase-voltage-current"),
    ("FB 2C", "0.001", "Hz", "frequency"),
    ("FB 2F", "1", "Hz", "frequency"),
    ("FB 30", "100000000", "J/h", "power"),
    ("FB 31", "1000000000", "J/h", "power"),
    ("FB 34", "0.001", "kVA", "apparent-power"),
    ("FB 37", "1", "kVA", "apparent-power"),
    ("FB 58", "0.001", "degF", "flow-temperature"),
    ("FB 5F", "1", "degF", "return-temperature"),
    ("FB 60", "0.001", "deltaF", "temperature-difference"),
    ("FB 67", "1", "degF", "external-temperature"),
    ("FB 68", "0.000244140625", "", "rating-factor"),
    ("FB 69", "1", "W", "output-rating-factor"),
    ("FB 6A", "0.000244140625", "", "coupling-factor"),
    ("FB 6B", "0.000244140625", "", "coupling-factor-room"),
    ("FB 6C", "0.000244140625", "", "coupling-factor-heater"),
    ("FB 6D", "0.000244140625", "", "low-temperature-factor"),
    ("FB 6E", "0.000244140625", "", "display-scaling-factor"),
    ("FB 70", "0.001", "degF", "temperature-limit"),
    ("FB 74", "0.001", "Cel", "temperature-limit"),
    ("FB 77", "1", "Cel", "temperature-limit"),
    ("FB 78", "0.001", "W", "cumulative-maximum-power"),
    ("FB 7F", "10000", "W", "cumulative-maximum-power"),
]
EXAMPLES = PRIMARY_EXAMPLES + FD_EXAMPLES + FB_EXAMPLES


@pytest.mark.parametrize(("vib", "one", "unit", "quantity"), EXAMPLES)
def test_a_raw_one_is_what_the_standard_says(vib: str, one: str, unit: str, quantity: str) -> None:
    (record,) = decode_records(bytes.fromhex("04" + vib + "01 00 00 00")).records
    assert (record.quantity, record.unit, record.invalid) == (quantity, unit, None)
    assert isinstance(record.value, Decimal)
    assert format(record.value, "f") == one


# Codings that make no number of the bytes 01 00 00 00; each has tests of its own.
_NO_NUMBERS = (Coding.RAW, Coding.DATE, Coding.TIME_POINT)


@pytest.mark.parametrize(
    ("prefix", "rows"), [("", PRIMARY), ("FD", FD), ("FD FD", FD_FD), ("FB", FB)]
)
def test_every_row_has_an_example(prefix: str, rows: tuple[Row, ...]) -> None:
    start = bytes.fromhex(prefix)
    codes = {bytes.fromhex(vib)[-1] for vib, *_ in EXAMPLES if bytes.fromhex(vib)[:-1] == start}
    missing = [
        f"{row.first:02X} {row.quantity}"
        for row in rows
        if row.coding not in _NO_NUMBERS
        and row.unit is not Unit.SECOND
        and row.quantity is not Quantity.USER_DEFINED
        and not codes & set(range(row.first, row.first + (1 << row.bits)))
    ]
    assert missing == []


@pytest.mark.parametrize("vif", ["7B", "7D", "6F", "FB 07", "FB 38", "FD 7E", "FD FD 7F", "EF 12"])
def test_a_code_that_no_table_has_keeps_its_number(vif: str) -> None:
    (record,) = decode_records(bytes.fromhex("02" + vif + "2E 01")).records
    assert (record.quantity, record.unit) == (Quantity.UNKNOWN, Unit.NONE)
    assert record.value == 302


@pytest.mark.parametrize(
    ("vib", "vif", "vifes"),
    [
        ("13", "13", ""),
        ("93 BC 01", "93", "BC 01"),
        ("FD 48", "FD 48", ""),
        ("FD C8 FC 01", "FD C8", "FC 01"),
        ("FB 8D 3C", "FB 8D", "3C"),
        ("EF 92 3C", "EF 92", "3C"),
        ("FD FD 3E", "FD FD 3E", ""),
        ("FD FD BE FD 01", "FD FD BE", "FD 01"),
        ("FB FD 01", "FB FD", "01"),  # there is no second level but that of FD
        ("FF 81 00", "FF", "81 00"),
    ],
)
def test_a_vib_comes_apart_into_vif_and_vifes(vib: str, vif: str, vifes: str) -> None:
    assert split_vib(bytes.fromhex(vib)) == (bytes.fromhex(vif), bytes.fromhex(vifes))


def test_a_table_that_contradicts_itself_is_refused() -> None:
    rows = (Row(0x10, 3, Quantity.VOLUME), Row(0x17, 0, Quantity.MASS))
    with pytest.raises(ValueError, match="0x17 stands in two rows"):
        spread(rows)
    with pytest.raises(ValueError, match="0x80 does not fit"):
        spread([Row(0x7F, 1, Quantity.VOLUME)])


def test_the_scale_of_a_positive_exponent_has_zeros_and_no_exponent() -> None:
    assert str(decode_vib(b"\x07").scale) == "10000"
    assert decode_vib(b"\x03").scale is None
