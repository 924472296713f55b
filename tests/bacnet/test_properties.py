import datetime
import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bacnet.properties import (
    RELIABILITY,
    Reliability,
    Scale,
    State,
    choose_scale,
    count_state,
    date_state,
    default_cov_increment,
    double_state,
    plain_state,
    real_state,
    status_flags,
    to_real,
)
from bridge.points.reading import NEVER_READ, Fault, Reading


def good(value: Decimal) -> Reading:
    return Reading(value, 0.0, None)


def test_every_fault_has_a_reliability() -> None:
    assert set(RELIABILITY) == set(Fault)
    assert Reliability.NO_FAULT_DETECTED not in RELIABILITY.values()


def test_a_silent_meter_keeps_its_last_good_value_and_is_in_fault() -> None:
    reading = Reading(Decimal("561.08"), 0.0, Fault.NO_ANSWER)
    state = real_state(reading)
    assert state.present_value == struct.unpack(">f", bytes.fromhex("44 0c 45 1f"))[0]
    assert state.reliability is Reliability.COMMUNICATION_FAILURE


def test_what_was_never_read_has_no_value_to_show() -> None:
    assert real_state(NEVER_READ) == State(None, Reliability.COMMUNICATION_FAILURE)


def test_the_flags_follow_from_reliability_and_out_of_service() -> None:
    assert status_flags(Reliability.NO_FAULT_DETECTED) == (False, False, False, False)
    assert status_flags(Reliability.NO_SENSOR, out_of_service=True) == (False, True, False, True)


def test_16_777_217_is_the_first_count_that_a_real_cannot_say() -> None:
    assert to_real(Decimal(16_777_216)) == 16_777_216
    assert to_real(Decimal(16_777_217)) == 16_777_216
    assert to_real(Decimal("16777217.0000000000000000000001")) == 16_777_218


def test_a_decimal_is_rounded_to_real_once() -> None:
    # To a double first, this falls half-way between two singles and would go down.
    value = Decimal(1) + Decimal(2) ** -24 + Decimal(2) ** -60
    assert struct.unpack(">f", struct.pack(">f", float(value)))[0] == 1.0
    assert to_real(value) == 1.0 + 2.0**-23


@given(st.decimals(min_value="-3e38", max_value="3e38", allow_nan=False))
def test_no_other_real_is_nearer(value: Decimal) -> None:
    real = to_real(value)
    bits = struct.unpack(">i", struct.pack(">f", abs(real)))[0]
    exact = abs(Fraction(value))
    for neighbour in (bits - 1, bits + 1):
        if 0 <= neighbour < 0x7F800000:
            other = struct.unpack(">f", struct.pack(">i", neighbour))[0]
            assert abs(Fraction(abs(real)) - exact) <= abs(Fraction(other) - exact)


@pytest.mark.parametrize(
    ("value", "reliability"),
    [("3.5e38", Reliability.OVER_RANGE), ("-1e400", Reliability.UNDER_RANGE)],
)
def test_what_real_cannot_hold_is_out_of_range_and_never_infinite(
    value: str, reliability: Reliability
) -> None:
    assert real_state(good(Decimal(value))) == State(None, reliability)


def test_a_double_holds_fifteen_digits() -> None:
    assert double_state(good(Decimal("123456789.123456"))).present_value == 123456789.123456
    assert double_state(good(Decimal("1e400"))).reliability is Reliability.OVER_RANGE


@pytest.mark.parametrize(
    ("value", "resolution", "exponent"),
    [
        ("561.080", "0.001", -3),  # 0C 13: litres
        ("6", "0.001", -3),  # however round it is just now
        ("0", "1000", 3),
        ("6.0", None, -3),  # a REAL32, whose coding has no step
        ("1388888.888888888888888888889", "0.2777777777777777777777777778", -1),  # from MJ to kWh
        ("1388888.888888888888888888889", "0.0000002777777777777777777777778", -2),
        ("12345678.901", "0.001", -3),
        ("-5.25", "0.01", -2),
    ],
)
def test_an_accumulator_counts_in_the_power_of_ten_that_the_meter_s_coding_asks_for(
    value: str, resolution: str | None, exponent: int
) -> None:
    step = None if resolution is None else Decimal(resolution)
    scale = choose_scale(Decimal(value), step)
    assert scale.exponent == exponent
    grown = good(abs(Decimal(value)) * 10)
    assert count_state(grown, scale).reliability is Reliability.NO_FAULT_DETECTED


def test_an_accumulator_keeps_every_digit_of_a_full_register() -> None:
    scale = choose_scale(Decimal("123456789.012"), Decimal("0.001"))
    assert scale.exponent == -3
    assert count_state(good(Decimal("123456789.012")), scale).present_value == 123_456_789_012


def test_an_accumulator_has_32_bits_where_they_are_enough() -> None:
    scale = choose_scale(Decimal("561.080"), Decimal("0.001"))
    assert scale == Scale(-3, 4_294_967_295)
    assert count_state(good(Decimal("562.1")), scale).present_value == 562_100
    assert choose_scale(Decimal("500000.000"), Decimal("0.001")) == Scale(-3, 999_999_999_999)


def test_the_cov_increment_is_the_meter_s_step_and_a_thousandth_where_it_has_none() -> None:
    reading = Reading(Decimal("21.0"), 0.0, None, resolution=Decimal("0.1"))
    assert default_cov_increment(reading) == Decimal("0.1")
    assert default_cov_increment(good(Decimal("0.0"))) == Decimal("0.001")


@pytest.mark.parametrize(
    ("year", "reliability"),
    [
        (1, Reliability.UNDER_RANGE),
        (1899, Reliability.UNDER_RANGE),
        (1900, Reliability.NO_FAULT_DETECTED),
        (2154, Reliability.NO_FAULT_DETECTED),
        (2155, Reliability.OVER_RANGE),  # the octet would be FF, which means "unspecified"
        (2299, Reliability.OVER_RANGE),
        (9999, Reliability.OVER_RANGE),
    ],
)
def test_a_year_that_bacnet_cannot_say_is_out_of_range(year: int, reliability: Reliability) -> None:
    for value in (
        datetime.date(year, 6, 1),
        datetime.datetime(year, 6, 1, 12),
        datetime.datetime(year, 6, 1, 12, tzinfo=datetime.UTC),
    ):
        state = date_state(Reading(value, 0.0, None), type(value))
        assert state.reliability is reliability
        assert (state.present_value is None) == (reliability != Reliability.NO_FAULT_DETECTED)


def test_a_count_outside_of_an_accumulator_is_a_fault_and_no_wrap() -> None:
    scale = Scale(0, 4_294_967_295)
    assert count_state(good(Decimal(2**32)), scale) == State(None, Reliability.OVER_RANGE)
    assert count_state(good(Decimal(-1)), scale) == State(None, Reliability.UNDER_RANGE)


def test_a_value_of_another_kind_is_a_configuration_error() -> None:
    wrong = Reading("text", 0.0, None)
    assert real_state(wrong) == State(None, Reliability.CONFIGURATION_ERROR)
    moment = Reading(datetime.datetime(2026, 1, 1), 0.0, None)
    assert plain_state(moment, datetime.date).reliability is Reliability.CONFIGURATION_ERROR
    assert real_state(good(Decimal("NaN"))).reliability is Reliability.NO_SENSOR


def test_nothing_that_is_shown_is_infinite_or_not_a_number() -> None:
    for text in ("0", "1e38", "-1e38", "1e-60"):
        shown = real_state(good(Decimal(text))).present_value
        assert isinstance(shown, float)
        assert math.isfinite(shown)
