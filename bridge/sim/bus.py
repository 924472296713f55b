"""A segment: meters on one line, the converter at its end, and what goes wrong between them.

`SimulatedBus` has no port and no clock of its own. It is told which bytes the master gave to the
converter and when, and says which bytes the converter hands back, each at the time when the wire
would have delivered it. ``bridge.sim.server`` puts it on a TCP port or a pseudo terminal.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from bridge.mbus.errors import FrameError
from bridge.mbus.frame import Ack, Frame, LongFrame, encode_frame, take_frame
from bridge.sim.clock import SimulatedClock
from bridge.sim.errors import SimError
from bridge.sim.faults import LATE_SECONDS, Fault, FaultKind, Faults, parse_fault
from bridge.sim.line import (
    BAUDRATES,
    CHARACTER_BITS,
    Line,
    Transmission,
    earliest_answer,
    latest_answer,
    wire_time,
)
from bridge.sim.meter import SimulatedMeter

# A slave gives up a frame whose next character does not come. EN 13757-2 allows no gap at all;
# converters and networks make some, and no master repeats as soon as this.
GAP_SECONDS = 0.05

_CHATTER_BYTES = 8

_EPSILON = 1e-6  # seconds; sums of times are rounded


@dataclass(slots=True)
class BusStatistics:
    """What passed over a line since it was made. Bytes are characters; times are seconds."""

    requests: int = 0  # valid frames of the master
    answers: int = 0  # of meters, damaged ones too
    silences: int = 0  # requests that nobody answered
    bytes_from_master: int = 0
    bytes_to_master: int = 0
    bytes_answered: int = 0  # by meters; those lost on a half-duplex line too
    request_seconds: float = 0.0
    delay_seconds: float = 0.0  # of meters that answered
    answer_seconds: float = 0.0

    @property
    def busy_seconds(self) -> float:
        """The time that no master can avoid: requests, the meters' own delays, answers."""
        return self.request_seconds + self.delay_seconds + self.answer_seconds


class SimulatedBus:
    """Meters on a line.

    Args:
        meters: their names differ; addresses may not.
        baudrate: the converter's, 300 to 38400.
        faults: what goes wrong from the start, as `Fault` or text (see ``bridge.sim.faults``).
        clock: the meters' time; None for the local time from now on.
        seed: for the faults.

    Raises:
        SimError: two meters with one name, no such baud rate, a fault that cannot be.
    """

    def __init__(
        self,
        meters: Iterable[SimulatedMeter],
        *,
        baudrate: int = 2400,
        faults: Iterable[Fault | str] = (),
        clock: SimulatedClock | None = None,
        seed: int = 0,
    ) -> None:
        self._meters: dict[str, SimulatedMeter] = {}
        for meter in meters:
            if meter.name in self._meters:
                raise SimError(f"two meters have the name {meter.name}")
            self._meters[meter.name] = meter
        self.meters = MappingProxyType(self._meters)
        self.clock = clock if clock is not None else SimulatedClock()
        self.statistics = BusStatistics()
        self.is_served = False  # a server has it
        self.baudrate = 0
        self.set_baudrate(baudrate)
        self._faults = Faults(seed)
        self._line = Line()
        self._random = random.Random(f"bus/{seed}")
        self._buffer = bytearray()
        self._run = (-1, 0)  # the byte that the master sends over and over, and how often it has
        self._line_free = float("-inf")  # when the last of the master's characters is over
        self._accounted = float("-inf")
        self._free_at: dict[str, float] = {}  # when each meter has sent its answer
        self._drops: list[float] = []
        for fault in faults:
            self.add_fault(fault)

    def set_baudrate(self, baudrate: int) -> None:
        """The converter changes its rate; a frame that is half there is lost.

        Raises:
            SimError: M-Bus has no such rate.
        """
        if baudrate not in BAUDRATES:
            raise SimError(f"{baudrate} is no baud rate of M-Bus: {BAUDRATES}")
        if baudrate != self.baudrate:
            self.baudrate = baudrate
            self._buffer = bytearray()

    # Faults

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is switched on."""
        return self._faults.active

    def add_fault(self, fault: Fault | str) -> Fault:
        """Switch a fault on, from now on.

        Args:
            fault: as it is, or as a text. Its meter is a name, a primary address, or an
                identification number.

        Returns:
            It, with the meter's name; for `remove_fault`.

        Raises:
            SimError: the text is no fault, or there is no such meter.
        """
        wanted = parse_fault(fault) if isinstance(fault, str) else fault
        if wanted.meter is not None:
            wanted = replace(wanted, meter=self.find(wanted.meter).name)
        self._faults.add(wanted)
        return wanted

    def remove_fault(self, fault: Fault) -> None:
        """Switch off what `add_fault` returned."""
        self._faults.remove(fault)

    def clear_faults(self) -> None:
        """Switch all off."""
        self._faults.clear()

    def find(self, text: str) -> SimulatedMeter:
        """The meter with that name, primary address or identification number.

        Raises:
            SimError: there is none, or several have that address.
        """
        if text in self._meters:
            return self._meters[text]
        found = [meter for meter in self._meters.values() if _is_called(meter, text)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(meter.name for meter in found)
            raise SimError(f"{text!r} is the address of several meters: {names}")
        raise SimError(f"there is no meter {text!r} here, but {', '.join(self._meters) or 'none'}")

    # The converter's side

    def receive(self, data: bytes, now: float) -> None:
        """The master gave bytes to the converter, which sends them at its baud rate.

        Args:
            data: as many as came together; they go out one after the other, behind those that
                still wait.
            now: seconds; never less than before.
        """
        if not data:
            return
        start = max(now, self._line_free)
        if start - self._line_free > GAP_SECONDS:
            self._buffer.clear()
            self._run = (-1, 0)
        end = start + wire_time(len(data), self.baudrate)
        self._line_free = end
        self.statistics.bytes_from_master += len(data)
        converter = self._faults.strike(None)
        if FaultKind.ECHO in converter:
            self._line.add(Transmission(start, self.baudrate, data))
        sleepers = [meter for meter in self._meters.values() if meter.quirks.wake_up is not None]
        for index, byte in enumerate(data, start=1):
            if sleepers:
                self._hear_run(sleepers, byte, start + wire_time(index, self.baudrate))
            self._buffer.append(byte)
            for frame in _take_frames(self._buffer):
                self._request(frame, start + wire_time(index, self.baudrate), converter)
        if FaultKind.ECHO not in converter:
            # After the answers to what came first in ``data``: the rest of it is over them.
            self._line.mute(start, end)

    def _hear_run(self, sleepers: Sequence[SimulatedMeter], byte: int, now: float) -> None:
        """One more byte of the master, for those whom only a long row of them wakes."""
        last, count = self._run
        count = count + 1 if byte == last else 1
        self._run = byte, count
        # Without a parity bit, as masters often send it, a character is shorter.
        seconds = count * (CHARACTER_BITS - 1) / self.baudrate
        for meter in sleepers:
            if meter.listens_at(now) == self.baudrate:
                meter.hear_run(byte, seconds, now)

    def take(self, now: float) -> bytes:
        """What the converter has received and not yet handed out at ``now``."""
        return self.take_received(now)[0]

    def take_received(self, now: float) -> tuple[bytes, tuple[int, ...]]:
        """The same, for a master that hears parity and framing errors too.

        Returns:
            The characters, and the places of those that came with such an error, in their order:
            bits were hit on the wire, or senders met.
        """
        heard, broken = self._line.take_received(now)
        self.statistics.bytes_to_master += len(heard)
        return heard, broken

    def due(self, after: float, pace: float) -> tuple[float, bool] | None:
        """When something is worth taking next.

        Args:
            after: seconds; the time of the last `take`.
            pace: seconds between two takes while characters keep coming.

        Returns:
            The time, and whether it must be met exactly (the end of an answer, or a drop of the
            connection); None while the line is idle.
        """
        due = self._line.due(after, pace)
        if self._drops and (due is None or self._drops[0] <= due[0]):
            return self._drops[0], True
        return due

    def take_drop(self, now: float) -> bool:
        """Whether a fault ends the connection at ``now``; says so once."""
        before = len(self._drops)
        self._drops = [at for at in self._drops if at > now]
        return len(self._drops) < before

    def _request(self, frame: Frame, end: float, converter: dict[FaultKind, Fault]) -> None:
        """A whole frame of the master is on the line, and over at ``end``."""
        begin = end - wire_time(len(encode_frame(frame)), self.baudrate)
        self.statistics.requests += 1
        self.statistics.request_seconds += max(0.0, end - max(begin, self._accounted))
        self._accounted = max(self._accounted, end)
        when = self.clock.at(end)
        if FaultKind.CHATTER in converter:
            byte = int(converter[FaultKind.CHATTER].value or 0)
            self._line.add(
                Transmission(
                    end + earliest_answer(self.baudrate),
                    self.baudrate,
                    bytes((byte,)) * _CHATTER_BYTES,
                )
            )
        sent: list[Transmission] = []
        for meter in self._meters.values():
            # Who sends, or is about to, does not listen; and a request at another baud rate is
            # no frame to anybody. A request may begin at the very end of an answer.
            if self._free_at.get(meter.name, begin) > begin + _EPSILON:
                continue
            if meter.listens_at(end) == self.baudrate:
                sent += self._reaction(meter, frame, end, when)
        if sent:
            first, last = min(each.start for each in sent), max(each.end for each in sent)
            self.statistics.delay_seconds += max(0.0, first - self._accounted)
            self.statistics.answer_seconds += max(0.0, last - max(first, self._accounted))
            self._accounted = max(self._accounted, last)
        else:
            self.statistics.silences += 1

    def _reaction(
        self, meter: SimulatedMeter, frame: Frame, end: float, when: dt.datetime
    ) -> Sequence[Transmission]:
        """What this meter puts on the line; without what comes too late to be waited for."""
        struck = self._faults.strike(meter.name) if meter.is_asked(frame) else {}
        answer = None if FaultKind.DEAF in struck else meter.hear(frame, end, when)
        if answer is None or FaultKind.SILENCE in struck:
            return ()
        data, start = answer.data, end + answer.delay
        if FaultKind.WRONG_METER in struck:
            data = self._other_telegram(meter, data, when)
        data, wrong = self._faults.damage_characters(data, struck)
        late = struck.get(FaultKind.LATE)
        if late is not None:
            start = end + latest_answer(self.baudrate)
            start += LATE_SECONDS if late.value is None else late.value
        if FaultKind.DROP in struck:
            data = data[: len(data) // 2]
            wrong = tuple(place for place in wrong if place < len(data))
            self._drops.append(start + wire_time(len(data), self.baudrate))
            self._drops.sort()
        if not data:
            return ()
        sent = Transmission(start, self.baudrate, data, wrong)
        self._line.add(sent)
        self._free_at[meter.name] = sent.end
        self.statistics.answers += 1
        self.statistics.bytes_answered += len(data)
        return () if late is not None else (sent,)

    def _other_telegram(self, meter: SimulatedMeter, data: bytes, when: dt.datetime) -> bytes:
        """A telegram of another meter, where ``data`` is a telegram at all."""
        frame = take_frame(bytearray(data))
        if not isinstance(frame, LongFrame):
            return data
        others = [each for each in self._meters.values() if each is not meter]
        if others:
            return self._random.choice(others).telegram(when)
        # Alone on the line: then one that is not in the list, with the next number.
        number = bytearray(frame.data)
        if number:
            number[0] ^= 0x01
        return encode_frame(frame._replace(address=(frame.address + 1) % 251, data=bytes(number)))


def _take_frames(buffer: bytearray) -> list[Frame]:
    """The frames that are whole; a slave looks for the next start after what is none."""
    frames: list[Frame] = []
    while True:
        try:
            frame = take_frame(buffer)
        except FrameError:
            continue
        if frame is None:
            return frames
        if not isinstance(frame, Ack):  # the master has no reason to send E5
            frames.append(frame)


def _is_called(meter: SimulatedMeter, text: str) -> bool:
    if text.isdecimal() and len(text) <= 3:
        return meter.primary == int(text)
    return meter.secondary is not None and text.upper() in (
        meter.secondary.identification,
        str(meter.secondary),
    )
