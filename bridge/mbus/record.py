"""What a data record is (EN 13757-3, 6.2), and what a walk over a telegram finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, overload

from bridge.mbus.dif import DataField, Function
from bridge.mbus.values import Value, bcd_digits
from bridge.mbus.vif import Coding, Vib
from bridge.units import Quantity, Unit


class RecordHeader(NamedTuple):
    """A data record without its data: what DIB and VIB say (EN 13757-3, 6.2: DRH).

    ``dib`` and ``vib`` are the bytes as they came. ``ordinal`` counts records with the same DIB and
    VIB in one telegram, from 1. ``own_codes`` says that codes of the maker's own are among them.
    ``step`` is the least by which an integer or BCD value can change,
    in ``meaning.unit``; a real, a date or a text has no such thing.
    """

    dib: bytes
    vib: bytes
    data_field: DataField
    function: Function
    storage: int
    tariff: int
    subunit: int
    meaning: Vib
    ordinal: int = 1
    step: Decimal | None = None
    own_codes: bool = False

    @property
    def key(self) -> str:
        """DIB and VIB in hex, as ``0C06``; the second equal one in a telegram is ``0C06#2``.

        A counter of the fixed data structure has no DIB, so its one byte does not say whether it is
        a stored one: ``E9`` is the present one, ``E9/1`` has storage number 1.
        """
        text = (self.dib + self.vib).hex().upper()
        if not self.dib and self.storage:
            text += f"/{self.storage}"
        return text if self.ordinal == 1 else f"{text}#{self.ordinal}"


class DataRecord(NamedTuple):
    """One data record: one value of a telegram.

    ``data`` are its bytes as they came; of variable length, they begin with the LVAR byte.
    ``value`` is in ``unit``, which has no power of ten (Wh, m3, s); it is None where the meter has
    none, and then ``invalid`` says why. Bytes that have no other meaning (containers, profiles)
    stay bytes, as on the wire. ``header`` is the same for all records of this kind: a meter's next
    answer brings new data under the same headers.
    """

    header: RecordHeader
    data: bytes
    value: Value
    invalid: str | None = None

    @property
    def dib(self) -> bytes:
        """DIF and DIFEs, as they came."""
        return self.header.dib

    @property
    def vib(self) -> bytes:
        """VIF and VIFEs, as they came, with the text of a plain-text VIF."""
        return self.header.vib

    @property
    def function(self) -> Function:
        """Instantaneous value, maximum, minimum, or value during an error state."""
        return self.header.function

    @property
    def storage(self) -> int:
        """The storage number, 0 (the present) to 2 ** 41 - 1."""
        return self.header.storage

    @property
    def tariff(self) -> int:
        """The tariff, 0 (the total) to 2 ** 20 - 1."""
        return self.header.tariff

    @property
    def subunit(self) -> int:
        """The subunit of the device, 0 to 1023."""
        return self.header.subunit

    @property
    def quantity(self) -> Quantity:
        """What is measured, as the VIF says."""
        return self.header.meaning.quantity

    @property
    def unit(self) -> Unit:
        """The unit of ``value``."""
        return self.header.meaning.unit

    @property
    def unit_text(self) -> str:
        """The text of a plain-text VIF that names no unit of ours."""
        return self.header.meaning.unit_text

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The labels of the combinable VIFEs, in their order."""
        return self.header.meaning.modifiers

    @property
    def ordinal(self) -> int:
        """Which of the records with this DIB and VIB in the telegram, from 1."""
        return self.header.ordinal

    @property
    def step(self) -> Decimal | None:
        """The least by which the value can change, in ``unit``; None where that is not known."""
        return self.header.step

    @property
    def key(self) -> str:
        """DIB and VIB in hex, as ``0C06``; the second equal one in a telegram is ``0C06#2``.

        That of a counter of the fixed data structure is ``E9``, or ``E9/1`` where it is stored.
        """
        return self.header.key

    @property
    def text(self) -> str | None:
        """A text, or the digits of a number that names something, with its leading zeros.

        None where the value is neither: a measured value, a date, bytes.
        """
        if isinstance(self.value, str):
            return self.value
        meaning = self.header.meaning
        if not isinstance(self.value, Decimal) or meaning.unit:
            return None
        if meaning.coding not in (Coding.UNSIGNED, Coding.ADDRESS):
            return None
        digits = bcd_digits(self.header.data_field, self.data)
        return digits if digits is not None and digits.isdecimal() else str(self.value)

    @property
    def summer_time(self) -> bool | None:
        """Whether the meter's clock shows summer time (types F and I); None for other data."""
        coding, data = self.header.meaning.coding, self.data
        if self.value is None or coding is not Coding.TIME_POINT:
            return None
        if self.header.data_field is DataField.INT32:
            return bool(data[1] & 0x80)
        if self.header.data_field is DataField.INT48:
            return bool(data[0] & 0x40)
        return None


class DataRecords(Sequence[DataRecord]):
    """The data records of a telegram, in columns: a `DataRecord` is made when one is looked at.

    ``headers``, ``values`` and ``reasons`` (why there is no value) are of one length. Who wants
    some values only, of a telegram whose headers are known, need not look at any record.
    """

    __slots__ = ("_content", "_cut", "_records", "headers", "reasons", "values")

    def __init__(
        self,
        headers: tuple[RecordHeader, ...],
        values: tuple[Value, ...],
        reasons: tuple[str | None, ...],
        content: bytes,
        cut: Callable[[bytes], tuple[bytes, ...]],
    ) -> None:
        """``cut`` gives the data of each record out of ``content``."""
        self.headers = headers
        self.values = values
        self.reasons = reasons
        self._content = content
        self._cut = cut
        self._records: tuple[DataRecord, ...] | None = None

    @classmethod
    def of(cls, records: Iterable[DataRecord]) -> DataRecords:
        """Records that were made one by one."""
        made = tuple(records)
        data = tuple(record.data for record in made)
        return cls(
            tuple(record.header for record in made),
            tuple(record.value for record in made),
            tuple(record.invalid for record in made),
            b"",
            lambda _: data,
        )

    def without(self, reasons: Mapping[int, str]) -> DataRecords:
        """The same records, but at these places no value, with the reason."""
        return DataRecords(
            self.headers,
            tuple(None if n in reasons else value for n, value in enumerate(self.values)),
            tuple(reasons.get(n, reason) for n, reason in enumerate(self.reasons)),
            self._content,
            self._cut,
        )

    def _all(self) -> tuple[DataRecord, ...]:
        if self._records is None:
            data = self._cut(self._content)
            rows = zip(self.headers, data, self.values, self.reasons, strict=True)
            self._records = tuple(DataRecord(*row) for row in rows)
        return self._records

    def __len__(self) -> int:
        return len(self.headers)

    def __iter__(self) -> Iterator[DataRecord]:
        return iter(self._all())

    @overload
    def __getitem__(self, place: int) -> DataRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[DataRecord]: ...
    def __getitem__(self, place: int | slice) -> DataRecord | Sequence[DataRecord]:
        return self._all()[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DataRecords | tuple):
            return self._all() == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"DataRecords({list(self._all())!r})"


NO_RECORDS = DataRecords.of(())


@dataclass(frozen=True, slots=True)
class RecordError:
    """Bytes of a telegram that could not be read.

    ``offset`` counts from the first byte after the CI field, ``data`` are the bytes as they came.
    """

    offset: int
    reason: str
    data: bytes

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}: {self.data.hex().upper()}"


class Records(NamedTuple):
    """What a walk found. ``manufacturer_data`` is None where there is no DIF 0F or 1F.

    ``own_codes`` says that some record has codes of the maker's own.
    """

    records: DataRecords
    errors: tuple[RecordError, ...]
    manufacturer_data: bytes | None
    more_records_follow: bool
    own_codes: bool = False
