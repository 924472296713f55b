"""What is wrong with how a point names its record, in the words that `check` and the log share.

Each says what is wrong, which records come into question, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bridge.mbus.dif import Function
from bridge.mbus.profile import FORWARD, INVERSE, REGISTERS
from bridge.points.known import Identity, Known, block_of, bytes_of, imagine
from bridge.points.reading import Fault
from bridge.points.select import Selector, Settled
from bridge.units import NO_UNITS, OFFERED, Quantity, Unit, convertible, default_unit, usual_unit

# How many records a message names.
_SHOWN = 4

# The keys that say what a value is. Without them a maximum would be a present value, and a limit
# the value that it limits.
_NATURE = ("function", "modifiers")

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
    undecoded: str = "",
) -> Doubt:
    """Why no record feeds a point: `Fault.RECORD_MISSING` or `Fault.AMBIGUOUS`.

    Args:
        fault: which of the two.
        selector: how the point names its record.
        settled: what fed it before, if anything did.
        sent: the records of the answer.
        meter: whose records they are, in words.
        undecoded: what of the answer could not be decoded, in words: a record that is missing may
            be in there.
    """
    if fault is Fault.AMBIGUOUS:
        return _ambiguous(selector, settled, sent, meter)
    doubt, change = _missing(selector, settled, sent, meter)
    if not undecoded:
        return doubt
    perhaps = f"perhaps it is in what could not be decoded: {undecoded}"
    # What fed a point for long is hardly another one now.
    return Doubt(
        doubt.message, f"{perhaps}; or {change}" if change and settled is None else perhaps
    )


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
) -> tuple[Doubt, str]:
    """The doubt, and what of its remedy is to be written for the closest record, if anything."""
    if settled is not None:
        what = f"{meter} no longer sends {settled.key}, which fed it"
    elif selector.key is not None:
        what = f"{meter} sends no record {selector.key}"
    elif selector.ordinal is not None and any(selector.fits(known) for known in sent):
        fitting = [known for known in sent if selector.fits(known)]
        change = f"write {_choice(fitting)} in place of ordinal"
        return Doubt(
            f"names the record number {selector.ordinal} of those that fit, and {meter} sends "
            f"{len(fitting)}: {_listed(fitting)}",
            change,
        ), change
    else:
        what = f"names no record of {meter}"
    if not sent:
        return Doubt(f"{what}: it sends none at all", "see with `read` what it says"), ""
    near = _nearest(selector, settled, sent)
    if not near:
        quantities = list(dict.fromkeys(known.identity.quantity.value for known in sent))
        more = ", …" if len(quantities) > 2 * _SHOWN else ""
        return Doubt(
            f"{what}; it sends {', '.join(quantities[: 2 * _SHOWN])}{more}",
            "name one of its records, or remove the point",
        ), ""
    best = near[0]
    message = f"{what}; the closest {'is' if len(near) == 1 else 'are'} {_listed(near)}"
    if any(key in _usual(_differing(_wanted(selector), best)) for key in _NATURE):
        return Doubt(message, "name one of its records, or remove the point"), ""
    change = f"{_change(selector, best)} if {best.key} is meant"
    return Doubt(message, f"{change}, or remove the point"), change


def _wanted(selector: Selector) -> Selector:
    """The selector in words: a key says them by its DIB and VIB."""
    record = None if selector.key is None else imagine(bytes_of(selector.key))
    return selector if record is None else Selector.of(Identity.of(record))


def _nearest(selector: Selector, settled: Settled | None, sent: Sequence[Known]) -> list[Known]:
    """The records that come closest, the closest first: they measure the same, at least."""
    quantity = selector.quantity
    vib = selector.vib
    key = selector.key or (settled.key if settled is not None else None)
    if quantity is None and key is not None:
        vib = Known(key, sent[0].identity, Unit.NONE, None).vib
    wanted = _wanted(selector)
    near: list[tuple[int, int, int, Known]] = []
    for place, known in enumerate(sent):
        if (quantity is not None and known.identity.quantity is quantity) or (
            # The VIF but for its power of ten, where the table has such: EN 13757-3, table 10.
            quantity is None and vib is not None and known.vib[:1] == vib[:1]
        ):
            differing = _differing(wanted, known)
            other_nature = sum(key in differing for key in _NATURE)
            near.append((other_nature, len(differing), place, known))
    return [known for *_, known in sorted(near, key=lambda each: each[:3])][:_SHOWN]


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
    remove = _usual(differing)
    write = [f"{key}: {value}" for key, value in differing.items() if key not in remove]
    parts = [f"write {', '.join(write)}"] if write else []
    parts += [f"remove {', '.join(remove)}"] if remove else []
    return " and ".join(parts)


def _usual(differing: Mapping[str, str]) -> list[str]:
    """The keys whose value would be the usual one, which is written by leaving the key out."""
    usual = ("0", "[]", Function.INSTANTANEOUS.value)
    return [key for key, value in differing.items() if value in usual]


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


def wrong_kind(known: Known, kind: str, sent: Sequence[Known] = ()) -> Doubt:
    """A record that holds another kind of value than the point has; ``sent`` is all there are."""
    if known.kind is None:
        base = _base(known, kind, sent)
        return Doubt(
            f"its record {_described(known)} holds a row of bytes: a profile or a container cannot "
            "be a point",
            f"write record: {base.key} for {_described(base)}"
            if base is not None
            else "name another record, or remove the point",
        )
    return Doubt(
        f"its record {_described(known)} holds a {known.kind}, and the point is made for a {kind}",
        f"write record: {known.key} in place of what names it, or name another record",
    )


def _base(known: Known, kind: str, sent: Sequence[Known]) -> Known | None:
    """The record with the value that a profile belongs to, if the meter sends it."""
    profiles = {FORWARD, INVERSE, REGISTERS}
    modifiers = tuple(each for each in known.identity.modifiers if each not in profiles)
    wanted = replace(known.identity, modifiers=modifiers)
    return next((each for each in sent if each.identity == wanted and each.kind == kind), None)
