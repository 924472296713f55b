"""About how long meters keep their bus busy, as far as the configuration tells."""

from __future__ import annotations

from bridge.config.model import Bus, Meter
from bridge.config.ways import Nke, Step

# EN 13757-2, characters of 11 bits: a request has 5, a selection 17 and its E5; an answer has
# from 25 to 261, in the middle about 100. A meter takes about 0.1 s to begin.
_REQUEST, _SELECTION, _ANSWER, _BITS, _DELAY = 5, 18, 100, 11, 0.1
# EN 13757-3, 11.4: DIF, VIF and eight digits more.
_FABRICATION = 6
# SND_UD with its CI field, and the E5 behind it.
_USER_DATA = 10
_E5 = 1


def ask_time(bus: Bus, meter: Meter) -> float:
    """About how long one meter keeps the bus busy, in seconds.

    It is an estimate: one answer of 100 bytes, begun after 0.1 s, and what the meter needs before.
    """
    telegrams = 1 if isinstance(meter.telegrams, str) else max(meter.telegrams)
    characters, turns, pause = telegrams * (_REQUEST + _ANSWER), telegrams, 0.0
    if meter.secondary is not None:
        characters += _SELECTION + (_FABRICATION if meter.fabrication is not None else 0)
        turns += 1
        pause += meter.pause
    elif meter.nke is Nke.ALWAYS:
        characters += _REQUEST + _E5
        turns += 1
        pause += meter.pause
    for each in meter.before:
        characters += len(each.data) + (0 if each.step is Step.RAW else _USER_DATA)
        turns += 1
    if (wake_up := bus.wake_up_of(meter)) is not None:
        pause += wake_up.duration + wake_up.pause
    rate = bus.baudrate if meter.baudrate is None else meter.baudrate
    return characters * _BITS / rate + turns * (_DELAY + (bus.latency or 0)) + pause


def cycle_time(bus: Bus) -> float:
    """About how long it takes to read every meter of a bus once, in seconds."""
    return sum(ask_time(bus, meter) for meter in bus.meters.values())


def bus_load(bus: Bus) -> float:
    """About which share of the time a bus is busy: 1 where a meter is read all the time, more than
    1 where it cannot keep to its intervals."""
    intervals = [(bus.interval_of(meter), ask_time(bus, meter)) for meter in bus.meters.values()]
    timed = sum(time / interval for interval, time in intervals if interval)
    return timed if all(interval for interval, _ in intervals) else max(timed, 1.0)
