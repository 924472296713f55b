"""Compact profiles: the examples of EN 13757-3, annex F, and an independent encoder."""

from __future__ import annotations

import calendar
import datetime
import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.frame import LongFrame
from bridge.mbus.profile import Profile, add_half_months, add_months, unfold
from bridge.mbus.telegram import decode_telegram
from bridge.mbus.walk import decode_records

TIME = "84 04 6D 00 20 41 11"  # storage number 8: 2010-01-01 00:00
DATE = "82 04 6C 3F 3C"  # storage number 8: 2025-12-31
BASE = "8B 04 15 00 30 12"  # storage number 8: 12300.0 m3


def profiles(*records: str) -> tuple[Profile, ...]:
    found = decode_records(bytes.fromhex("".join(records)))
    assert found.errors == ()
    return unfold(found.records)


def profile(*records: str) -> Profile:
    (only,) = profiles(*records)
    return only


def series(unfolded: Profile) -> list[tuple[str | None, str | None]]:
    return [
        (
            None if entry.time is None else str(entry.time),
            None if entry.value is None else str(entry.value),
        )
        for entry in unfolded.entries
    ]


def test_the_profile_of_the_standard_goes_on_from_its_base_value() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 1F 05 69 01 03 02 11")
    assert series(unfolded) == [
        ("2010-01-01 00:00:00", "12300.0"),
        ("2010-01-01 01:00:00", "12300.3"),
        ("2010-01-01 02:00:00", "12300.5"),
        ("2010-01-01 03:00:00", "12301.6"),
    ]
    assert unfolded.problems == ()
    assert unfolded.base is not None
    assert (unfolded.record.key, unfolded.base.key) == ("8D04951F", "8B0415")


def test_the_inverse_profile_of_the_standard_goes_back_in_time() -> None:
    unfolded = profile("84 04 6D 00 23 41 11", "8B 04 15 16 30 12", "8D 04 95 13 05 69 01 11 02 03")
    assert series(unfolded) == [
        ("2010-01-01 03:00:00", "12301.6"),
        ("2010-01-01 02:00:00", "12300.5"),
        ("2010-01-01 01:00:00", "12300.3"),
        ("2010-01-01 00:00:00", "12300.0"),
    ]


def test_months_go_from_last_day_to_last_day() -> None:
    data = bytes.fromhex(
        "45331820 7452 0A 07 12 00 0000 0C1356341200 82046C3F3C 8C041300001000"
        "8D04931F 08 72FE F302 A701 D100"
    )
    decoded = decode_telegram(LongFrame(8, 7, 0x72, data))
    (unfolded,) = decoded.profiles
    assert series(unfolded) == [
        ("2025-12-31", "100.000"),
        ("2026-01-31", "100.755"),
        ("2026-02-28", "101.178"),
        ("2026-03-31", "101.387"),
    ]


PLAIN = ("8B 04 15 00 30 12", "9B 04 15 00 30 12", "8B 14 15 00 30 12", "8B 04 93 3C 00 30 12")
PROFILED = ("8D 04 95 1F 03 69 01 03", "8D 04 95 13 03 69 01 03", "8D 14 95 1F 03 69 01 03")


@given(st.lists(st.sampled_from(PLAIN + PROFILED), max_size=12))
def test_a_base_value_is_the_nearest_one_before_or_else_the_first_behind(lines: list[str]) -> None:
    records = decode_records(bytes.fromhex("".join(lines))).records
    for unfolded in unfold(records):
        place = next(n for n, record in enumerate(records) if record is unfolded.record)
        wanted = b"\x8b" + unfolded.record.dib[1:], b"\x15"
        ordered = [*reversed(records[:place]), *records[place:]]
        fitting = (record for record in ordered if (record.dib, record.vib) == wanted)
        assert unfolded.base is next(fitting, None)


def test_records_without_a_profile_have_none() -> None:
    assert profiles(TIME, BASE, "0D 78 03 41 42 43") == ()
    assert decode_telegram(LongFrame(8, 1, 0x78, bytes.fromhex("01 13 07"))).profiles == ()


@pytest.mark.parametrize(
    ("control", "elements", "values"),
    [
        ("21", "01 FF 80", ["0.1", "-0.1", None]),  # absolute: int8, the lowest is no value
        ("22", "01 00 FE FF", ["0.1", "-0.2"]),  # int16
        ("2A", "34 12 01 F0", ["123.4", "-0.1"]),  # BCD with a sign
        ("25", "00 00 20 41", ["1.0"]),  # a real: 10 times 0.1
        ("61", "01 FE", ["12300.1", "12325.5"]),  # positive increments have no sign
        ("A1", "01 FE", ["12299.9", "12274.5"]),  # negative ones
        ("E1", "01 FE", ["12300.1", "12299.9"]),  # differences with a sign
        ("63", "01 00 00", ["12300.1"]),
        ("64", "01 00 00 00", ["12300.1"]),
        ("66", "01 00 00 00 00 00", ["12300.1"]),
        ("67", "01 00 00 00 00 00 00 00", ["12300.1"]),
        ("6E", "01 00 00 00 00 00", ["12300.1"]),
    ],
)
def test_an_element_is_a_value_or_an_increment(
    control: str, elements: str, values: list[str | None]
) -> None:
    payload = bytes.fromhex(control + "01" + elements)
    unfolded = profile(TIME, BASE, f"8D 04 95 1F {len(payload):02X}", payload.hex())
    assert [value for _, value in series(unfolded)] == ["12300.0", *values]
    assert unfolded.problems == ()


@pytest.mark.parametrize(
    ("control", "spacing", "first", "second"),
    [
        ("41", 10, "2010-01-01 00:00:10", "2010-01-01 00:00:20"),
        ("51", 15, "2010-01-01 00:15:00", "2010-01-01 00:30:00"),
        ("61", 250, "2010-01-11 10:00:00", "2010-01-21 20:00:00"),
        ("71", 1, "2010-01-02 00:00:00", "2010-01-03 00:00:00"),
        ("71", 7, "2010-01-08 00:00:00", "2010-01-15 00:00:00"),
        ("71", 253, "2010-01-16 00:00:00", "2010-02-01 00:00:00"),
        ("71", 254, "2010-02-01 00:00:00", "2010-03-01 00:00:00"),
        ("61", 254, "2010-04-01 00:00:00", "2010-07-01 00:00:00"),
        ("51", 254, "2010-07-01 00:00:00", "2011-01-01 00:00:00"),
    ],
)
def test_the_spacing_has_a_unit(control: str, spacing: int, first: str, second: str) -> None:
    unfolded = profile(TIME, BASE, f"8D 04 95 1F 04 {control} {spacing:02X} 01 01")
    assert [time for time, _ in series(unfolded)] == ["2010-01-01 00:00:00", first, second]
    assert unfolded.problems == ()


@pytest.mark.parametrize(
    ("control", "spacing"),
    [("71", 251), ("71", 252), ("71", 255), ("61", 253), ("51", 253), ("41", 254), ("41", 255)],
)
def test_a_reserved_spacing_gives_values_without_times(control: str, spacing: int) -> None:
    unfolded = profile(TIME, BASE, f"8D 04 95 1F 03 {control} {spacing:02X} 01")
    assert series(unfolded) == [(None, "12300.0"), (None, "12300.1")]
    assert unfolded.problems == (f"reserved spacing {spacing} with unit {int(control[0], 16) & 3}",)


def test_a_spacing_of_zero_is_an_array_without_times() -> None:
    unfolded = profile("8D 04 95 1F 04 01 00 05 06")
    assert series(unfolded) == [(None, "0.5"), (None, "0.6")]
    assert unfolded.problems == ()


def test_a_profile_with_register_numbers_counts_them_from_its_storage_number() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 1E 04 61 01 01 01")
    assert [entry.register for entry in unfolded.entries] == [8, 9, 10]
    unfolded = profile("8D 04 95 1E 04 21 00 01 01")
    assert [entry.register for entry in unfolded.entries] == [9, 10]
    assert {entry.register for entry in profile("8D 04 95 1F 03 21 00 01").entries} == {None}


def test_an_absolute_element_without_a_value_is_a_gap() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 1F 05 21 01 01 80 03")
    assert [value for _, value in series(unfolded)] == ["12300.0", "0.1", None, "0.3"]
    assert unfolded.entries[2].invalid == "lowest integer"


def test_behind_an_unknown_increment_nothing_can_be_known() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 1F 06 61 01 01 FF 03 04")
    assert series(unfolded) == [
        ("2010-01-01 00:00:00", "12300.0"),
        ("2010-01-01 01:00:00", "12300.1"),
        ("2010-01-01 02:00:00", None),
        ("2010-01-01 03:00:00", None),
        ("2010-01-01 04:00:00", None),
    ]
    assert [entry.invalid for entry in unfolded.entries] == [
        None,
        None,
        "all ones",
        "after an increment that is not known",
        "after an increment that is not known",
    ]


def test_a_positive_increment_below_zero_is_none() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 1F 04 6A 01 01 F0")
    assert unfolded.entries[1].invalid == "BCD F001"
    assert unfolded.entries[1].value is None


def test_increments_without_a_base_value_are_no_values() -> None:
    unfolded = profile(TIME, "8D 04 95 1F 04 61 01 01 01")
    assert series(unfolded) == [
        ("2010-01-01 01:00:00", None),
        ("2010-01-01 02:00:00", None),
    ]
    assert {entry.invalid for entry in unfolded.entries} == {"no base value"}
    assert unfolded.problems == ("no base value",)


def test_increments_to_a_base_that_is_invalid_are_no_values() -> None:
    unfolded = profile(TIME, "8B 04 15 0A 30 12", "8D 04 95 1F 04 61 01 01 01")
    assert [entry.value for entry in unfolded.entries] == [None, None, None]
    assert unfolded.entries[0].invalid == "BCD 12300A"
    assert unfolded.entries[1].invalid == "the base value is no number"


def test_absolute_values_need_a_time_only() -> None:
    unfolded = profile(TIME, "8D 04 95 1F 04 21 01 01 02")
    assert series(unfolded) == [
        ("2010-01-01 01:00:00", "0.1"),
        ("2010-01-01 02:00:00", "0.2"),
    ]
    assert unfolded.problems == ()


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ("", "no time of storage number 8"),
        ("44 6D 00 20 41 11", "no time of storage number 8"),  # of storage number 1
        ("84 04 6D 80 20 41 11", "the time of storage number 8 is no point in time"),  # IV
        ("82 04 6C E0 F1", "the time of storage number 8 is no point in time"),  # every year
        (DATE, "2025-12-31 has no time of day, and the values are hours apart"),
    ],
)
def test_without_a_time_the_values_have_none(time: str, problem: str) -> None:
    unfolded = profile(time, BASE, "8D 04 95 1F 04 61 01 01 01")
    assert series(unfolded) == [(None, "12300.0"), (None, "12300.1"), (None, "12300.2")]
    assert unfolded.problems == (problem,)


@pytest.mark.parametrize(
    "base",
    [
        "4B 15 00 30 12",  # another storage number
        "8B 14 15 00 30 12",  # another tariff
        "8B 44 15 00 30 12",  # another subunit
        "9B 04 15 00 30 12",  # a maximum
        "8B 04 06 00 30 12",  # another quantity
        "8B 04 95 3B 00 30 12",  # forward flow only
    ],
)
def test_the_base_value_has_everything_in_common_with_its_profile(base: str) -> None:
    assert profile(TIME, base, "8D 04 95 1F 03 61 01 01").base is None


def test_a_base_value_may_have_another_power_of_ten() -> None:
    unfolded = profile(TIME, "8C 04 13 00 00 10 00", "8D 04 95 1F 03 61 01 01")
    assert [str(entry.value) for entry in unfolded.entries] == ["100.000", "100.100"]


def test_other_vifes_of_a_profile_are_those_of_its_base_value() -> None:
    unfolded = profile(TIME, "8B 04 95 3B 00 30 12", "8D 04 95 BB 1F 03 61 01 01")
    assert [str(entry.value) for entry in unfolded.entries] == ["12300.0", "12300.1"]


def test_base_value_and_time_may_be_in_an_earlier_telegram_or_behind() -> None:
    record = "8D 04 95 1F 03 61 01 01"
    earlier = decode_records(bytes.fromhex(TIME + BASE + "1F")).records
    later = decode_records(bytes.fromhex(record)).records
    (unfolded,) = unfold([*earlier, *later])
    (behind,) = unfold([*later, *earlier])
    assert series(unfolded) == series(behind)
    assert series(unfolded)[1] == ("2010-01-01 01:00:00", "12300.1")


def test_each_profile_has_the_base_value_before_it() -> None:
    other = "8B 04 15 00 00 00"
    first, second = profiles(
        *(TIME, BASE, "8D 04 95 1F 03 61 01 01", other, "8D 04 95 1F 03 61 01 02")
    )
    assert [value for _, value in series(first)] == ["12300.0", "12300.1"]
    assert [value for _, value in series(second)] == ["0.0", "0.2"]


@pytest.mark.parametrize(
    ("payload", "problem", "count"),
    [
        ("62 01 01 00 02", "1 bytes behind 1 elements", 2),
        ("62", "it ends before its spacing", 0),
        ("", "it ends before its spacing", 0),
        ("60 01 01", "elements of data field 0", 0),
        ("68 01 01", "elements of data field 8", 0),
        ("6D 01 01", "elements of data field D", 0),
        ("6F 01 01", "elements of data field F", 0),
    ],
)
def test_what_is_wrong_with_a_profile_is_told(payload: str, problem: str, count: int) -> None:
    data = bytes.fromhex(payload)
    unfolded = profile(TIME, BASE, f"8D 04 95 1F {len(data):02X}", payload)
    assert unfolded.problems == (problem,)
    assert len(unfolded.entries) == count


def test_a_profile_in_place_of_which_the_meter_reports_an_error_has_no_values() -> None:
    unfolded = profile(TIME, BASE, "8D 04 95 9F 15 00")
    assert unfolded.entries == ()
    assert unfolded.problems == ("no data available",)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2025-12-31", 1, "2026-01-31"),
        ("2025-12-31", 2, "2026-02-28"),
        ("2026-02-28", 1, "2026-03-31"),
        ("2024-02-28", 1, "2024-03-28"),
        ("2026-01-30", 1, "2026-02-28"),
        ("2026-01-15", -1, "2025-12-15"),
        ("2026-01-31", -11, "2025-02-28"),
    ],
)
def test_months_are_those_of_the_calendar(start: str, months: int, end: str) -> None:
    moved = add_months(datetime.date.fromisoformat(start), months)
    assert moved.isoformat() == end


@pytest.mark.parametrize(
    ("start", "days"),
    [
        ("2026-01-01", ["2026-01-16", "2026-02-01", "2026-02-16"]),
        ("2026-01-15", ["2026-01-31", "2026-02-15", "2026-02-28"]),
        ("2026-01-31", ["2026-02-15", "2026-02-28", "2026-03-15"]),
        ("2026-02-16", ["2026-03-01", "2026-03-16", "2026-04-01"]),
        ("2026-01-14", ["2026-01-29", "2026-02-14", "2026-02-28"]),
    ],
)
def test_half_months_are_the_first_and_the_second_half(start: str, days: list[str]) -> None:
    first = datetime.date.fromisoformat(start)
    moved = [add_half_months(first, n).isoformat() for n in range(4)]
    assert moved == [start, *days]
    if start != "2026-01-14":  # the others come back where they began
        last = datetime.date.fromisoformat(days[-1])
        assert [add_half_months(last, -n).isoformat() for n in range(4)] == [
            *reversed(days),
            start,
        ]


def encoded(values: list[int], mode: int, *, inverse: bool) -> bytes:
    """A profile of int32 elements: what a meter would send for these values, the base first."""
    steps = [later - earlier for earlier, later in itertools.pairwise(values)]
    if inverse:
        steps = [-step for step in steps]
    if mode == 0:
        steps = values[1:]
    elif mode == 2:
        steps = [-step for step in steps]
    return b"".join(
        step.to_bytes(4, "little", signed=mode in (0, 3)) if mode in (0, 3) or step >= 0 else b""
        for step in steps
    )


@given(
    st.lists(st.integers(-(10**8), 10**8), min_size=2, max_size=20),
    st.integers(0, 3),
    st.booleans(),
    st.integers(1, 250),
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2080, 1, 1)),
)
def test_every_series_that_was_folded_comes_back(
    values: list[int], mode: int, inverse: bool, hours: int, start: datetime.datetime
) -> None:
    falling = mode == 2
    if mode in (1, 2):
        values = sorted(values, reverse=falling != inverse)
    start = start.replace(second=0, microsecond=0)
    year = start.year - 2000
    clock = bytes(
        (
            start.minute,
            start.hour,
            start.day | (year & 7) << 5,
            start.month | year >> 3 << 4,
        )
    )
    payload = bytes((mode << 6 | 0x24, hours)) + encoded(values, mode, inverse=inverse)
    data = bytes.fromhex("84 04 6D") + clock
    data += bytes.fromhex("84 04 13") + values[0].to_bytes(4, "little", signed=True)
    data += bytes.fromhex("8D 04 93") + (b"\x13" if inverse else b"\x1f")
    data += bytes((len(payload),)) + payload
    (unfolded,) = unfold(decode_records(data).records)
    step = datetime.timedelta(hours=-hours if inverse else hours)
    assert [(entry.time, entry.value) for entry in unfolded.entries] == [
        (start + n * step, Decimal(value) / 1000) for n, value in enumerate(values)
    ]


@given(st.binary(max_size=60), st.sampled_from(["1F", "13", "1E"]))
def test_random_profiles_are_unfolded_or_refused_and_nothing_worse(
    payload: bytes, vife: str
) -> None:
    unfolded = profile(TIME, BASE, f"8D 04 95 {vife} {len(payload):02X}", payload.hex())
    for entry in unfolded.entries:
        assert (entry.value is None) == (entry.invalid is not None)


@given(st.dates(datetime.date(1981, 1, 1), datetime.date(2299, 12, 31)), st.integers(-600, 600))
def test_a_month_is_a_month(start: datetime.date, months: int) -> None:
    moved = add_months(start, months)
    assert (moved.year * 12 + moved.month) - (start.year * 12 + start.month) == months
    last = calendar.monthrange(moved.year, moved.month)[1]
    assert moved.day in (start.day, last)
