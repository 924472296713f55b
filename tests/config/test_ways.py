"""How meters are read, as the file says it: what is right, what is wrong, what is doubtful."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.config import billing, values, ways
from bridge.config.billing import Occasion, Period
from bridge.config.errors import ConfigError, Problem
from bridge.config.load import load_text, load_text_with_warnings
from bridge.config.model import Bus, Meter
from bridge.config.templates import template
from bridge.config.timing import ask_time
from bridge.config.ways import Preparation, Step, WakeUp

HERE = Path("/etc/bridge/site.yaml")


def site(*meters: str, bus: str = "{}", port: str = "/dev/ttyUSB0", more: str = "") -> str:
    """Bus keys from line 6, meters from the line behind them."""
    lines = "".join(f"      {meter}\n" for meter in meters)
    keys = "" if bus == "{}" else f"    {bus}\n"
    return (
        f"device: {{instance: 1}}\n{more}bacnet: {{address: 192.168.1.10/24}}\nbuses:\n  b:\n"
        f"    port: {port}\n{keys}    meters:\n{lines}"
    )


def problem_of(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load_text(text, HERE)
    (problem,) = caught.value.problems
    return problem


def warnings_of(text: str) -> list[tuple[int, str, str]]:
    warnings = load_text_with_warnings(text, HERE).warnings
    return [(p.line, p.key.removeprefix("buses.b."), p.message) for p in warnings]


def meter_of(keys: str, *, bus: str = "{}") -> tuple[Bus, Meter]:
    found = load_text(site(f"m: {keys}", bus=bus), HERE).buses["b"]
    return found, found.meters["m"]


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ways.Gap, "15m", 900.0),
        (ways.Gap, "0s", 0.0),
        (ways.Gap, "0", 0.0),
        (values.Keep, "400d", 34_560_000.0),
        (values.Keep, "0", 0.0),
        (values.FileSize, "1GB", 10**9),
        (values.FileSize, "1.5 GB", 1_500_000_000),
        (ways.Byte, "55", 0x55),
        (ways.Byte, "00", 0),
        (ways.Byte, "fe", 0xFE),
        (ways.Fabrication, "01234567", "01234567"),
        (ways.Fabrication, "1234ffff", "1234FFFF"),
        (ways.Size, "2.5", Decimal("2.5")),
        (ways.Telegrams, "all", "all"),
        (ways.Telegrams, ["3", "1", "3"], (1, 3)),
        (
            ways.Before,
            ["application-reset", "select 50", "data 08 13", "raw 107B017C16"],
            (
                Preparation(Step.APPLICATION_RESET),
                Preparation(Step.SELECT, b"\x50"),
                Preparation(Step.DATA, b"\x08\x13"),
                Preparation(Step.RAW, bytes.fromhex("10 7B 01 7C 16")),
            ),
        ),
        (billing.When, "hourly 00", Occasion(Period.HOURLY)),
        (billing.When, "hourly :15", Occasion(Period.HOURLY, datetime.time(0, 15))),
        (billing.When, "daily 0:05", Occasion(Period.DAILY, datetime.time(0, 5))),
        (billing.When, "weekly Sunday 23:59", Occasion(Period.WEEKLY, datetime.time(23, 59), 1, 6)),
        (billing.When, "monthly 31 00:00", Occasion(Period.MONTHLY, day=31)),
        (billing.When, "yearly 02-29 12:00", Occasion(Period.YEARLY, datetime.time(12), 29, 0, 2)),
        (billing.Freeze, "standard", "standard"),
        (billing.Freeze, "none", "none"),
        (billing.Freeze, "48 FE 0B", b"\x48\xfe\x0b"),
    ],
)
def test_what_is_right_is_read(kind: Any, text: object, value: object) -> None:
    assert read(kind, text) == value
    # What was read can be read again: models are made from values, too.
    assert read(kind, value) == value


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (ways.Gap, "15", "write 15s for seconds or 15m for minutes"),
        (ways.Pause, "11s", "choose 0s to 10s"),
        (ways.WakeTime, "10.1s", "choose 10ms to 10s"),
        (ways.WakeTime, "0s", "too short"),
        (values.FileSize, "1000000000", "has no unit"),
        (values.FileSize, "1 GiB", "write 1GB"),
        (values.FileSize, "500mb", "write 500MB"),
        (values.FileSize, "5G", "write 5GB"),
        (values.FileSize, "large", "like 500MB or 1GB"),
        (values.FileSize, "5MB", "choose 10MB to 1TB"),
        (values.FileSize, "2TB", "choose 10MB to 1TB"),
        (ways.Byte, "0x55", "write two hex digits: 55"),
        (ways.Byte, "5", "write two hex digits: 05"),
        (ways.Byte, "FEH", "write two hex digits: FE"),
        (ways.Byte, "85 ", "write two hex digits, like 55"),
        (ways.Byte, "555", "write two hex digits, like 55"),
        (ways.Byte, "on", "write two hex digits, like 55"),
        (ways.Fabrication, "1234567", '"01234567"'),
        (ways.Fabrication, "ABCDEFGH", "eight digits"),
        (ways.Size, "0", "above 0"),
        (ways.Size, "2,5", "write a point: 2.5"),
        (ways.Telegrams, [], "no telegram is left"),
        (ways.Telegrams, ["0"], "they count from 1 to 16"),
        (ways.Telegrams, ["17"], "they count from 1 to 16"),
        (ways.Telegrams, ["first"], "they count from 1 to 16"),
        (ways.Telegrams, "1", "write [1]"),
        (ways.Telegrams, "none", "write all, or their numbers"),
        (ways.Before, "application-reset", "write [application-reset]"),
        (ways.Before, {"select": "50"}, "a group of keys stands where a list belongs"),
        (ways.Before, [{"select": "50"}], 'write it as one text: "select 50"'),
        (ways.Before, ["select"], 'select lacks its subcode; write it in hex behind it: "select'),
        (ways.Before, ["select 5"], 'write two hex digits a byte: "select 50"'),
        (ways.Before, ["select 0x50"], 'write two hex digits a byte: "select 50"'),
        (ways.Before, ["select 5050"], "it takes 1 at most"),
        (ways.Before, ["data"], "data lacks its bytes"),
        (ways.Before, ["raw hello"], 'write two hex digits a byte: "raw 107B017C16"'),
        (ways.Before, ["raw " + "00" * 262], "it takes 261 at most"),
        (ways.Before, ["reset"], "choose application-reset, select, data or raw"),
        (ways.Before, ["application-reset 50"], '"select 50" for a reset with subcode'),
        (ways.Before, ["10 7B 01 7C 16"], 'write "raw 10 7B 01 7C 16"'),
        (ways.Before, ["select 50"] * 9, "8 are the most"),
        (billing.When, "", "is no time of billing"),
        (billing.When, "sometimes", '"monthly 1 00:00" or "yearly 01-01 00:00"'),
        (billing.When, "montly 1 00:00", "did you mean monthly?"),
        (billing.When, "monthly 00:00", 'write it like "monthly 1 00:00"'),
        (billing.When, "monthly 0 00:00", "write 1 to 31"),
        (billing.When, "monthly 32 00:00", "write 1 to 31"),
        (billing.When, "monthly last 00:00", "write 31: a shorter month has its last day"),
        (billing.When, "daily 24:00", "write 00:00 to 23:59"),
        (billing.When, "daily 0", "is no time of day"),
        (billing.When, "hourly 60", "write 00 to 59"),
        (billing.When, "hourly 00:00", "is no minute"),
        (billing.When, "weekly 1 00:00", 'write it like "weekly mon 00:00"'),
        (billing.When, "weekly mun 00:00", "did you mean"),
        (billing.When, "yearly 31-12 00:00", "the month goes first: 12-31"),
        (billing.When, "yearly 02-30 00:00", "is no day of the year"),
        (billing.When, "yearly 1 00:00", "write month and day"),
        (billing.Freeze, "yes", 'write standard, none, or the bytes of a record in hex: "48FE0B"'),
        (billing.Freeze, "48FE0", "nothing that can be broadcast"),
        (billing.Freeze, "00" * 253, "write 252 at most"),
        (ways.NkeWord, "allways", "did you mean always?"),
        (ways.PriorityWord, "low", "choose normal or high"),
        (ways.ConnectionWord, "keep", "choose hold or release"),
        (ways.OnExchangeWord, "refuse", "choose accept or hold"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(kind: Any, text: object, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(kind, text)
    (error,) = caught.value.errors()
    assert error["type"] == "configuration"
    assert says in error["msg"]


def test_a_bare_byte_is_hex_whatever_yaml_would_make_of_it() -> None:
    for text, value in (("55", 0x55), ("00", 0), ("010", None), ("1E", 0x1E), ("0b1", None)):
        keys = f"{{address: 1, wake_up: {{byte: {text}}}}}"
        if value is None:
            assert problem_of(site(f"m: {keys}")).key == "buses.b.meters.m.wake_up.byte"
        else:
            bus, meter = meter_of(keys)
            assert bus.wake_up_of(meter) == WakeUp(byte=value)


def test_words_that_yaml_would_make_something_else_of_stay_what_they_are() -> None:
    bus, meter = meter_of(
        "{secondary: 01234567, fabrication: 07654321, telegrams: [1, 3], before: [select 50]}",
        bus="billing: {at: hourly 00, freeze: 480E13}",
    )
    assert meter.fabrication == "07654321"
    assert bus.billing is not None
    assert bus.billing.freeze == bytes.fromhex("48 0E 13"), "no power of ten"
    assert meter.before == (Preparation(Step.SELECT, b"\x50"),)
    (problem,) = [problem_of(site("m: {address: 1}", bus="connection: on"))]
    assert problem.message == "on is no way to use a port"


@pytest.mark.parametrize(
    ("wake_up", "message", "remedy"),
    [
        ("{for: 11s}", "11s is too long", "choose 10ms to 10s"),
        ("{duration: 2s}", "there is no such key", "did you mean `for`?"),
        ("{parity: odd}", "odd is no parity", "choose even or none"),
        ("{byt: 55}", "there is no such key", "did you mean `byte`?"),
        ("yes", "yes is no wake-up", "write none, or {byte: 55, for: 2.2s}"),
        ("[55]", "a list is no wake-up", "write none, or {byte: 55, for: 2.2s}"),
    ],
)
def test_a_wake_up_that_is_wrong_is_said_where_it_stands(
    wake_up: str, message: str, remedy: str
) -> None:
    problem = problem_of(site(f"m: {{address: 1, wake_up: {wake_up}}}"))
    assert problem.line == 7
    assert problem.key.startswith("buses.b.meters.m.wake_up")
    assert problem.message.startswith(message)
    assert problem.remedy.startswith(remedy)


def test_a_meter_has_its_own_wake_up_or_none_or_that_of_its_bus() -> None:
    found = load_text(
        site(
            "usual: {address: 1}",
            "own: {address: 2, wake_up: {byte: FE, for: 1s, parity: even, pause: 0s}}",
            "awake: {address: 3, wake_up: none}",
            bus="wake_up: {}",
        ),
        HERE,
    ).buses["b"]
    got = {name: found.wake_up_of(meter) for name, meter in found.meters.items()}
    assert got["usual"] == WakeUp(byte=0x55, duration=2.2, parity=values.Parity.NONE, pause=0.05)
    assert got["own"] == WakeUp(byte=0xFE, duration=1.0, parity=values.Parity.EVEN, pause=0.0)
    assert got["awake"] is None


def test_a_time_of_billing_is_needed() -> None:
    problem = problem_of(site("m: {address: 1}", bus="billing: {freeze: none}"))
    assert problem.key == "buses.b.billing.at"
    assert problem.remedy == "write it, like at: monthly 1 00:00"
    problem = problem_of(site("m: {address: 1}", bus="billing: monthly"))
    assert problem.remedy == "write billing: {at: monthly 1 00:00}"


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        (
            "address: 1, fabrication: '12345678'",
            "fabrication",
            "a fabrication number adds to a secondary address, and there is none",
        ),
        (
            "address: 1, nke: never, pause: 1s",
            "pause",
            "a pause after SND_NKE, which is never sent",
        ),
        (
            "address: 1, points: {p: {quantity: power, min_value: 5, max_value: 5}}",
            "points.p.min_value",
            "min_value 5 is not below max_value 5",
        ),
    ],
)
def test_keys_that_contradict_each_other(keys: str, key: str, message: str) -> None:
    problem = problem_of(site(f"m: {{{keys}}}"))
    assert (problem.line, problem.key) == (7, f"buses.b.meters.m.{key}")
    assert problem.message == message


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = site(
        "m: {address: 1, nke: sometimes, telegrams: [], before: [selct 50], tries: 0}",
        bus="billing: {at: never, freeze: none}",
        more="history: {keep: forever, max_size: 1}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_text(text, HERE)
    assert [(p.line, p.column, p.key.removeprefix("buses.b.")) for p in caught.value.problems] == [
        (2, 11, "history.keep"),
        (2, 26, "history.max_size"),
        (7, 15, "billing.at"),
        (9, 23, "meters.m.nke"),
        (9, 39, "meters.m.telegrams"),
        (9, 54, "meters.m.before"),
        (9, 74, "meters.m.tries"),
    ]


def test_a_transparent_gateway_cannot_change_its_baud_rate_for_one_meter() -> None:
    gateway = "tcp://10.0.0.7:10001"
    problem = problem_of(site("m: {address: 1, baudrate: 300}", port=gateway))
    assert problem.key == "buses.b.meters.m.baudrate"
    assert problem.message == (
        f"{gateway} is a transparent gateway, whose baud rate cannot be changed for one meter"
    )
    assert warnings_of(site("m: {address: 1, baudrate: 2400}", port=gateway)) == []
    for port in ("/dev/ttyUSB0", "rfc2217://10.0.0.7:2217"):
        assert warnings_of(site("m: {address: 1, baudrate: 300}", port=port)) == []


def test_a_transparent_gateway_has_a_parity_of_its_own() -> None:
    gateway = "tcp://10.0.0.7:10001"
    bus = "wake_up: {parity: none}"
    ((line, key, message),) = warnings_of(site("m: {address: 1}", bus=bus, port=gateway))
    assert (line, key) == (6, "wake_up.parity")
    assert message.endswith("sends everything with a parity of its own")
    assert warnings_of(site("m: {address: 1}", bus="wake_up: {}", port=gateway)) == []
    assert warnings_of(site("m: {address: 1}", bus=bus)) == []


def test_the_ways_of_a_template_are_those_of_its_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    known = template("itron-cyble").model_copy(
        update={
            "before": (Preparation(Step.APPLICATION_RESET),),
            "nke": ways.Nke.ALWAYS,
            "timeout": 2.0,
            "wake_up": WakeUp(byte=0),
        }
    )
    monkeypatch.setattr("bridge.config.load.template", lambda _: known)
    usual = "wake_up: {}"
    bus, meter = meter_of("{address: 1, model: itron-cyble}", bus=usual)
    assert meter.before == (Preparation(Step.APPLICATION_RESET),)
    assert (meter.nke, meter.timeout, meter.min_gap) == (ways.Nke.ALWAYS, 2.0, 900.0)
    assert bus.wake_up_of(meter) == WakeUp(byte=0), "before that of the bus"
    # What the meter itself says goes before all of it.
    own = "before: [], nke: auto, timeout: 3s, min_gap: 1m, wake_up: none"
    bus, meter = meter_of(f"{{address: 1, {own}, model: itron-cyble}}", bus=usual)
    assert (meter.before, meter.nke, meter.timeout, meter.min_gap) == ((), "auto", 3.0, 60.0)
    assert bus.wake_up_of(meter) is None


def test_a_template_that_contradicts_what_a_meter_says_is_said_at_the_meter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = template("itron-cyble").model_copy(update={"pause": 1.0})
    monkeypatch.setattr("bridge.config.load.template", lambda _: known)
    problem = problem_of(site("m: {address: 1, model: itron-cyble, nke: never}"))
    assert problem.key == "buses.b.meters.m.nke"


def test_a_water_meter_on_a_battery_has_a_gap_by_its_template() -> None:
    for keys, seconds in (("", 900.0), (", min_gap: 5m", 300.0), (", min_gap: 0s", 0.0)):
        bus, meter = meter_of(f"{{address: 1, model: itron-cyble{keys}}}", bus="min_gap: 1s")
        assert bus.min_gap_of(meter) == seconds
    ((line, key, message),) = warnings_of(site("m: {address: 1, every: 5m, model: itron-cyble}"))
    assert (line, key) == (7, "meters.m.every")
    assert message == "what is to be read every 5m is read every 15m: min_gap is longer"


LONGER = "what is to be read every 15m is read every 1h: min_gap is longer"


@pytest.mark.parametrize(
    ("bus", "meter", "expected"),
    [
        ("{}", "{address: 1, every: 15m, min_gap: 1h}", [(7, "meters.m.min_gap", LONGER)]),
        ("min_gap: 1h", "{address: 1, every: 15m}", [(8, "meters.m.every", LONGER)]),
        ("min_gap: 1h", "{address: 1}", [(6, "min_gap", LONGER)]),
        ("min_gap: 15m", "{address: 1}", []),
        ("min_gap: 1h", "{address: 1, every: continuous}", []),
        ("min_gap: 1h", "{address: 1, min_gap: 5m}", []),
    ],
)
def test_a_gap_that_is_longer_than_the_interval_is_doubtful(
    bus: str, meter: str, expected: list[tuple[int, str, str]]
) -> None:
    assert warnings_of(site(f"m: {meter}", bus=bus)) == expected


def test_values_grow_as_old_as_the_gap_lets_them() -> None:
    bus, meter = meter_of("{address: 1, every: continuous, min_gap: 1h}")
    assert bus.interval_of(meter) == 3600.0
    text = site("m: {address: 1, every: continuous, min_gap: 1h, max_age: 30m}")
    assert [key for _, key, _ in warnings_of(text)] == ["meters.m.max_age"]


@pytest.mark.parametrize(
    ("meter", "doubtful"),
    [
        ("{secondary: 12345678-ACW-14-07, every: 5m}", True),
        ("{secondary: 12345678-ACW-14-07, every: continuous}", True),
        ("{secondary: 12345678-ACW-14-07, every: 5m, min_gap: 5m}", False),
        ("{secondary: 12345678-ACW-14-07}", False),
        ("{secondary: 12345678-KAM-14-02, every: 5m}", False),
        ("{secondary: 12345678, every: 5m}", False),
        ("{address: 1, every: 5m}", False),
        ("{address: 1, every: 5m, min_gap: 0s, model: itron-cyble}", True),
        ("{address: 1, every: 5m, model: kamstrup-382}", False),
    ],
)
def test_a_battery_that_is_asked_too_often_is_doubtful(meter: str, doubtful: bool) -> None:
    found = warnings_of(site(f"m: {meter}"))
    assert [key for _, key, _ in found] == (["meters.m.every"] if doubtful else [])
    if doubtful:
        assert found[0][2].startswith("a water meter that is read ")


@pytest.mark.parametrize("key", ["nke: always", "nke: auto"])
def test_a_meter_that_is_selected_gets_no_snd_nke(key: str) -> None:
    ((_, where, message),) = warnings_of(site(f"m: {{secondary: 12345678, {key}}}"))
    assert where == f"meters.m.{key.partition(':')[0]}"
    assert message == "a meter with a secondary address is selected, and gets no SND_NKE"
    assert warnings_of(site(f"m: {{address: 1, {key}}}")) == []


@pytest.mark.parametrize(
    ("raw", "doubtful"),
    [
        ("10 7B 01 7C 16", False),
        ("10 7B 02 7C 16", True),
        ("68 03 03 68 53 01 50 A4 16", False),
        ("68 03 03 68 53 01 50 A5 16", True),
        ("00 00 00", False),
        ("68 04 03 68 53 01 50 A5 16", False),
    ],
)
def test_a_frame_that_nobody_can_answer_is_doubtful(raw: str, doubtful: bool) -> None:
    found = warnings_of(site(f"m: {{address: 1, before: [application-reset, 'raw {raw}']}}"))
    assert [key for _, key, _ in found] == (["meters.m.before[1]"] if doubtful else [])
    if doubtful:
        assert "is a frame with the checksum" in found[0][2]


def test_a_priority_that_all_have_is_none() -> None:
    high = "{address: %d, priority: high}"
    both = site(f"m: {high % 1}", f"n: {high % 2}")
    ((line, key, message),) = warnings_of(both)
    assert (line, key) == (7, "meters.m.priority")
    assert "none goes before another" in message
    assert warnings_of(site(f"m: {high % 1}", "n: {address: 2}")) == []
    assert warnings_of(site(f"m: {high % 1}")) == []


@pytest.mark.parametrize(
    ("points", "freeze", "doubtful"),
    [
        ("current", "standard", True),
        ("{v: {quantity: volume}}", "standard", True),
        ("{v: {quantity: volume}}", "48FE0B", True),
        ("{v: {quantity: volume}}", "none", False),
        ("{v: {quantity: volume, storage: 1}}", "standard", False),
        ("{v: {record: 4C13}}", "standard", False),
        ("all", "standard", False),
    ],
)
def test_a_frozen_counter_that_no_point_offers_is_doubtful(
    points: str, freeze: str, doubtful: bool
) -> None:
    bus = f"billing: {{at: monthly 1 00:00, freeze: '{freeze}'}}"
    found = warnings_of(site(f"m: {{address: 1, points: {points}}}", bus=bus))
    assert [key for _, key, _ in found] == (["billing"] if doubtful else [])


def test_billing_without_a_history_is_doubtful() -> None:
    bus = "billing: {at: daily 00:00, freeze: none}"
    text = site("m: {address: 1}", bus=bus, more="history: {keep: 0s}\n")
    assert [(line, key) for line, key, _ in warnings_of(text)] == [(7, "billing")]


def test_a_fabrication_number_tells_two_meters_of_one_address_apart() -> None:
    one = "{secondary: 12345678, fabrication: '11111111'}"
    other = "{secondary: 12345678, fabrication: '%s'}"
    assert warnings_of(site(f"m: {one}", f"n: {other % '22222222'}")) == []
    problem = problem_of(site(f"m: {one}", f"n: {other % '11111111'}"))
    assert "fabrication tells apart" in problem.remedy
    for doubtful in (other % "1FFFFFFF", "{secondary: 12345678}"):
        ((_, key, message),) = warnings_of(site(f"m: {one}", f"n: {doubtful}"))
        assert key == "meters.n.secondary"
        assert message == "one meter could answer to this and to m (line 7)"


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ("{address: 1}", 105 * 11 / 2400 + 0.1),
        ("{address: 1, baudrate: 300}", 105 * 11 / 300 + 0.1),
        ("{address: 1, telegrams: [1, 3]}", 3 * (105 * 11 / 2400 + 0.1)),
        ("{address: 1, wake_up: {}}", 105 * 11 / 2400 + 0.1 + 2.25),
        ("{address: 1, nke: always, pause: 1s}", 111 * 11 / 2400 + 0.2 + 1),
        ("{address: 1, before: [select 50]}", 116 * 11 / 2400 + 0.2),
        ("{address: 1, before: [raw 107B017C16]}", 110 * 11 / 2400 + 0.2),
        ("{secondary: 12345678, fabrication: '12345678'}", 129 * 11 / 2400 + 0.2),
    ],
)
def test_what_a_meter_needs_before_takes_its_time(keys: str, seconds: float) -> None:
    assert ask_time(*meter_of(keys)) == pytest.approx(seconds)


def test_an_interval_is_judged_by_all_that_its_meters_need() -> None:
    many = [f"m{n}: {{address: {n}, every: 30s}}" for n in range(15)]
    assert warnings_of(site(*many)) == []
    ((_, key, message),) = warnings_of(site(*many, bus="wake_up: {}"))
    assert key == "meters.m0.every"
    assert "about 42 s to read, and cannot keep to 30s" in message
