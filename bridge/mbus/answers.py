"""Which telegrams of a recording are one answer (EN 13757-3, multi-telegram readout)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.mbus.readout import MAXIMUM_TELEGRAMS
from bridge.mbus.telegram import Header, Telegram


def to_answers(telegrams: Iterable[Telegram]) -> list[list[Telegram]]:
    """Telegrams of one recording in their order, those of one answer together.

    An answer goes on with the next telegram of the same meter as long as the meter says that more
    records follow, up to 16 telegrams. The access number stays or is one more. A telegram that
    repeats an earlier one, or has the records of the first and is not the last, is the beginning of
    another answer: meters are often recorded without what follows the first telegram.
    """
    answers: list[list[Telegram]] = []
    for telegram in telegrams:
        if answers and _goes_on(answers[-1], telegram):
            answers[-1].append(telegram)
        else:
            answers.append([telegram])
    return answers


def _goes_on(answer: Sequence[Telegram], telegram: Telegram) -> bool:
    before = answer[-1]
    return (
        before.more_records_follow
        and _holds_data(telegram)
        and len(answer) < MAXIMUM_TELEGRAMS
        and before.address == telegram.address
        and all(_is_of_one_meter(each, telegram) for each in answer)
        and _is_next(before.header, telegram.header)
        and not _begins_again(answer[0], telegram)
        and _without_access_number(telegram) not in map(_without_access_number, answer)
    )


def _holds_data(telegram: Telegram) -> bool:
    others = (telegram.format, telegram.application_error, telegram.alarm)
    return not telegram.from_master and all(each is None for each in others)


def _is_of_one_meter(one: Telegram, other: Telegram) -> bool:
    first, second = one.meter, other.meter
    if first is None or second is None:
        return True
    # Version and device type differ between the telegrams of some heat meters.
    return (first.identification, first.manufacturer) == (
        second.identification,
        second.manufacturer,
    )


def _is_next(before: Header | None, header: Header | None) -> bool:
    """By the access number, where both have one."""
    if before is None or header is None:
        return True
    return (header.access_number - before.access_number) % 256 <= 1


def _begins_again(first: Telegram, telegram: Telegram) -> bool:
    return (
        telegram.more_records_follow
        and bool(first.records)
        and [record.key for record in first.records] == [record.key for record in telegram.records]
    )


def _without_access_number(telegram: Telegram) -> Telegram:
    header = telegram.header
    return (
        telegram if header is None else telegram._replace(header=header._replace(access_number=0))
    )
