from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.errors import ConfigError, Problem
from bridge.config.keys import KeyTextError, parse_key, read_key
from bridge.config.load import load_text, load_text_with_warnings
from bridge.config.model import Bus, Key, Meter
from bridge.config.timing import ask_time

HERE = Path("/etc/bridge/site.yaml")
KEY = "000102030405060708090A0B0C0D0E0F"


def site(*meters: str, bus: str = "baudrate: 2400", more: str = "") -> str:
    lines = "".join(f"      {meter}\n" for meter in meters)  # from line 8
    return (
        "device: {instance: 1}\n"
        "bacnet: {address: 192.168.1.10/24}\n"
        "buses:\n"
        "  b:\n"
        "    port: tcp://10.0.0.7:10001\n"
        f"    {bus}\n"
        f"    meters:\n{lines}{more}"
    )


def errors_of(text: str, path: Path = HERE) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, path)
    return [(p.line, p.key.removeprefix("buses."), p.message) for p in caught.value.problems]


def warnings_of(text: str, path: Path = HERE) -> list[tuple[int, str, str]]:
    warnings: tuple[Problem, ...] = load_text_with_warnings(text, path).warnings
    return [(p.line, p.key.removeprefix("buses."), p.message) for p in warnings]


def test_two_meters_cannot_share_a_primary_address_on_one_bus() -> None:
    assert errors_of(site("a: {address: 5}", "c: {address: 5}")) == [
        (9, "b.meters.c.address", "a has the primary address 5 on this bus too (line 8)")
    ]


def test_two_buses_may_have_meters_of_one_primary_address() -> None:
    more = "  c: {port: /dev/ttyUSB0, meters: {d: {address: 5}}}\n"
    assert warnings_of(site("a: {address: 5}", more=more)) == []


def test_two_meters_cannot_share_a_secondary_address() -> None:
    text = site("a: {secondary: 12345678-KAM-1B-04}", "c: {secondary: 12345678-kam-1b-04}")
    assert errors_of(text) == [
        (9, "b.meters.c.secondary", "a has the secondary address 12345678-KAM-1B-04 too (line 8)")
    ]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("12345678", "12345678-KAM-1B-04", True),
        ("1234FFFF", "12345678", True),
        ("12345678", "1234FFFF", True),
        ("12345678-KAM-FF-04", "12345678-FFF-1B-04", True),
        ("12345678-KAM-1B-04", "12345678-KAM-1B-07", False),
        ("12345678", "12345679", False),
        ("1234FFFF", "1235FFFF", False),
        ("1FFFFFF8", "FFFFFF79", False),
    ],
)
def test_addresses_that_one_meter_could_answer_to_are_doubtful(
    one: str, other: str, overlap: bool
) -> None:
    found = warnings_of(site(f"a: {{secondary: '{one}'}}", f"c: {{secondary: '{other}'}}"))
    expected = (9, "b.meters.c.secondary", "one meter could answer to this and to a (line 8)")
    assert found == ([expected] if overlap else [])


def test_an_address_of_wildcards_alone_is_doubtful() -> None:
    ((line, key, message),) = warnings_of(site("a: {secondary: FFFFFFFF}"))
    assert (line, key) == (8, "b.meters.a.secondary")
    assert "any meter may answer" in message


def test_one_port_cannot_serve_two_buses() -> None:
    more = "  c: {port: TCP://10.0.0.7:10001, meters: {d: {address: 5}}}\n"
    assert errors_of(site("a: {address: 5}", more=more.replace("TCP", "tcp"))) == [
        (9, "c.port", "tcp://10.0.0.7:10001 is the port of b too (line 5)")
    ]


def test_two_names_of_one_serial_port_are_one_port(tmp_path: Path) -> None:
    link = tmp_path / "usb-adapter"
    link.symlink_to("/dev/null")
    more = f"  c: {{port: {link}, meters: {{d: {{address: 5}}}}}}\n"
    text = site("a: {address: 5}", more=more).replace("tcp://10.0.0.7:10001", "/dev/null")
    assert errors_of(text)[0][2] == f"{link} is the port of b too (line 5)"


def test_meter_names_are_unique_in_the_whole_file() -> None:
    more = "  c: {port: /dev/ttyUSB0, meters: {a: {address: 5}}}\n"
    ((line, key, message),) = errors_of(site("a: {address: 5}", more=more))
    assert (line, key) == (9, "c.meters.a")
    assert message == "a meter of b in line 8 has this name too (this is line 9)"


def test_names_that_differ_only_in_case_are_the_same() -> None:
    ((_, key, message),) = errors_of(site("heat: {address: 5}", "Heat: {address: 6}"))
    assert key == "b.meters.Heat"
    assert "is called heat too" in message


@pytest.mark.parametrize(
    "name", ["answering", "last-read", "secondary-address", "read-now", "status", "Status"]
)
def test_the_bridges_own_points_keep_their_names(name: str) -> None:
    text = site(f"a: {{address: 1, points: {{{name}: {{quantity: volume}}}}}}")
    ((line, key, message),) = errors_of(text)
    assert (line, key) == (8, f"b.meters.a.points.{name}")
    assert message == f"every meter has a point {name.lower()} of the bridge's own"


def test_an_instance_stands_once_for_each_object_type() -> None:
    point = "{quantity: volume, instance: 7}"
    other = "{quantity: volume, instance: 7, object: accumulator}"
    assert errors_of(
        site(
            f"a: {{address: 1, points: {{v: {point}, w: {other}}}}}",
            f"c: {{address: 2, points: {{x: {point}}}}}",
        )
    ) == [(9, "b.meters.c.points.x.instance", "analog-input 7 is a's v already (line 8)")]


def test_an_interval_that_the_bus_cannot_keep_is_doubtful() -> None:
    many = [f"m{n}: {{address: {n}}}" for n in range(60)]
    assert warnings_of(site(*many, bus="every: 1m")) == []
    ((line, key, message),) = warnings_of(site(*many, bus="every: 30s"))
    assert (line, key) == (6, "b.every")
    assert message == (
        "at 2400 baud the 60 meters of b take about 35 s to read, and cannot keep to 30s"
    )
    assert warnings_of(site(*many, bus="every: continuous")) == []


def test_the_time_of_a_meter_is_request_and_answer_and_its_own_delay() -> None:
    bus = Bus(port="/dev/ttyUSB0")
    assert ask_time(bus, Meter(address=1)) == pytest.approx(105 * 11 / 2400 + 0.1)
    assert ask_time(bus, Meter(secondary="12345678")) == pytest.approx(123 * 11 / 2400 + 0.2)


def test_values_that_are_always_too_old_are_doubtful() -> None:
    ((line, key, _),) = warnings_of(site("a: {address: 1, every: 1h, max_age: 30m}"))
    assert (line, key) == (8, "b.meters.a.max_age")


def test_a_bus_without_meters_is_doubtful() -> None:
    assert warnings_of(site("{}").replace("meters:\n      {}", "meters: {}")) == [
        (4, "b", "the bus has no meters")
    ]


def test_a_site_without_buses_is_an_error() -> None:
    text = "device: {instance: 1}\nbacnet: {address: 192.168.1.10/24}\nbuses: {}\n"
    assert errors_of(text) == [(3, "buses", "there is no bus")]


@pytest.mark.parametrize(
    ("point", "doubtful"),
    [
        ("{quantity: energy}", False),
        ("{quantity: energy, unit: watt-hours}", True),
        ("{quantity: energy, unit: watt-hours, object: large-analog-value}", False),
        ("{quantity: energy, unit: watt-hours, object: accumulator}", False),
        ("{quantity: volume, unit: liters}", True),
        ("{quantity: volume, scale: 100}", True),
        ("{quantity: volume, scale: 0.1}", False),
        ("{quantity: power, unit: watts}", False),
        ("{quantity: flow-temperature, object: accumulator}", True),
    ],
)
def test_a_counter_in_a_real_of_a_small_unit_is_doubtful(point: str, doubtful: bool) -> None:
    found = warnings_of(site(f"a: {{address: 1, points: {{p: {point}}}}}"))
    assert bool(found) is doubtful


@pytest.mark.parametrize(
    ("point", "right"),
    [
        ("{quantity: power, unit: cubic-meters}", False),
        ("{quantity: energy, unit: megajoules}", True),
        ("{quantity: flow-temperature, unit: degrees-fahrenheit}", True),
        ("{quantity: flow-temperature, unit: delta-degrees-kelvin}", False),
        ("{quantity: remaining-battery-life, unit: months}", True),
        ("{quantity: dimensionless, unit: cubic-meters}", True),
        ("{quantity: pressure, unit: hours, modifiers: [duration of limit exceed]}", True),
    ],
)
def test_a_unit_must_fit_the_quantity(point: str, right: bool) -> None:
    text = site(f"a: {{address: 1, points: {{p: {point}}}}}")
    if right:
        assert warnings_of(text) == []
    else:
        ((_, key, message),) = errors_of(text)
        assert key == "b.meters.a.points.p.unit"
        assert "cannot be said in" in message


@pytest.mark.parametrize(
    ("point", "key", "says"),
    [
        ("{storage: 1}", ".quantity", "nothing says which record this is"),
        ("{quantity: volume, vif: '13'}", ".vif", "both quantity and vif"),
        ("{vif: '13', modifiers: [x]}", ".modifiers", "vif says the modifiers already"),
        ("{vif: '13', dif: '04', tariff: 1}", ".tariff", "dif says the tariff already"),
        ("{quantity: power, low_limit: 2, high_limit: 2}", ".low_limit", "is not below"),
        (
            "{quantity: volume, object: accumulator, cov_increment: 1}",
            ".cov_increment",
            "no COV increment",
        ),
    ],
)
def test_keys_of_a_point_that_contradict_each_other(point: str, key: str, says: str) -> None:
    ((line, path, message),) = errors_of(site(f"a: {{address: 1, points: {{p: {point}}}}}"))
    assert (line, path) == (8, f"b.meters.a.points.p{key}")
    assert says in message


def test_a_meter_has_one_address() -> None:
    assert errors_of(site("a: {every: 1h}", "c: {address: 1, secondary: 12345678}")) == [
        (8, "b.meters.a.address", "nothing says where the meter is on the bus"),
        (9, "b.meters.c.secondary", "the meter has a primary and a secondary address"),
    ]


def test_what_is_wrong_in_itself_does_not_hide_what_is_wrong_with_the_rest() -> None:
    text = site("a: {address: 5, every: often}", "c: {address: 5, evry: 1h}")
    assert [(line, key) for line, key, _ in errors_of(text)] == [
        (8, "b.meters.a.every"),
        (9, "b.meters.c.address"),
        (9, "b.meters.c.evry"),
    ]


def test_a_template_for_another_meter_is_doubtful() -> None:
    text = site("a: {secondary: 12345678-KAM-1B-04, model: itron-cyble}")
    ((line, key, message),) = warnings_of(text)
    assert (line, key) == (8, "b.meters.a.model")
    assert message.startswith("itron-cyble is made by ACW")
    assert warnings_of(site("a: {secondary: 12345678-ACW-14-16, model: itron-cyble}")) == []


def test_a_foreign_device_does_not_register_with_itself() -> None:
    text = site("a: {address: 1}").replace("24}", "24, foreign: {bbmd: 192.168.1.10}}")
    assert [(line, key) for line, key, _ in errors_of(text)] == [(2, "bacnet.foreign.bbmd")]


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "key"
    file.write_text(text)
    file.chmod(mode)
    return folder / "site.yaml"


def test_a_key_file_that_all_can_read_is_doubtful(tmp_path: Path) -> None:
    text = site("a: {address: 1, key: {file: key}}")
    assert warnings_of(text, key_file(tmp_path, KEY)) == []
    ((line, key, message),) = warnings_of(text, key_file(tmp_path, KEY, 0o644))
    assert (line, key) == (8, "b.meters.a.key.file")
    assert message.startswith("everybody on this machine can read")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (KEY[:-1], "has 31 digits"),
        ("", "no key"),
        ("G" * 32, "not all hex digits"),
        ("ä" * 32, "no text"),
    ],
)
def test_a_key_file_without_a_key_is_an_error_that_shows_nothing(
    content: str, says: str, tmp_path: Path
) -> None:
    text = site("a: {address: 1, key: {file: key}}")
    ((line, key, message),) = errors_of(text, key_file(tmp_path, content))
    assert (line, key) == (8, "b.meters.a.key.file")
    assert says in message
    assert KEY[:8] not in message


def test_a_key_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    text = site("a: {address: 1, key: {file: key}}")
    ((_, _, message),) = errors_of(text, tmp_path / "site.yaml")
    assert message == f"there is no file {tmp_path}/key"
    (tmp_path / "key").mkdir()
    ((_, _, message),) = errors_of(text, tmp_path / "site.yaml")
    assert message.endswith("is a folder")


def test_a_key_variable_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    text = site("a: {address: 1, key: {env: GAS_KEY}}")
    monkeypatch.delenv("GAS_KEY", raising=False)
    ((_, key, message),) = warnings_of(text)
    assert (key, message) == (
        "b.meters.a.key.env",
        "the environment variable GAS_KEY is not set here",
    )
    monkeypatch.setenv("GAS_KEY", KEY)
    assert warnings_of(text) == []
    assert read_key(Key(env="GAS_KEY")) == bytes(range(16))
    monkeypatch.setenv("GAS_KEY", "short")
    assert errors_of(text)[0][1] == "b.meters.a.key.env"


def test_a_key_has_one_place() -> None:
    ((_, key, message),) = errors_of(site("a: {address: 1, key: {}}"))
    assert (key, message) == ("b.meters.a.key.file", "no key is named")
    found = errors_of(site("a: {address: 1, key: {env: A, file: /none}}"))
    assert "both a file and a variable are named" in [message for _, _, message in found]


def test_a_key_is_16_bytes_in_hex(tmp_path: Path) -> None:
    assert parse_key(" 00:01:02:03 04050607 08090a0b 0C0D0E0F\n") == bytes(range(16))
    with pytest.raises(KeyTextError, match="cannot be read"):
        read_key(Key(file=tmp_path / "none"))
    with pytest.raises(KeyTextError, match="is not set"):
        read_key(Key(env="NO_SUCH_VARIABLE_HERE"))


def test_two_points_that_can_only_name_one_record_are_said_with_both_lines() -> None:
    points = "a: {quantity: energy}, b: {quantity: energy, storage: 0, unit: kilowatt-hours}"
    assert warnings_of(site(f"m: {{address: 1, points: {{{points}}}}}")) == [
        (
            8,
            "b.meters.m.points.b",
            "names the same record as a (line 8), and offers it in the same way",
        )
    ]
    same = "a: {record: 0C13}, b: {record: 0c 13}"
    assert len(warnings_of(site(f"m: {{address: 1, points: {{{same}}}}}"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        "{quantity: energy, unit: gigajoules}",
        "{quantity: energy, object: accumulator}",
        "{quantity: energy, scale: 0.1}",
        "{quantity: energy, storage: 1}",
        "{quantity: energy, modifiers: [backward]}",
        "{quantity: energy, ordinal: 2}",
        "{record: 0C06}",
    ],
)
def test_one_record_may_be_offered_in_two_ways(other: str) -> None:
    points = f"a: {{quantity: energy}}, b: {other}"
    assert warnings_of(site(f"m: {{address: 1, points: {{{points}}}}}")) == []


def test_a_point_that_repeats_one_of_the_template_is_said() -> None:
    meter = "m: {address: 1, model: itron-cyble, points: {again: {quantity: volume}}}"
    ((line, key, message),) = warnings_of(site(meter))
    assert (line, key) == (8, "b.meters.m.points.again")
    assert "the same record as volume (model itron-cyble)" in message
