"""The text form of faults, and what is wrong with wrong ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sim.errors import SimError
from bridge.sim.faults import MEANING, Fault, FaultKind, Faults, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("silence:heat-1", Fault(FaultKind.SILENCE, "heat-1")),
        ("noise:0.05", Fault(FaultKind.NOISE, probability=0.05)),
        ("noise:5%", Fault(FaultKind.NOISE, probability=0.05)),
        ("checksum:3:0.1", Fault(FaultKind.CHECKSUM, "3", probability=0.1)),
        ("late=2.5:next-1", Fault(FaultKind.LATE, count=1, value=2.5)),
        ("truncation=7:room:next-3", Fault(FaultKind.TRUNCATION, "room", count=3, value=7)),
        ("silence:1", Fault(FaultKind.SILENCE, "1")),
        ("silence:1.0", Fault(FaultKind.SILENCE)),
        ("echo", Fault(FaultKind.ECHO)),
    ],
)
def test_faults_are_written_as_they_are_said(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("silense", "'silense' is no kind of fault; did you mean silence"),
        ("", "there are silence, deaf"),
        ("noise:1.5:a", "is no fault"),
        ("late=soon", "'soon' is no number"),
        ("late=-1", "cannot be negative"),
        ("checksum=3", "checksum takes no value"),
        ("silence:0.0", "a probability is above 0"),
        ("silence:200%", "a probability is above 0"),
        ("silence:next-0", "would never happen"),
        ("silence:a:b:0.1", "is no fault"),
        ("silence:", "is no fault"),
        ("echo:heat-1", "the converter's fault"),
        ("chatter=300", "a byte goes up to 255"),
    ],
)
def test_a_wrong_fault_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(SimError, match=message):
        parse_fault(text)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_what_a_fault_prints_can_be_read_again(kind: FaultKind) -> None:
    whole = MEANING[kind].whole_bus
    meter = None if whole else "heat-1"
    value = 3.0 if MEANING[kind].value else None
    for fault in (
        Fault(kind, meter, value=value),
        Fault(kind, meter, probability=0.25),
        Fault(kind, count=4),
    ):
        assert parse_fault(str(fault)) == fault


@given(answer=st.binary(max_size=261), kind=st.sampled_from(list(FaultKind)), seed=st.integers())
def test_every_kind_of_damage_takes_every_answer(answer: bytes, kind: FaultKind, seed: int) -> None:
    faults = Faults()
    faults.random = random.Random(seed)
    damaged = faults.damage(answer, {kind: Fault(kind)})
    assert len(damaged) <= max(len(answer) + 5, 20)
