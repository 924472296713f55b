"""Which data record feeds which point.

The user names a record by what it says: quantity, function, storage number, tariff, subunit, and
the modifiers of its VIFEs. Against the first whole answer this comes down to one record, or it is
a fault and never a guess. From then on the point is fed by that record's key (see `known`): a
record that comes later and fits as well neither takes its place nor puts it in doubt.

When a second answer has the key as well, it goes into the ledger, beside the points that were
found, and a restart maps the same. What the user wrote is kept with it: another selector is held
against the meter anew. A key that the user wrote (``record: 0C06``) stands in the file, and
nowhere else.

Only when the key is missing the selector is asked again. A meter that changed its range or data
field (0C06 to 0C07) has one other record that fits: the point moves. A record that was sent beside
the old one is another one and never it.

Where a meter sends equal records, the key counts them, and the number of them belongs to what is
settled: if one goes, or one more comes, nobody can say which is whose.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.mbus.dif import Function
from bridge.points.known import Identity, Known, block_of, ordinal_of
from bridge.points.reading import Fault
from bridge.units import Quantity, Unit

# What must not be offered to everybody on the network.
SECRET_QUANTITIES = frozenset(
    {
        Quantity.PASSWORD,
        Quantity.SECURITY_KEY,
        Quantity.ACCESS_CODE_USER,
        Quantity.ACCESS_CODE_OPERATOR,
        Quantity.ACCESS_CODE_SYSTEM_OPERATOR,
        Quantity.ACCESS_CODE_DEVELOPER,
    }
)

_MEANINGLESS = frozenset({Quantity.UNKNOWN, Quantity.MANUFACTURER_SPECIFIC, Quantity.ANY})


@dataclass(frozen=True, slots=True)
class Selector:
    """How a point names its record; None means that it does not matter.

    ``modifiers`` None takes only a record without any, unless ``vib`` says them: a limit, or the
    count of its exceeds, must never stand in for the value itself.

    ``dib`` and ``vib`` are the bytes themselves, for records that no words describe. ``ordinal``
    counts from 1 among the records that fit, in the order of the answer, while none is settled.
    ``key`` names the record outright, and nothing else matters then.
    """

    quantity: Quantity | None = None
    function: Function | None = Function.INSTANTANEOUS
    storage: int | None = 0
    tariff: int | None = 0
    subunit: int | None = 0
    modifiers: tuple[str, ...] | None = None
    unit: Unit | None = None
    unit_text: str | None = None
    dib: bytes | None = None
    vib: bytes | None = None
    ordinal: int | None = None
    key: str | None = None

    @classmethod
    def of(cls, identity: Identity) -> Selector:
        """The selector of a point that was found: all that its record says."""
        return cls(
            quantity=identity.quantity,
            function=identity.function,
            storage=identity.storage,
            tariff=identity.tariff,
            subunit=identity.subunit,
            modifiers=identity.modifiers,
            unit=identity.unit,
            unit_text=identity.unit_text,
        )

    def fits(self, known: Known) -> bool:
        if self.key is not None:
            return known.key == self.key
        identity = known.identity
        wanted = self.modifiers
        if wanted is None and self.vib is None:
            wanted = ()
        return (
            self.quantity in (None, identity.quantity)
            and self.storage in (None, identity.storage)
            and self.tariff in (None, identity.tariff)
            and wanted in (None, identity.modifiers)
            and self.function in (None, identity.function)
            and self.subunit in (None, identity.subunit)
            and self.unit in (None, identity.unit)
            and self.unit_text in (None, identity.unit_text)
            and (self.dib is None or self.dib == known.dib)
            and (self.vib is None or self.vib == known.vib)
        )

    def to_json(self) -> str:
        """What the selector says, the same text for the same selector; defaults are left out."""
        usual = Selector()
        fields = ((name, getattr(self, name)) for name in self.__slots__)
        return json.dumps(
            {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in fields
                if value != getattr(usual, name)
            },
            sort_keys=True,
        )


class Settled(NamedTuple):
    """The record that feeds a point.

    ``equals`` is how many records with its DIB and VIB the meter sends. ``beside`` are the keys of
    others that fit the selector as well and were sent in one answer with it.
    """

    key: str
    equals: int = 1
    beside: frozenset[str] = frozenset()


def settle(selector: Selector, sent: Sequence[Known]) -> Settled | Fault:
    """The one record that a selector names, of a point that has none yet, or why there is none."""
    fitting = [known for known in sent if selector.fits(known)]
    if not fitting or (selector.ordinal is not None and selector.ordinal > len(fitting)):
        return Fault.RECORD_MISSING
    if selector.ordinal is None and len(fitting) > 1:
        return Fault.AMBIGUOUS
    return settle_on(fitting[(selector.ordinal or 1) - 1], selector, sent)


def settle_on(mine: Known, selector: Selector, sent: Sequence[Known]) -> Settled:
    """``mine`` as the record that feeds a point, among all that the meter sends."""
    block = mine.block
    equals = sum(known.block == block for known in sent)
    return Settled(mine.key, equals, _others(block, selector, sent))


def hold(settled: Settled, selector: Selector, sent: Sequence[Known]) -> Settled | Fault:
    """What feeds the point now: the settled record, or the one that it has become, or why none."""
    block = block_of(settled.key)
    beside = settled.beside | _others(block, selector, sent)
    equals = sum(known.block == block for known in sent)
    if equals:
        if equals != settled.equals:
            return Fault.AMBIGUOUS
        return settled if beside == settled.beside else settled._replace(beside=beside)
    candidates = _candidates(settled, selector, sent)
    if not candidates:
        return Fault.RECORD_MISSING
    if len(candidates) != settled.equals or len({known.block for known in candidates}) > 1:
        return Fault.AMBIGUOUS
    mine = candidates[ordinal_of(settled.key) - 1]
    beside = (settled.beside | _others(mine.block, selector, sent)) - {mine.key}
    return Settled(mine.key, settled.equals, beside)


def _others(block: str, selector: Selector, sent: Sequence[Known]) -> frozenset[str]:
    return frozenset(known.key for known in sent if selector.fits(known) and known.block != block)


def _candidates(settled: Settled, selector: Selector, sent: Sequence[Known]) -> list[Known]:
    return [known for known in sent if selector.fits(known) and known.key not in settled.beside]


class Found(NamedTuple):
    """A record worth offering, with the name and the selector that a point for it has."""

    name: str
    selector: Selector
    settled: Settled
    known: Known


def claimed_by(settled: Settled, selector: Selector, sent: Sequence[Known]) -> set[str]:
    """The keys of an answer that are, or could be, a settled point's."""
    now = hold(settled, selector, sent)
    if isinstance(now, Settled):
        return {now.key}
    # As long as it is open which record is whose, none of them is a new one.
    block = block_of(settled.key)
    mine = {known.key for known in sent if known.block == block}
    return mine.union(known.key for known in _candidates(settled, selector, sent))


def find(
    sent: Sequence[Known],
    taken: Collection[str] = (),
    claimed: Collection[str] = (),
    *,
    all_storages: bool,
) -> list[Found]:
    """The points that a meter's answer offers by itself, and that are not known yet.

    Args:
        sent: the records of one whole answer.
        taken: the names of points that were found before.
        claimed: the keys that are theirs; see `claimed_by`.
        all_storages: also those of the past (storage number above 0).
    """
    found: list[Found] = []
    names = set(taken)
    for known in _worth_offering(sent, all_storages=all_storages):
        if known.kind is None or known.key in claimed:
            continue
        selector = Selector.of(known.identity)
        name = _free_name(known.identity.slug(), names)
        names.add(name)
        found.append(Found(name, selector, settle_on(known, selector, sent), known))
    return found


def _worth_offering(sent: Iterable[Known], *, all_storages: bool) -> Iterable[Known]:
    """The records worth offering, together those that say the same."""
    groups: dict[Identity, list[Known]] = {}
    for known in sent:
        quantity = known.identity.quantity
        if quantity in _MEANINGLESS or quantity in SECRET_QUANTITIES:
            continue
        if known.identity.storage and not all_storages:
            continue
        groups.setdefault(known.identity, []).append(known)
    return itertools.chain.from_iterable(groups.values())


def _free_name(slug: str, taken: Collection[str]) -> str:
    names = (slug if n == 1 else f"{slug}-{n}" for n in itertools.count(1))
    return next(name for name in names if name not in taken)
