"""RSP_UD user data: header, records, manufacturer data, "more follows" (EN 13757-3 and -7)."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.mbus.address import SecondaryAddress, encode_secondary
from bridge.mbus.control import CI_FIXED, Content, ci_row
from bridge.mbus.dif import Function
from bridge.mbus.errors import HeaderError
from bridge.mbus.fixed import FIXED_LENGTH, decode_fixed
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import Header, decode_header
from bridge.mbus.record import DataRecord, RecordError, Records, decode_records
from bridge.mbus.security import Afl, Doubt, Opened, Security, decode_afl, open_payload
from bridge.units import Quantity

__all__ = [
    "APPLICATION_ERRORS",
    "ApplicationError",
    "Header",
    "Security",
    "Telegram",
    "decode_telegram",
]

# EN 13757-3, table 19. What is not here is reserved.
APPLICATION_ERRORS = {
    0x00: "unspecified error",
    0x01: "unimplemented CI field",
    0x02: "buffer too long, truncated",
    0x03: "too many records",
    0x04: "premature end of record",
    0x05: "more than 10 DIFEs",
    0x06: "more than 10 VIFEs",
    0x08: "application too busy",
    0x09: "too many readouts",
    0x10: "access denied",
    0x11: "unknown application or command",
    0x12: "parameter missing or wrong",
    0x13: "unknown receiver address",
    0x14: "decryption key fails",
    0x15: "encryption method not supported",
    0x16: "signature method not supported",
    0xF0: "dynamic application error",
}


@dataclass(frozen=True, slots=True)
class ApplicationError:
    """The meter says that it could not do what was asked.

    ``code`` is None where the meter sent none; ``data`` is what came after it.
    """

    code: int | None
    data: bytes = b""

    @property
    def text(self) -> str:
        """What the code means, by the standard."""
        return APPLICATION_ERRORS.get(self.code or 0x00, "reserved")

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code:02X}"
        return f"application error{code}: {self.text}"


@dataclass(frozen=True, slots=True)
class Telegram:
    """What a meter said in one frame.

    ``records`` hold data and nothing else: an application error and an alarm have fields of their
    own, there are no records then, and ``errors`` says so too. ``manufacturer_data`` is None where
    the telegram has no DIF 0F or 1F, and may be empty. ``errors`` tell what could not be read;
    whatever else was is still good. ``encryption`` is "none", or the method as "mode 5", and
    ``security`` what became of it. ``message_counter`` is the one of mode 7, which only ever goes
    up: who keeps it can tell a replayed telegram. ``notes`` tell what was taken for good although
    the meter breaks the standard.
    """

    control: int
    address: int
    ci: int
    header: Header | None
    records: tuple[DataRecord, ...] = ()
    more_records_follow: bool = False
    manufacturer_data: bytes | None = None
    errors: tuple[RecordError, ...] = ()
    encryption: str = "none"
    security: Security = Security.PLAIN
    application_error: ApplicationError | None = None
    alarm: bytes | None = None
    message_counter: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def encrypted_unread(self) -> bool:
        """Whether there is more in the telegram than could be read without the right key."""
        return self.security not in (Security.PLAIN, Security.DECRYPTED)


def decode_telegram(
    frame: LongFrame, key: bytes | None = None, *, meter: SecondaryAddress | None = None
) -> Telegram:
    """The content of a frame that a meter sent.

    Around an authenticated telegram is a layer of its own (CI 90); ``ci`` and the offsets of
    errors are then those within it.

    Args:
        frame: the frame. Its C field is kept and not looked at.
        key: the meter's own AES-128 key, 16 bytes.
        meter: whose telegram it is. Only an encrypted one with a short header wants it.

    Raises:
        TelegramError: the frame ends within the header.
        KeyLengthError: the key has not 16 bytes.
    """
    if ci_row(frame.ci).content is Content.AUTHENTICATION:
        afl = decode_afl(frame.data)
        if afl.fragmented:
            reason = "a fragment of a telegram, which is not put together"
            return _unread(frame, None, 0, Opened(Security.UNSUPPORTED, reason=reason))
        inner = LongFrame(frame.control, frame.address, afl.content[0], afl.content[1:])
        return _decode(inner, key, meter, afl)
    return _decode(frame, key, meter, None)


def _decode(
    frame: LongFrame, key: bytes | None, meter: SecondaryAddress | None, afl: Afl | None
) -> Telegram:
    row, data = ci_row(frame.ci), frame.data
    if frame.ci == CI_FIXED and len(data) == FIXED_LENGTH:
        fixed_header, records = decode_fixed(data)
        return Telegram(frame.control, frame.address, frame.ci, fixed_header, records)
    offset = row.header.value
    if row.content is Content.OTHER or row.content is Content.AUTHENTICATION:
        header = decode_header(data, row.header) if len(data) >= offset else None
        reason = f"CI {frame.ci:02X} ({row.name}) is not decoded"
        return _unread(frame, header, 0, Opened(Security.PLAIN, reason=reason))
    if len(data) < offset:
        raise HeaderError(needed=offset, found=len(data), ci=frame.ci)
    header = decode_header(data, row.header)
    if header is None:
        return _decode_content(frame, None, Opened(Security.PLAIN, data=data))
    address = None if meter is None else encode_secondary(meter)
    opened = open_payload(data, offset, header.configuration, key, address, afl)
    if opened.data is not None:
        unchecked = afl is not None and afl.mac and opened.counter is None
        notes = ("authentication code not checked",) if unchecked else ()
        return _decode_content(frame, header, opened, notes)
    # Old meters write anything into the configuration field, once called signature.
    if (
        opened.doubt is not Doubt.NONE
        and row.content is Content.RECORDS
        and is_credible(decode_records(data, offset), opened.doubt)
    ):
        plain = Opened(Security.PLAIN, data=data, offset=offset)
        note = f"configuration field {header.configuration:04X}, yet not encrypted"
        return _decode_content(frame, header, plain, (note,))
    return _unread(frame, header, offset, opened)


def _unread(frame: LongFrame, header: Header | None, offset: int, opened: Opened) -> Telegram:
    return Telegram(
        frame.control,
        frame.address,
        frame.ci,
        header,
        errors=(RecordError(offset, opened.reason, frame.data[offset:]),),
        encryption=opened.encryption,
        security=opened.security,
    )


def _decode_content(
    frame: LongFrame, header: Header | None, opened: Opened, notes: tuple[str, ...] = ()
) -> Telegram:
    data, offset = opened.data or b"", opened.offset
    counter = None if opened.counter is None else int.from_bytes(opened.counter, "little")
    content = ci_row(frame.ci).content
    found = Records((), (), None, False)
    error: ApplicationError | None = None
    alarm: bytes | None = None
    if content is Content.RECORDS:
        found = decode_records(data, offset)
    else:
        payload = data[offset:]
        if content is Content.ALARM:
            alarm, text = payload, "alarm"
        else:
            error = ApplicationError(payload[0] if payload else None, payload[1:])
            text = str(error)
        found = found._replace(errors=(RecordError(offset, text, payload),))
    return Telegram(
        frame.control,
        frame.address,
        frame.ci,
        header,
        found.records,
        found.more_records_follow,
        found.manufacturer_data,
        found.errors,
        opened.encryption,
        opened.security,
        error,
        alarm,
        counter,
        notes,
    )


def is_credible(found: Records, doubt: Doubt) -> bool:
    """Whether a meter wrote these records, or they are a ciphertext that happens to parse.

    One in nine sequences of random bytes reads to its end without an error. One in 5000 gives
    four records or more and nothing else than ordinary ones, which is asked for where the
    configuration field could mean encryption.
    """
    if found.errors:
        return False
    ordinary = sum(map(_is_ordinary, found.records))
    if doubt is Doubt.GRAVE:
        return ordinary >= 1 and 2 * ordinary >= len(found.records)
    return ordinary >= 4 and ordinary == len(found.records)


_ODD_QUANTITIES = (
    Quantity.UNKNOWN,
    Quantity.ANY,
    Quantity.MANUFACTURER_SPECIFIC,
    Quantity.USER_DEFINED,
)


def _is_ordinary(record: DataRecord) -> bool:
    return (
        record.quantity not in _ODD_QUANTITIES
        and record.value is not None
        and not isinstance(record.value, bytes)
        and record.storage < 4096
        and record.function is not Function.ERROR
        and len(record.modifiers) <= 3
        and not any(
            modifier.startswith(("reserved", "manufacturer")) for modifier in record.modifiers
        )
    )
