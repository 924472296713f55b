"""How one meter wants to be read, where that is not as the standard has it.

Meters of the field need a telegram selected before each readout, a pause, a slower line, a wake-up.
All of it is off unless the user, or the meter's template, says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

MAXIMUM_TELEGRAMS = 16


class Nke(StrEnum):
    """When SND_NKE goes before a readout by primary address."""

    AUTO = "auto"  # at first contact, after a fault, and where a meter has several telegrams
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class UserData:
    """SND_UD to the meter, which answers E5: CI 50 resets or selects the application, CI 51 selects
    records (EN 13757-3, 7.1 and 6.4.1). ``data`` has 0 to 252 bytes behind the CI field.

    A meter that does not answer it is asked for its data all the same: many do not know the
    command, and some obey without an E5. That it does not answer is remembered: then one try is
    all it gets, and SND_NKE goes before (`Nke.AUTO`), so that it cannot take the request that
    follows for a repetition.
    """

    ci: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class RawBytes:
    """Bytes that go out as they are, once; what comes back in the answer window is dropped.

    SND_NKE goes before (`Nke.AUTO`), and the first REQ_UD2 after them has FCB 1, so a SND_UD or
    REQ_UD2 among them is best written with FCB 0 (C field 53 or 5B).
    """

    data: bytes


Preparation = UserData | RawBytes


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Characters that wake a sleeping meter or an optical head before the first frame.

    Args:
        byte: what is sent over and over, 0 to 255.
        duration: of the sending, in seconds.
        parity: of these characters; a serial port changes to it and back.
        pause: idle line between them and the first frame, in seconds.
    """

    byte: int = 0x55
    duration: float = 2.2
    parity: Literal["even", "none"] = "none"
    pause: float = 0.05


@dataclass(frozen=True, slots=True)
class Way:
    """How one meter is read.

    Args:
        nke: when SND_NKE is sent first.
        pause: seconds of idle line after the E5 to SND_NKE or to the selection; after the time
            for it where the meter is known to send none to SND_NKE.
        before: what is sent, in order, after SND_NKE or the selection and before the first
            REQ_UD2 of each readout.
        telegrams: which telegrams of the answer to keep, counted from 1; None for all. Nothing
            is fetched behind the last of them; but where SND_NKE is never sent, the next readout
            has to pass over them.
        maximum: telegrams to fetch, at most.
        fabrication: fabrication number for the enhanced selection, eight digits with F as the
            wildcard; only with a secondary address (EN 13757-3, 11.4).
        baudrate: of this meter, where it is not the bus's.
        timeout: seconds to the first byte of its answer, where it is not the bus's; it stretches
            the standard's time and never shortens it.
        tries: how often to ask, where it is not the bus's number.
        wake_up: what goes before everything else in each readout.
    """

    nke: Nke = Nke.AUTO
    pause: float = 0.0
    before: tuple[Preparation, ...] = ()
    telegrams: frozenset[int] | None = None
    maximum: int = MAXIMUM_TELEGRAMS
    fabrication: str | None = None
    baudrate: int | None = None
    timeout: float | None = None
    tries: int | None = None
    wake_up: WakeUp | None = None
