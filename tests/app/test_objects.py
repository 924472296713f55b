"""What `check` foresees of each point, from the file, the ledger and the templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.app.objects import planned_objects
from bridge.config.load import load_text_with_warnings
from bridge.config.templates import names
from bridge.mbus.walk import decode_records
from bridge.points.known import known_records, to_json
from bridge.points.ledger import Feed, Ledger
from bridge.points.select import Selector
from bridge.units import Quantity

SITE = """\
device: {{instance: 5}}
bacnet: {{address: 10.0.0.1/8}}
buses:
  cellar:
    port: "tcp://127.0.0.1:9"
    meters:
      {meter}
"""


def foresee(meter: str, ledger: Ledger | None = None) -> tuple[dict[str, str], list[str]]:
    """The records of the meter's points, and the warnings without the place."""
    loaded = load_text_with_warnings(SITE.format(meter=meter), Path("site.yaml"))
    objects = planned_objects(loaded.site, ledger or Ledger(None), loaded.source)
    return (
        {each.point.name: each.record for each in objects if each.record},
        [f"{each.line} {each.message}; {each.remedy}" for each in loaded.source.found],
    )


def ledger_with(records: str) -> Ledger:
    """The ledger of a bridge to which meter m has sent this."""
    ledger = Ledger(None)
    known = known_records(decode_records(bytes.fromhex(records)).records)
    ledger.keep_sent("m", to_json(known))
    return ledger


def test_of_a_meter_that_never_answered_nothing_is_known() -> None:
    assert foresee("m: {address: 1, points: {e: {quantity: energy}}}") == ({}, [])


def test_what_the_meter_sent_last_says_which_record_each_point_has() -> None:
    ledger = ledger_with("0C 06 78 56 34 12   4C 06 01 00 00 00")
    points = "{e: {quantity: energy}, due: {quantity: energy, storage: 1}}"
    assert foresee(f"m: {{address: 1, points: {points}}}", ledger) == (
        {"m.e": "0C06", "m.due": "4C06"},
        [],
    )


def test_an_ambiguous_selector_is_a_warning_with_line_and_remedy() -> None:
    ledger = ledger_with("0C 06 78 56 34 12   04 06 01 00 00 00")
    assert foresee("m: {address: 1, points: {e: {quantity: energy}}}", ledger) == (
        {},
        [
            "7 names 2 records of this meter: 0C06 (energy, in Wh), 0406 (energy, in Wh), which "
            "differ in nothing but their bytes; write record: 0C06 or record: 0406 in place of "
            "quantity"
        ],
    )


def test_what_is_settled_is_not_in_doubt() -> None:
    ledger = ledger_with("0C 06 78 56 34 12   04 06 01 00 00 00")
    selector = Selector(quantity=Quantity.ENERGY).to_json()
    ledger.feed("m", "e", Feed(selector, "0406", 1, ("0C06",)))
    points = "{e: {quantity: energy}}"
    assert foresee(f"m: {{address: 1, points: {points}}}", ledger) == ({"m.e": "0406"}, [])


def test_a_missing_record_is_a_warning_that_names_the_closest() -> None:
    ledger = ledger_with("4C 06 01 00 00 00   04 13 01 00 00 00")
    _, (warning,) = foresee("m: {address: 1, points: {e: {quantity: energy}}}", ledger)
    assert warning == (
        "7 names no record of this meter; the closest is 4C06 (energy, storage 1, in Wh); write "
        "storage: 1 if 4C06 is meant, or remove the point"
    )


def test_a_key_in_a_unit_that_does_not_fit_needs_no_meter_to_be_seen() -> None:
    records, (warning,) = foresee("m: {address: 1, points: {e: {record: 0C06, unit: liters}}}")
    assert records == {"m.e": "0C06"}
    assert warning.startswith("7 its record is 0C06 (energy, in Wh), which cannot be said in lit")


@pytest.mark.parametrize("model", names())
def test_a_template_is_right_for_its_own_telegram(model: str) -> None:
    records, warnings = foresee(f"m: {{address: 1, model: {model}}}")
    assert records
    assert warnings == []


def test_a_point_beside_a_template_is_held_against_the_telegram_that_proves_it() -> None:
    points = "{e: {quantity: energy}, v: {quantity: volume, storage: 1, scale: 0.1}}"
    records, (warning,) = foresee(f"m: {{address: 1, model: itron-cyble, points: {points}}}")
    assert records["m.v"] == "4413"
    assert warning.startswith("7 names no record of the telegram that proves itron-cyble; it sends")


def test_what_the_meter_itself_sent_goes_before_the_template() -> None:
    ledger = ledger_with("04 15 01 00 00 00   44 13 01 00 00 00")
    records, warnings = foresee("m: {address: 1, model: itron-cyble}", ledger)
    assert records == {"m.volume": "0415", "m.volume-due-date": "4413"}
    # The template's own points are held against the meter too: at the line of the meter.
    assert [warning.partition(" names no")[0] for warning in warnings] == [
        "7 itron-cyble's point meter-time",
        "7 itron-cyble's point fabrication-number",
    ]


def test_a_ledger_that_another_version_wrote_says_nothing() -> None:
    ledger = Ledger(None)
    ledger.keep_sent("m", '{"records": "in a way of its own"}')
    assert foresee("m: {address: 1, points: {e: {quantity: energy}}}", ledger) == ({}, [])
