"""What a maker's own codes in a record mean, where that is known (see `bridge.mbus.makers`).

A standard decoder reads the number behind such codes and cannot know that one of them says that
there is none.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.makers import has_record_errors, own_vif, own_vifes
from bridge.mbus.record import DataRecord, RecordHeader, Records
from bridge.mbus.vif import EXACT, PLAIN_TEXT, split_vib
from bridge.mbus.vife import CODE, EXTENSION_TABLE, MANUFACTURER_SPECIFIC, RECORD_ERRORS
from bridge.units import Unit


class OwnMeaning(NamedTuple):
    """What the maker of a meter says of its own VIF or VIFEs, where that is known.

    ``name`` is empty where only VIFEs are the maker's. ``value`` is in ``unit``, and both are None
    where nobody says what the number means; ``invalid`` is why there is no value.
    """

    name: str
    unit: Unit | None
    value: Decimal | None
    invalid: str | None
    modifiers: tuple[str, ...]
    source: str


def own_meaning(record: DataRecord, address: SecondaryAddress | None) -> OwnMeaning | None:
    """What a meter's own codes mean; None where it has none in the record, or they are unknown."""
    vifes = _own_vifes(record.vib)
    if vifes is not None and (found := own_vifes(address, vifes)) is not None:
        return OwnMeaning("", None, None, _reason(found.error), found.modifiers, found.source)
    own = own_vif(address, record.vib)
    if own is None:
        return None
    value = record.value if isinstance(record.value, Decimal) and own.error is None else None
    modifiers = own.modifiers
    if own.bits and own.error is None:
        # Flags are no number: the pattern that would be the lowest one is as good as any.
        flags = int.from_bytes(record.data, "little")
        modifiers += tuple(name for n, name in enumerate(own.bits) if name and flags >> n & 1)
    if own.exponent is None:
        value = None
    elif value is not None:
        value = EXACT.scaleb(value, own.exponent)
    return OwnMeaning(own.name, own.unit, value, _reason(own.error), modifiers, own.source)


def without_false_values(found: Records, address: SecondaryAddress | None) -> Records:
    """The records, without the numbers that the maker's own codes declare to be none."""
    if not found.own_codes or not has_record_errors(address):
        return found
    reasons = {
        place: reason
        for place, header in enumerate(found.records.headers)
        if header.own_codes and (reason := _own_error(header, address)) is not None
    }
    return found._replace(records=found.records.without(reasons)) if reasons else found


def _own_error(header: RecordHeader, address: SecondaryAddress | None) -> str | None:
    vifes = _own_vifes(header.vib)
    own = own_vif(address, header.vib) if vifes is None else own_vifes(address, vifes)
    return None if own is None else _reason(own.error)


def _reason(error: int | None) -> str | None:
    if error is None:
        return None
    return RECORD_ERRORS.get(error, f"reserved record error {error:02X}")


def _own_vifes(vib: bytes) -> bytes | None:
    """The VIFEs behind a VIFE 7F; None where there is no such VIFE."""
    if not vib or vib[0] & CODE in (PLAIN_TEXT, MANUFACTURER_SPECIFIC):
        return None
    _, vifes = split_vib(vib)
    place = 0
    while place < len(vifes):
        code = vifes[place] & CODE
        if code == MANUFACTURER_SPECIFIC:
            return vifes[place + 1 :]
        place += 2 if code == EXTENSION_TABLE else 1
    return None
