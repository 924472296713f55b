"""What the answers tell of a line."""

from __future__ import annotations

from collections import Counter

import pytest

from bridge.mbus.link import Damage, Effort
from bridge.polling.line import SUSPECT_FOR, LatencyEstimate, Trust

CLEAN = Effort(tries=1, answer_delay=0.03)
SILENT = Effort(tries=3, silences=3)


def damaged(*kinds: Damage) -> Effort:
    return Effort(tries=2, damage=Counter(kinds), answer_delay=0.03)


def test_a_line_is_trusted_until_it_damages_a_frame() -> None:
    trust = Trust()
    trust.note(CLEAN)
    trust.note(SILENT)
    assert not trust.shows_damage
    trust.note(damaged(Damage.CHECKSUM))
    assert trust.shows_damage


@pytest.mark.parametrize(
    "kind", [Damage.LENGTH, Damage.CHECKSUM, Damage.STOP, Damage.TRUNCATED, Damage.PARITY]
)
def test_damage_inside_a_frame_makes_a_line_suspect(kind: Damage) -> None:
    trust = Trust()
    trust.note(damaged(kind))
    assert trust.shows_damage


@pytest.mark.parametrize(
    "kind", [Damage.NOISE, Damage.TRAILING, Damage.FOREIGN, Damage.LATE, Damage.UNEXPECTED]
)
def test_what_stands_beside_a_sound_frame_does_not(kind: Damage) -> None:
    trust = Trust()
    trust.note(damaged(kind))
    assert not trust.shows_damage


def test_trust_returns_after_many_sound_answers_and_silence_is_none() -> None:
    trust = Trust()
    trust.note(damaged(Damage.STOP))
    for _ in range(SUSPECT_FOR - 1):
        trust.note(CLEAN)
    for _ in range(10):
        trust.note(SILENT)
    assert trust.shows_damage
    trust.note(CLEAN)
    assert not trust.shows_damage


def test_the_usual_latency_holds_until_enough_answers_have_come() -> None:
    estimate = LatencyEstimate(0.5)
    for _ in range(15):
        estimate.note(Effort(answer_delay=0.04))
    estimate.note(SILENT)
    assert estimate.latency == 0.5
    estimate.note(Effort(answer_delay=0.04))
    assert estimate.latency == pytest.approx(0.08)


def test_the_fastest_answer_tells_the_way() -> None:
    estimate = LatencyEstimate(0.5)
    for number in range(64):
        estimate.note(Effort(answer_delay=0.06 + number % 7 / 100))
    assert estimate.latency == pytest.approx(0.12)


def test_a_way_that_becomes_longer_is_noticed() -> None:
    estimate = LatencyEstimate(0.5)
    for _ in range(64):
        estimate.note(Effort(answer_delay=0.03))
    for _ in range(64):
        estimate.note(Effort(answer_delay=0.15))
    assert estimate.latency == pytest.approx(0.3)


def test_the_latency_stays_between_what_a_gateway_needs_and_what_is_usual() -> None:
    fast, slow = LatencyEstimate(0.5), LatencyEstimate(0.5)
    for _ in range(64):
        fast.note(Effort(answer_delay=0.001))
        slow.note(Effort(answer_delay=2.0))
    assert fast.latency == 0.05
    assert slow.latency == 0.5
    assert LatencyEstimate(0.02).latency == 0.02
