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
    double_state,
    plain_state,
    real_state,
    resolution,
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


def test_an_accumulator_counts_in_steps_of_the_meter_s_last_digit() -> None:
    scale = choose_scale(Decimal("561.080"))
    assert scale == Scale(-3, 4_294_967_295)
    assert count_state(good(Decimal("561.080")), scale).present_value == 561_080
    assert count_state(good(Decimal("562.1")), scale).present_value == 562_100


def test_a_wide_counter_has_a_wide_accumulator() -> None:
    assert choose_scale(Decimal("123456789.012")).maximum == 999_999_999_999


def test_digits_that_only_a_conversion_made_do_not_set_the_scale() -> None:
    value = Decimal("0.2777777777777777777777777778")
    assert choose_scale(value).exponent == -6
    assert resolution(value) == Decimal("0.000001")


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
