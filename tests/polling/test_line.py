"""What the answers tell of a line."""

from __future__ import annotations

from collections import Counter

import pytest

from bridge.mbus.link import Damage, Effort
from bridge.polling.line import METER_SUSPECT_FOR, SUSPECT_FOR, LatencyEstimate, Trust

CLEAN = Effort(tries=1, answer_delay=0.03)
SILENT = Effort(tries=3, silences=3)


def damaged(*kinds: Damage) -> Effort:
    return Effort(tries=2, damage=Counter(kinds), answer_delay=0.03)


def test_a_meter_is_trusted_until_an_answer_of_it_was_damaged() -> None:
    trust = Trust()
    trust.note("a", CLEAN)
    trust.note("a", SILENT)
    assert not trust.is_suspect("a")
    trust.note("a", damaged(Damage.CHECKSUM))
    assert trust.is_suspect("a")


@pytest.mark.parametrize(
    "kind", [Damage.LENGTH, Damage.CHECKSUM, Damage.STOP, Damage.TRUNCATED, Damage.PARITY]
)
def test_damage_inside_a_frame_makes_suspect(kind: Damage) -> None:
    trust = Trust()
    trust.note("a", damaged(kind))
    assert trust.is_suspect("a")


@pytest.mark.parametrize(
    "kind", [Damage.NOISE, Damage.TRAILING, Damage.FOREIGN, Damage.LATE, Damage.UNEXPECTED]
)
def test_what_stands_beside_a_sound_frame_does_not(kind: Damage) -> None:
    trust = Trust()
    trust.note("a", damaged(kind))
    assert not trust.is_suspect("a")


def test_one_meter_on_a_bad_wire_says_nothing_of_the_others_and_a_second_one_does() -> None:
    trust = Trust()
    for _ in range(100):
        trust.note("a", damaged(Damage.CHECKSUM))
    assert not trust.is_suspect("b")
    assert not trust.line_is_suspect
    trust.note("b", damaged(Damage.CHECKSUM))
    assert trust.line_is_suspect
    assert trust.is_suspect("c")


def test_trust_in_a_meter_returns_after_many_sound_answers_and_silence_is_none() -> None:
    trust = Trust()
    trust.note("a", damaged(Damage.STOP))
    for _ in range(METER_SUSPECT_FOR - 1):
        trust.note("a", CLEAN)
        trust.note("b", CLEAN)
    trust.note("a", SILENT)
    assert trust.is_suspect("a")
    trust.note("a", CLEAN)
    assert not trust.is_suspect("a")


def test_trust_in_a_line_returns_after_many_sound_answers_of_all() -> None:
    trust = Trust()
    trust.note("a", damaged(Damage.STOP))
    trust.note("b", damaged(Damage.STOP))
    for _ in range(SUSPECT_FOR // 2):
        trust.note("a", CLEAN)
        trust.note("b", CLEAN)
    assert not trust.is_suspect("c")


def test_a_meter_that_is_gone_is_forgotten() -> None:
    trust = Trust()
    trust.note("a", damaged(Damage.STOP))
    trust.forget("a")
    trust.note("b", damaged(Damage.STOP))
    assert not trust.line_is_suspect


def test_the_usual_latency_holds_until_enough_answers_have_come() -> None:
    estimate = LatencyEstimate(0.5)
    for _ in range(15):
        estimate.note(Effort(answer_delay=0.04))
    assert estimate.latency == 0.5
    estimate.note(Effort(answer_delay=0.04))
    assert estimate.latency == pytest.approx(0.08)


def test_the_slowest_answer_tells_the_way() -> None:
    estimate = LatencyEstimate(0.5)
    for number in range(64):
        estimate.note(Effort(answer_delay=0.06 + number % 7 / 100))
    assert estimate.latency == pytest.approx(0.24)


def test_what_was_learnt_is_forgotten_with_the_first_silence() -> None:
    estimate = LatencyEstimate(0.5)
    for _ in range(64):
        estimate.note(Effort(answer_delay=0.03))
    estimate.note(Effort(tries=2, silences=1, answer_delay=0.03))
    assert estimate.latency == 0.5


def test_the_latency_stays_between_what_a_gateway_needs_and_what_is_usual() -> None:
    fast, slow = LatencyEstimate(0.5), LatencyEstimate(0.5)
    for _ in range(64):
        fast.note(Effort(answer_delay=0.001))
        slow.note(Effort(answer_delay=2.0))
    assert fast.latency == 0.05
    assert slow.latency == 0.5
    assert LatencyEstimate(0.02).latency == 0.02
