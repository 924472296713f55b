"""RSP_UD user data: header, records, manufacturer data, "more follows" (EN 13757-3 and -7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress, decode_secondary, encode_secondary
from bridge.mbus.compact import CompactError, Format, Formats, decode_format, expand
from bridge.mbus.control import (
    ACD,
    CI_FIXED,
    CI_RESPONSE_LONG,
    CI_REVERSED_FIXED,
    DFC,
    DIRECTION,
    FUNCTION,
    REQ_SKE,
    REQ_UD1,
    REQ_UD2,
    SND_NKE,
    SND_UD,
    CiRow,
    Content,
    HeaderKind,
    ci_row,
)
from bridge.mbus.dif import DataField
from bridge.mbus.errors import HeaderError
from bridge.mbus.extended import decode_extended
from bridge.mbus.fixed import FIXED_LENGTH, decode_fixed, reversed_fixed
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import Header, decode_header, reversed_header
from bridge.mbus.layout import read_records
from bridge.mbus.own import without_false_values
from bridge.mbus.profile import Profile, unfold
from bridge.mbus.record import (
    NO_RECORDS,
    DataRecord,
    DataRecords,
    RecordError,
    Records,
)
from bridge.mbus.security import Afl, Doubt, Opened, Security, decode_afl, open_payload
from bridge.mbus.walk import decode_records, is_ordinary

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


class Telegram(NamedTuple):
    """What a meter said in one frame.

    ``records`` hold data and nothing else: an application error and an alarm have fields of their
    own, there are no records then, and ``errors`` says so too. ``manufacturer_data`` is None where
    the telegram has no DIF 0F or 1F, and may be empty. ``errors`` tell what could not be read;
    whatever else was is still good. ``encryption`` is "none", or the method as "mode 5", and
    ``security`` what became of it. ``message_counter`` is the one of mode 7, which only ever goes
    up: who keeps it can tell a replayed telegram. ``notes`` tell what was taken for good although
    the meter breaks the standard.

    ``format`` is what a format frame tells; it has no records. ``unreadable`` is True where there
    is data that could not be made out, and none of it is there: of a compact frame whose format is
    not known, or damaged below the frame's own checksum. ``errors`` say which.
    """

    control: int
    address: int
    ci: int
    header: Header | None
    records: DataRecords = NO_RECORDS
    more_records_follow: bool = False
    manufacturer_data: bytes | None = None
    errors: tuple[RecordError, ...] = ()
    encryption: str = "none"
    security: Security = Security.PLAIN
    application_error: ApplicationError | None = None
    alarm: bytes | None = None
    message_counter: int | None = None
    notes: tuple[str, ...] = ()
    format: Format | None = None
    unreadable: bool = False

    @property
    def encrypted_unread(self) -> bool:
        """Whether there is more in the telegram than could be read without the right key."""
        return self.security not in (Security.PLAIN, Security.DECRYPTED)

    @property
    def meter(self) -> SecondaryAddress | None:
        """The meter's own address; None in a telegram that does not tell it."""
        return None if self.header is None else self.header.address

    @property
    def from_master(self) -> bool:
        """Whether a master sent it (bit 6 of the C field), as a command to a meter.

        By radio a meter is a primary station too; its own function codes, 4 and 6 to 8, are none
        of a master's.
        """
        return _is_masters(self.control)

    @property
    def access_demand(self) -> bool:
        """ACD: the meter has class 1 data, as alarms are; a REQ_UD1 fetches them."""
        return not self.control & DIRECTION and bool(self.control & ACD)

    @property
    def data_flow_control(self) -> bool:
        """DFC: the meter can take no more user data for now."""
        return not self.control & DIRECTION and bool(self.control & DFC)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The compact profiles among the records, as far as this telegram alone tells them.

        Where an answer has several telegrams, `bridge.mbus.profile.unfold` wants the records of
        them all: a profile may begin with a value of an earlier one.
        """
        return unfold(self.records)


_MASTERS_FUNCTIONS = tuple(
    control & FUNCTION for control in (SND_NKE, SND_UD, REQ_SKE, REQ_UD1, REQ_UD2)
)


def _is_masters(control: int) -> bool:
    return bool(control & DIRECTION) and control & FUNCTION in _MASTERS_FUNCTIONS


def decode_telegram(
    frame: LongFrame,
    key: bytes | None = None,
    *,
    meter: SecondaryAddress | None = None,
    formats: Formats | None = None,
) -> Telegram:
    """The content of a frame.

    Around a telegram may be an extended link layer (CI 8C to 8F) and an authentication layer (CI
    90); ``ci`` and the offsets of errors are then those within them. Those of a compact frame are
    the offsets of the full frame that it stands for. A master's command is named and kept as it
    came: its records ask, and mean other things than an answer's.

    Args:
        frame: the frame.
        key: the meter's own AES-128 key, 16 bytes.
        meter: whose telegram it is, without wildcards. Only an encrypted one with a short header
            wants it.
        formats: those that this meter has told; full and format frames add theirs. Without it no
            compact frame can be read.

    Raises:
        TelegramError: the frame ends within a layer or the header.
        KeyLengthError: the key has not 16 bytes.
    """
    if key is None and (usual := _decode_usual(frame, formats)) is not None:
        return usual
    content = ci_row(frame.ci).content
    if content is not Content.EXTENDED_LINK and content is not Content.AUTHENTICATION:
        return _decode(frame, key, meter, formats, None)
    return _decode_layers(frame, key, meter, formats)


_LONG = HeaderKind.LONG.value


def _decode_usual(frame: LongFrame, formats: Formats | None) -> Telegram | None:
    """What nearly every meter sends: records behind a long header, and nothing is encrypted."""
    control, address, ci, data = frame
    if ci != CI_RESPONSE_LONG or control & DIRECTION or len(data) < _LONG or data[10] or data[11]:
        return None
    found = read_records(data, _LONG)
    if formats is not None:
        formats.learn_from(found)
    header = Header(decode_secondary(data[:8]), data[8], data[9], 0)
    if found.own_codes:
        found = without_false_values(found, header.address)
    records, errors, own, more, _ = found
    return Telegram(control, address, ci, header, records, more, own, errors)


def _decode_layers(
    frame: LongFrame,
    key: bytes | None,
    meter: SecondaryAddress | None,
    formats: Formats | None,
) -> Telegram:
    afl: Afl | None = None
    if ci_row(frame.ci).content is Content.EXTENDED_LINK:
        extended = decode_extended(frame.ci, frame.data)
        if extended.encryption != "none":
            encryption = f"extended link layer, {extended.encryption}"
            reason = "encrypted by the extended link layer, which is not supported"
            return _unread(frame, None, 0, Opened(Security.UNSUPPORTED, encryption, reason=reason))
        if not extended.intact:
            reason = "the checksum of the extended link layer does not fit"
            return _unread(frame, None, 0, Opened(Security.PLAIN, reason=reason), unreadable=True)
        frame = _inner(frame, extended.content)
    if ci_row(frame.ci).content is Content.AUTHENTICATION:
        afl = decode_afl(frame.data)
        if afl.fragmented:
            reason = "a fragment of a telegram, which is not put together"
            return _unread(frame, None, 0, Opened(Security.UNSUPPORTED, reason=reason))
        frame = _inner(frame, afl.content)
    # A layer within is one too many, and not decoded.
    return _decode(frame, key, meter, formats, afl)


def _inner(frame: LongFrame, content: bytes) -> LongFrame:
    return LongFrame(frame.control, frame.address, content[0], content[1:])


def _decode(
    frame: LongFrame,
    key: bytes | None,
    meter: SecondaryAddress | None,
    formats: Formats | None,
    afl: Afl | None,
) -> Telegram:
    row, data = ci_row(frame.ci), frame.data
    if _is_masters(frame.control):
        return _named(frame, row, "of a master, ")
    if row.content is not Content.RECORDS:
        if frame.ci in (CI_FIXED, CI_REVERSED_FIXED):
            if len(data) == FIXED_LENGTH:
                return _decode_fixed(frame)
            if len(data) < FIXED_LENGTH and frame.ci == CI_FIXED:  # a compact frame is longer, too
                return _unread_fixed(frame)
        if row.content is Content.REVERSED:
            return _decode_reversed(frame)
        if row.content not in _CONTENTS:
            return _named(frame, row)
    offset = _HEADER_LENGTHS[row.header]
    if len(data) < offset:
        raise HeaderError(needed=offset, found=len(data), ci=frame.ci)
    header = decode_header(data, row.header)
    if header is None or (header.configuration == 0 and key is None and afl is None):
        plain = Opened(Security.PLAIN, data=data, offset=offset)
        return _decode_content(frame, header, plain, formats)
    address = None if meter is None or meter.is_wildcard else encode_secondary(meter)
    opened = open_payload(data, offset, header.configuration, key, address, afl)
    if opened.data is not None:
        has_code = opened.encryption == "mode 7" or (afl is not None and afl.mac is not None)
        unchecked = has_code and not opened.authentic
        notes: tuple[str, ...] = ("authentication code not checked",) if unchecked else ()
        if opened.security is Security.DECRYPTED and header.address is None:
            # Of a wrong address only the maker would show: the rest garbles the first record.
            notes += ("decrypted with an address that the telegram does not confirm",)
        telegram = _decode_content(frame, header, opened, formats, notes)
        if _is_garbled(telegram, opened):
            return _unread(frame, header, offset, _damaged(opened))
        return telegram
    # Old meters write anything into the configuration field, once called signature.
    if opened.doubt is not Doubt.NONE:
        found = read_records(data, offset) if row.content is Content.RECORDS else None
        if found is None:
            makes_sense = _fits(row.content, data[offset:], formats)
        else:
            makes_sense = is_credible(found, opened.doubt)
        if makes_sense:
            plain = Opened(Security.PLAIN, data=data, offset=offset)
            note = f"configuration field {header.configuration:04X}, yet not encrypted"
            return _decode_content(frame, header, plain, formats, (note,), found)
    return _unread(frame, header, offset, opened)


_HEADER_LENGTHS = {kind: kind.value for kind in HeaderKind}
_CONTENTS = (
    Content.RECORDS,
    Content.COMPACT,
    Content.FORMAT,
    Content.APPLICATION_ERROR,
    Content.ALARM,
)


def _named(frame: LongFrame, row: CiRow, whose: str = "") -> Telegram:
    """A telegram that is not decoded: its header, if it has one, and its bytes."""
    whole = len(frame.data) >= row.header.value
    header = decode_header(frame.data, row.header) if whole else None
    reason = f"{whose}CI {frame.ci:02X} ({row.name}) is not decoded"
    if frame.ci == CI_REVERSED_FIXED and not whose:
        reason += f": {_wanted(frame)}"
    return _unread(frame, header, 0, Opened(Security.PLAIN, reason=reason))


def _unread_fixed(frame: LongFrame) -> Telegram:
    """What is too short for the fixed data structure has no header that one could believe."""
    reason = f"CI {frame.ci:02X} (fixed data structure) is not decoded: {_wanted(frame)}"
    return _unread(frame, None, 0, Opened(Security.PLAIN, reason=reason), unreadable=True)


def _wanted(frame: LongFrame) -> str:
    return f"it wants {FIXED_LENGTH} bytes, but there are {len(frame.data)}"


def _unread(
    frame: LongFrame,
    header: Header | None,
    offset: int,
    opened: Opened,
    *,
    unreadable: bool = False,
) -> Telegram:
    return Telegram(
        frame.control,
        frame.address,
        frame.ci,
        header,
        errors=(RecordError(offset, opened.reason, frame.data[offset:]),),
        encryption=opened.encryption,
        security=opened.security,
        unreadable=unreadable,
    )


_REVERSED_NOTE = (
    "most significant byte first, a withdrawn variant; data are shown in the usual order"
)


def _decode_fixed(frame: LongFrame) -> Telegram:
    reverse = frame.ci == CI_REVERSED_FIXED
    header, records = decode_fixed(reversed_fixed(frame.data) if reverse else frame.data)
    notes = (_REVERSED_NOTE,) if reverse else ()
    return Telegram(frame.control, frame.address, frame.ci, header, records, notes=notes)


def _decode_reversed(frame: LongFrame) -> Telegram:
    """CI 76. DIB, VIB and LVAR say where data begin and end, in whichever order they stand."""
    data, offset = frame.data, HeaderKind.LONG.value
    if len(data) < offset:
        raise HeaderError(needed=offset, found=len(data), ci=frame.ci)
    header = decode_header(reversed_header(data), HeaderKind.LONG)
    found = decode_records(data, offset)
    usual = decode_records(b"".join(map(_in_usual_order, found.records)))
    return Telegram(
        frame.control,
        frame.address,
        frame.ci,
        header,
        usual.records,
        found.more_records_follow,
        found.manufacturer_data,
        found.errors + usual.errors,
        notes=(_REVERSED_NOTE,),
    )


def _in_usual_order(record: DataRecord) -> bytes:
    # The LVAR byte stands before its data in both orders.
    first = int(record.header.data_field is DataField.VARIABLE)
    return record.dib + record.vib + record.data[:first] + record.data[first:][::-1]


_CHECK_BYTES = 2  # fillers, with which every plaintext begins


def _content_offset(content: Content, opened: Opened) -> int:
    """Where the content begins. Records may have fillers before them, the other two may not."""
    if content is Content.RECORDS or opened.security is not Security.DECRYPTED:
        return opened.offset
    return opened.offset + _CHECK_BYTES


def _decode_content(
    frame: LongFrame,
    header: Header | None,
    opened: Opened,
    formats: Formats | None,
    notes: tuple[str, ...] = (),
    records: Records | None = None,
) -> Telegram:
    """The telegram, decrypted; ``records`` where they were read already."""
    content = ci_row(frame.ci).content
    data, offset = opened.data or b"", _content_offset(content, opened)
    counter = None if opened.counter is None else int.from_bytes(opened.counter, "little")
    found = Records(NO_RECORDS, (), None, False)
    error: ApplicationError | None = None
    alarm: bytes | None = None
    told: Format | None = None
    unreadable = False
    match content:
        case Content.RECORDS:
            found = read_records(data, offset) if records is None else records
            if formats is not None:
                formats.learn_from(found)
        case Content.COMPACT | Content.FORMAT:
            try:
                if content is Content.COMPACT:
                    full = expand(data[offset:], formats)
                    found = read_records(data[:offset] + full, offset)
                else:
                    told = decode_format(data[offset:])
                    if formats is not None:
                        formats.learn(told)
            except CompactError as reason:
                unreadable = True
                found = _nothing(offset, str(reason), data)
        case Content.ALARM:
            alarm = data[offset:]
            found = _nothing(offset, "alarm", data)
        case _:
            payload = data[offset:]
            error = ApplicationError(payload[0] if payload else None, payload[1:])
            found = _nothing(offset, str(error), data)
    if found.own_codes:
        found = without_false_values(found, None if header is None else header.address)
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
        told,
        unreadable,
    )


def _nothing(offset: int, reason: str, data: bytes) -> Records:
    return Records(NO_RECORDS, (RecordError(offset, reason, data[offset:]),), None, False)


def _is_garbled(telegram: Telegram, opened: Opened) -> bool:
    """Whether something is wrong within what was decrypted, and nobody vouches for the rest.

    One wrong bit of a ciphertext garbles the whole block, and a checksum of one byte lets one
    damaged telegram in 256 pass.
    """
    return (
        opened.security is Security.DECRYPTED
        and not opened.authentic
        and ci_row(telegram.ci).content is Content.RECORDS
        and any(opened.offset <= error.offset < opened.end for error in telegram.errors)
    )


def _damaged(opened: Opened) -> Opened:
    reason = "decrypted, but what comes out is no telegram: damaged, or the key does not fit"
    return Opened(Security.DAMAGED, opened.encryption, reason=reason)


def _fits(content: Content, data: bytes, formats: Formats | None) -> bool:
    """Whether a compact or format frame has the checksums that it should."""
    try:
        if content is Content.COMPACT:
            expand(data, formats)
        elif content is Content.FORMAT:
            decode_format(data)
        else:
            return False
    except CompactError:
        return False
    return True


def is_credible(found: Records, doubt: Doubt) -> bool:
    """Whether a meter wrote these records, or they are a ciphertext that happens to parse.

    One in nine sequences of random bytes reads to its end without an error. One in 5000 gives
    four records or more and nothing else than ordinary ones, which is asked for where the
    configuration field could mean encryption.
    """
    if found.errors:
        return False
    ordinary = sum(map(is_ordinary, found.records.headers, found.records.values))
    if doubt is Doubt.GRAVE:
        return ordinary >= 1 and 2 * ordinary >= len(found.records)
    return ordinary >= 4 and ordinary == len(found.records)
