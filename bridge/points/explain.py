"""What is wrong with how a point names its record, in the words that `check` and the log share.

Each says what is wrong, which records come into question, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bridge.mbus.dif import Function
from bridge.points.known import Known, block_of
from bridge.points.reading import Fault
from bridge.points.select import Selector, Settled
from bridge.units import NO_UNITS, OFFERED, Quantity, Unit, convertible, default_unit, usual_unit

# How many records a message names.
_SHOWN = 4

METER = "this meter"


class Doubt(NamedTuple):
    """What is wrong; what would be right."""

    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


def explain(
    fault: Fault,
    selector: Selector,
    settled: Settled | None,
    sent: Sequence[Known],
    *,
    meter: str = METER,
) -> Doubt:
    """Why no record feeds a point: `Fault.RECORD_MISSING` or `Fault.AMBIGUOUS`.

    Args:
        fault: which of the two.
        selector: how the point names its record.
        settled: what fed it before, if anything did.
        sent: the records of the answer.
        meter: whose records they are, in words.
    """
    if fault is Fault.AMBIGUOUS:
        return _ambiguous(selector, settled, sent, meter)
    return _missing(selector, settled, sent, meter)


def _ambiguous(
    selector: Selector, settled: Settled | None, sent: Sequence[Known], meter: str
) -> Doubt:
    if settled is not None:
        block = block_of(settled.key)
        equals = sum(known.block == block for known in sent)
        if equals:
            before = "once" if settled.equals == 1 else f"{settled.equals} times"
            now = "once" if equals == 1 else f"{equals} times"
            return Doubt(
                f"names {settled.key}, which {meter} sent {before} and now sends {now}: nobody can "
                "say which of them it is",
                "compare them in `read` with the meter's display, and write "
                f"{_choice([known for known in sent if known.block == block])}"
                + (", or start the bridge again if that is right" if selector.key else ""),
            )
    fitting = [known for known in sent if selector.fits(known)]
    if settled is not None:
        fitting = [known for known in fitting if known.key not in settled.beside]
        gone = f"{meter} no longer sends {settled.key}, and {len(fitting)} others could be it"
    else:
        gone = f"names {len(fitting)} records of {meter}"
    difference = _difference(fitting)
    return Doubt(
        f"{gone}: {_listed(fitting)}{difference}",
        f"write {_choice(fitting)} in place of {_words_of(selector)}",
    )


def _difference(fitting: Sequence[Known]) -> str:
    if len({known.block for known in fitting}) == 1:
        return ", which differ in nothing but their order"
    if len({(known.identity, known.unit) for known in fitting}) == 1:
        return ", which differ in nothing but their bytes"
    return ""


def _missing(
    selector: Selector, settled: Settled | None, sent: Sequence[Known], meter: str
) -> Doubt:
    if settled is not None:
        what = f"{meter} no longer sends {settled.key}, which fed it"
    elif selector.key is not None:
        what = f"{meter} sends no record {selector.key}"
    elif selector.ordinal is not None and any(selector.fits(known) for known in sent):
        fitting = [known for known in sent if selector.fits(known)]
        return Doubt(
            f"names the record number {selector.ordinal} of those that fit, and {meter} sends "
            f"{len(fitting)}: {_listed(fitting)}",
            f"write {_choice(fitting)} in place of ordinal",
        )
    else:
        what = f"names no record of {meter}"
    if not sent:
        return Doubt(f"{what}: it sends none at all", "see with `read` what it says")
    near = _nearest(selector, settled, sent)
    if not near:
        quantities = list(dict.fromkeys(known.identity.quantity.value for known in sent))
        more = ", …" if len(quantities) > 2 * _SHOWN else ""
        return Doubt(
            f"{what}; it sends {', '.join(quantities[: 2 * _SHOWN])}{more}",
            "name one of its records, or remove the point",
        )
    best = near[0]
    return Doubt(
        f"{what}; the closest {'is' if len(near) == 1 else 'are'} {_listed(near)}",
        f"{_change(selector, best)} if {best.key} is meant, or remove the point",
    )


def _nearest(selector: Selector, settled: Settled | None, sent: Sequence[Known]) -> list[Known]:
    """The records that come closest, the closest first: they measure the same, at least."""
    quantity = selector.quantity
    vib = selector.vib
    key = selector.key or (settled.key if settled is not None else None)
    if quantity is None and key is not None:
        vib = Known(key, sent[0].identity, Unit.NONE, None).vib
    near: list[tuple[int, int, Known]] = []
    for place, known in enumerate(sent):
        if (quantity is not None and known.identity.quantity is quantity) or (
            # The VIF but for its power of ten, where the table has such: EN 13757-3, table 10.
            quantity is None and vib is not None and known.vib[:1] == vib[:1]
        ):
            near.append((len(_differing(selector, known)), place, known))
    return [known for _, _, known in sorted(near, key=lambda each: each[:2])][:_SHOWN]


def _differing(selector: Selector, known: Known) -> dict[str, str]:
    """What would have to be written for a selector to fit, key by key."""
    identity = known.identity
    differing: dict[str, str] = {}
    if selector.function not in (None, identity.function):
        differing["function"] = identity.function.value
    for word, wanted, there in (
        ("storage", selector.storage, identity.storage),
        ("tariff", selector.tariff, identity.tariff),
        ("subunit", selector.subunit, identity.subunit),
    ):
        if wanted not in (None, there):
            differing[word] = str(there)
    if selector.vib is None and (selector.modifiers or ()) != identity.modifiers:
        differing["modifiers"] = f"[{', '.join(identity.modifiers)}]"
    if selector.dib not in (None, known.dib):
        differing["dif"] = f'"{known.dib.hex().upper()}"'
    if selector.vib not in (None, known.vib):
        differing["vif"] = f'"{known.vib.hex().upper()}"'
    return differing


def _change(selector: Selector, known: Known) -> str:
    """What to write, and what to remove, so that the point names this record."""
    differing = _differing(selector, known)
    if selector.key is not None or not differing:
        return f"write record: {known.key}"
    usual = ("0", "[]", Function.INSTANTANEOUS.value)
    write = [f"{key}: {value}" for key, value in differing.items() if value not in usual]
    remove = [key for key, value in differing.items() if value in usual]
    parts = [f"write {', '.join(write)}"] if write else []
    parts += [f"remove {', '.join(remove)}"] if remove else []
    return " and ".join(parts)


def _listed(known: Sequence[Known]) -> str:
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(map(_described, known[:_SHOWN])) + more


def _described(known: Known) -> str:
    unit = f", in {known.unit}" if known.unit else ""
    return f"{known.key} ({known.identity.words()}{unit})"


def _choice(known: Sequence[Known]) -> str:
    keys = [f"record: {each.key}" for each in known[:_SHOWN]]
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} or {keys[-1]}"


def _words_of(selector: Selector) -> str:
    """The keys in the file by which the point names its record."""
    if selector.key is not None:
        return "the one there"
    words = ["quantity"] if selector.quantity is not None else []
    words += [
        word
        for word, value, usual in (
            ("storage", selector.storage, 0),
            ("tariff", selector.tariff, 0),
            ("subunit", selector.subunit, 0),
            ("function", selector.function, Function.INSTANTANEOUS),
            ("modifiers", selector.modifiers, None),
            ("dif", selector.dib, None),
            ("vif", selector.vib, None),
            ("ordinal", selector.ordinal, None),
        )
        if value not in (None, usual, ())
    ]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def can_be_said(unit: Unit, quantity: Quantity, offered: str) -> bool:
    """Whether a record's number can be offered in a unit.

    A bare count (a pulse adapter's, say) is in whatever unit the user says.
    """
    return convertible(unit, offered) or (unit is Unit.NONE and default_unit(quantity) == NO_UNITS)


def wrong_unit(known: Known, offered: str) -> Doubt:
    """A record whose unit cannot be turned into the point's."""
    usual = usual_unit(known.unit)
    others = [unit for unit in OFFERED if OFFERED[unit].name == OFFERED[usual].name]
    return Doubt(
        f"its record is {_described(known)}, which cannot be said in {offered}",
        "leave unit out" if usual == NO_UNITS else f"write unit: {' or '.join(others[:_SHOWN])}",
    )


def wrong_kind(known: Known, kind: str) -> Doubt:
    """A record that holds another kind of value than the point has."""
    return Doubt(
        f"its record {_described(known)} holds a {known.kind or 'row of bytes'}, and the point is "
        f"made for a {kind}",
        f"write record: {known.key} in place of what names it, or name another record",
    )
