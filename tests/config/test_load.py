from __future__ import annotations

import os
import time
from datetime import time as clock
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.errors import ConfigError, Problem, Severity
from bridge.config.load import (
    MAX_BYTES,
    load,
    load_text,
    load_text_with_warnings,
    load_with_warnings,
)
from bridge.config.model import Point, Site
from bridge.config.values import ObjectType, Parity
from bridge.units import Quantity

HERE = Path("/etc/bridge/site.yaml")

PRODUCT = """\
device: {instance: 260001, name: Metering Building A, location: Basement}
bacnet: {address: 192.168.1.10/24, port: 47808}     # foreign: {bbmd: 10.1.0.5, ttl: 300}
buses:
  basement:
    port: tcp://10.0.0.7:10001
    baudrate: 2400
    every: 15m
    meters:
      main-water: {address: 1, model: itron-cyble}
      heat-1:     {address: 2}
      gas-17:
        secondary: 12345678-ITW-14-03
        every: 24h
        between: "02:00-04:00"
        points:
          volume: {quantity: volume, scale: 0.1, unit: cubic-meters, object: accumulator}
          flow:   {quantity: volume-flow, cov_increment: 0.01, high_limit: 6}
"""

MINIMAL = """\
device: {instance: 1}
bacnet: {address: 192.168.1.10/24}
buses:
  b:
    port: /dev/ttyUSB0
    meters:
"""


def problems_of(text: str, path: Path = HERE) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, path)
    return caught.value.problems


def meters(*lines: str) -> str:
    return MINIMAL + "".join(f"      {line}\n" for line in lines)


def test_the_configuration_of_the_product_description_is_understood() -> None:
    site = load_text(PRODUCT, HERE)
    assert site.device.instance == 260001
    assert site.device.location == "Basement"
    assert site.bacnet.address == "192.168.1.10/24"
    bus = site.buses["basement"]
    assert (bus.port, bus.baudrate, bus.parity) == ("tcp://10.0.0.7:10001", 2400, Parity.EVEN)
    gas = bus.meters["gas-17"]
    assert gas.secondary == "12345678-ITW-14-03"
    assert gas.between == (clock(2, 0), clock(4, 0))
    assert bus.every_of(gas) == 86400.0
    assert bus.every_of(bus.meters["heat-1"]) == 900.0
    assert not isinstance(gas.points, str)
    assert gas.points["volume"] == Point(
        quantity=Quantity.VOLUME,
        scale=Decimal("0.1"),
        unit="cubic-meters",
        object=ObjectType.ACCUMULATOR,
    )
    assert gas.points["flow"].high_limit == Decimal(6)


TEN_MISTAKES = """\
device: {instance: 4194303}
bacnet: {address: 192.168.1.10}
buses:
  basement:
    port: tcp://10.0.0.7:10001
    baudrate: 2401
    evry: 15m
    meters:
      main-water: {address: 251}
      heat-1: {address: 2, every: 15}
      heat-2: {address: 2}
      gas-17:
        secondary: 1234567
        between: "02:00"
        points:
          volume: {quantity: volumes}
"""


def test_ten_mistakes_give_ten_errors_that_each_name_the_line() -> None:
    assert [str(problem) for problem in problems_of(TEN_MISTAKES, Path("site.yaml"))] == [
        "site.yaml:1:10: device.instance: 4194303 is out of range; an instance number is 0 to "
        "4194302",
        "site.yaml:2:10: bacnet.address: 192.168.1.10 does not say how large the subnet is; write "
        "the prefix length too: 192.168.1.10/24",
        "site.yaml:6:5: buses.basement.baudrate: 2401 is no M-Bus baud rate; choose 300, 600, "
        "1200, 2400, 4800, 9600, 19200 or 38400",
        "site.yaml:7:5: buses.basement.evry: there is no such key; did you mean `every`?",
        "site.yaml:9:20: buses.basement.meters.main-water.address: 251 is reserved; a meter's own "
        "address is 0 to 250",
        "site.yaml:10:28: buses.basement.meters.heat-1.every: 15 has no unit; write 15s for "
        "seconds or 15m for minutes",
        "site.yaml:11:16: buses.basement.meters.heat-2.address: heat-1 has the primary address 2 "
        "on this bus too (line 10); set another address in one of the meters, or use their "
        "secondary addresses",
        "site.yaml:13:9: buses.basement.meters.gas-17.secondary: 1234567 has 7 digits; an "
        "identification number has eight; with its leading zeros: 01234567",
        "site.yaml:14:9: buses.basement.meters.gas-17.between: 02:00 is no window of the day; "
        'write it like "02:00-04:00"',
        "site.yaml:16:20: buses.basement.meters.gas-17.points.volume.quantity: volumes is no "
        "quantity; did you mean volume?",
    ]


def test_a_misspelt_key_is_one_mistake_and_not_a_missing_key_as_well() -> None:
    text = meters("m: {adress: 1}").replace("instance: 1", "instnace: 1")
    assert [(p.line, p.remedy) for p in problems_of(text)] == [
        (1, "did you mean `instance`?"),
        (7, "did you mean `address`?"),
    ]


def test_scalars_keep_the_text_that_the_user_wrote() -> None:
    site = load_text(
        meters(
            "octal: {secondary: 01234567}",
            "exponent: {secondary: 12345E78}",
            "sexagesimal: {address: 1, between: 22:00-02:00}",
            "on: {address: 2, description: off}",
            "off: {address: 3, description: 1.10}",
            "text: {address: 4, description: 2026-03-09}",
        ),
        HERE,
    )
    found = site.buses["b"].meters
    assert found["octal"].secondary == "01234567"
    assert found["exponent"].secondary == "12345E78"
    assert found["sexagesimal"].between == (clock(22, 0), clock(2, 0))
    assert found["on"].description == "off"
    assert found["off"].description == "1.10"
    assert found["text"].description == "2026-03-09"


def test_a_key_that_stands_twice_is_an_error_that_names_both_lines() -> None:
    (problem,) = problems_of(meters("m:", "  address: 1", "  every: 15m", "  every: 30m"))
    assert (problem.line, problem.key) == (10, "buses.b.meters.m.every")
    assert "line 9" in problem.message
    assert "line 10" in problem.message


def test_a_meter_name_that_stands_twice_on_a_bus_is_an_error() -> None:
    (problem,) = problems_of(meters("m: {address: 1}", "m: {address: 2}"))
    assert problem.line == 8
    assert "line 7" in problem.message


def test_a_key_without_a_value_is_an_error_and_not_its_default() -> None:
    for value in ("", "~", "null"):
        (problem,) = problems_of(meters(f"m: {{address: 1, key: {value}}}"))
        assert problem.key == "buses.b.meters.m.key"
        assert problem.message == "there is no value"


def test_anchors_and_merge_keys_work_and_own_keys_go_first() -> None:
    site = load_text(
        meters(
            "first: &usual {address: 1, every: 1h, description: usual}",
            "second: {<<: *usual, address: 2}",
            "third: {<<: [{address: 3}, *usual], description: own}",
        ),
        HERE,
    )
    found = site.buses["b"].meters
    assert found["second"].address == 2
    assert found["second"].every == 3600.0
    assert (found["third"].address, found["third"].description) == (3, "own")


def test_a_missing_key_is_said_with_an_example() -> None:
    assert [(p.key, p.message, p.remedy) for p in problems_of("device: {name: x}")] == [
        ("device.instance", "instance is missing", "write it, like instance: 260001"),
        (
            "bacnet",
            "bacnet is missing",
            "write it, like bacnet: {address: 192.168.1.10/24}",
        ),
        (
            "buses",
            "buses is missing",
            "write it, like buses: {basement: {port: /dev/ttyUSB0, meters: {main-water: "
            "{address: 1}}}}",
        ),
    ]


def test_the_words_of_other_programs_are_known() -> None:
    text = meters("m: {address: 1, interval: 15m}").replace("port:", "baud: 2400\n    port:")
    assert [p.remedy for p in problems_of(text)] == [
        "did you mean `baudrate`?",
        "did you mean `every`?",
    ]


def test_a_template_gives_its_points_and_written_keys_change_them() -> None:
    site = load_text(
        meters(
            "plain: {address: 1, model: itron-cyble}",
            "changed:",
            "  address: 2",
            "  points: {volume: {unit: liters, object: large-analog-value}, more: {vif: '13'}}",
            "  model: itron-cyble",
            "everything: {address: 3, model: itron-cyble, points: all}",
        ),
        HERE,
    )
    found = site.buses["b"].meters
    plain, changed = found["plain"].points, found["changed"].points
    assert not isinstance(plain, str)
    assert not isinstance(changed, str)
    assert plain["volume-due-date"].storage == 1
    assert changed["volume"].quantity is Quantity.VOLUME
    assert changed["volume"].unit == "liters"
    assert changed["volume"].description == plain["volume"].description
    assert changed["volume-due-date"] == plain["volume-due-date"]
    assert changed["more"].vif == b"\x13"
    assert found["everything"].points == "all"


def test_a_record_is_named_by_its_key_in_place_of_the_templates_words() -> None:
    points = "points: {volume: {record: 0c 14#2}}"
    loaded = load_text(meters(f"m: {{address: 1, model: itron-cyble, {points}}}"), HERE)
    changed = loaded.buses["b"].meters["m"].points
    assert not isinstance(changed, str)
    assert (changed["volume"].record, changed["volume"].quantity) == ("0C14#2", None)
    assert changed["volume"].description == "Volume"


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ("0C06", "0C06"),
        ("'0406'", "0406"),
        ("0406", "0406"),
        ("02FD48#2", "02FD48#2"),
        ("02FD48#1", "02FD48"),
        ("8c 90 10 06", "8C901006"),
        ("0D7C084449202E74737563", "0D7C084449202E74737563"),
        ("E9", "E9"),
        ("e9/1", "E9/1"),
        ("E9/1#1", "E9/1"),
        ("E9/1#2", "E9/1#2"),
    ],
)
def test_a_key_is_dib_and_vib_and_the_ordinal(record: str, key: str) -> None:
    loaded = load_text(meters(f"m: {{address: 1, points: {{p: {{record: {record}}}}}}}"), HERE)
    points = loaded.buses["b"].meters["m"].points
    assert not isinstance(points, str)
    assert points["p"].record == key


@pytest.mark.parametrize(
    ("record", "message", "remedy"),
    [
        ("energy", "energy is no key of a record", "0C06#2 for the second"),
        ("0C06#0", '"0C06#0" is no key of a record', "write its DIF and VIF bytes"),
        ("0C0", "0C0 is no key of a record", "write its DIF and VIF bytes"),
        ("8C90", "8C90 has no VIF", "the DIF with its DIFEs, then the VIF with its VIFEs"),
        ("0C86", "0C86 ends within its VIF", "write all of its VIFEs"),
        ("0C0678563412", "0C0678563412 goes on behind its VIF", "write 0C06 alone"),
        ("0C06/1", "0C06/1 has a storage number behind its bytes", "write the bytes alone"),
        ("E9/2", "E9/2 is no key of a record", "write its DIF and VIF bytes"),
        ("2F06", "2F begins no data record", "as `read` shows them"),
    ],
)
def test_what_is_no_key_is_an_error_that_says_why(record: str, message: str, remedy: str) -> None:
    (problem,) = problems_of(meters(f"m: {{address: 1, points: {{p: {{record: {record}}}}}}}"))
    assert problem.message.startswith(message)
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "other",
    [
        "quantity: energy",
        "storage: 1",
        "tariff: 1",
        "subunit: 1",
        "function: maximum",
        "modifiers: [backward]",
        "dif: '0C'",
        "vif: '06'",
        "ordinal: 2",
    ],
)
def test_a_key_and_words_do_not_go_together(other: str) -> None:
    text = meters(f"m: {{address: 1, points: {{p: {{record: 0C06, {other}}}}}}}")
    (problem,) = problems_of(text)
    word = other.partition(":")[0]
    assert problem.key.endswith(f".p.{word}")
    assert problem.remedy == f"remove {word}, or record"


def test_an_unknown_template_is_an_error_with_a_suggestion() -> None:
    points = "points: {volume: {unit: liters}}"
    (problem,) = problems_of(meters(f"m: {{address: 1, model: itron-cybel, {points}}}"))
    assert problem.remedy == "did you mean itron-cyble?"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "gas"
    key.write_text("000102030405060708090A0B0C0D0E0F\n")
    key.chmod(0o600)
    file = tmp_path / "site.yaml"
    file.write_text(meters("m: {address: 1, key: {file: keys/gas}}") + "state: kept\n")
    loaded = load_with_warnings(file)
    assert loaded.warnings == ()
    found = loaded.site.buses["b"].meters["m"].key
    assert found is not None
    assert found.file == key
    assert loaded.site.state == tmp_path / "kept"
    file.write_text(meters("m: {address: 1}"))
    assert load(file).state == tmp_path / "site.state"


def test_warnings_stand_beside_the_site_and_do_not_stop_it() -> None:
    loaded = load_text_with_warnings(
        meters("m: {address: 1}").replace("192.168.1.10/24", "127.0.0.1/8"), HERE
    )
    assert isinstance(loaded.site, Site)
    assert [(w.severity, w.line, w.key) for w in loaded.warnings] == [
        (Severity.WARNING, 2, "bacnet.address")
    ]
    assert str(loaded.warnings[0]).startswith("/etc/bridge/site.yaml:2:10: warning: bacnet.address")


def test_a_key_in_the_wrong_place_is_never_shown() -> None:
    secret = "00112233445566778899AABBCCDDEEFF"
    for wrong in (
        f"key: {secret}",
        f"key: [{secret}]",
        f"key: {{file: {secret}}}",
        f"key: {{file: '{secret[:8]} {secret[8:16]} {secret[16:24]} {secret[24:]}'}}",
        f"key: {{env: {secret}}}",
        f"key: {{value: {secret}}}",
    ):
        for problem in problems_of(meters(f"m: {{address: 1, {wrong}}}")):
            assert secret[:8] not in str(problem), wrong


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("device:\n\tinstance: 1\n", (2, 1), "indent with spaces"),
        ("device: {instance: 1\nbacnet: {}\n", (2, 7), "} is missing"),
        ('device: {name: "A}\n', (2, 1), "quote is missing"),
        ("device:\n  name: A: B\n", (2, 10), "quotes"),
        ("device:\n  name: @home\n", (2, 9), "quotes"),
        ("a: 1\n---\nb: 2\n", (2, 1), "keep one site to a file"),
        ("a: *b\n", (1, 4), "write &b"),
        ("a: &x [*x]\n", (1, 8), "remove it"),
        ("a: \x00\n", (1, 4), "U+0000"),
        ("- a\n", (1, 1), "config/example.yaml"),
        ("hello\n", (1, 1), "config/example.yaml"),
        ("# nothing\n", (0, 0), "config/example.yaml"),
        ("a: " + "[" * 1000 + "\n", (1, 35), "never ends"),
        ("a: !include b.yaml\n", (1, 4), "remove it"),
        ("? [a]\n: 1\n", (1, 3), "plain word"),
        ("<<: 5\n", (1, 1), "<<: *name"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place_and_a_hint(
    text: str, place: tuple[int, int], says: str
) -> None:
    problems = problems_of(text)
    assert any(
        (p.line, p.column) == place and says in f"{p.message}; {p.remedy}" for p in problems
    ), [str(p) for p in problems]


def test_a_bomb_of_aliases_ends_soon() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    began = time.monotonic()
    problems = problems_of("\n".join(lines))
    assert time.monotonic() - began < 2
    assert any("aliases" in problem.message for problem in problems)


def test_thousands_of_unknown_keys_end_soon_and_print_short() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load_text("".join(f"key{n}: {n}\n" for n in range(50_000)), HERE)
    assert time.monotonic() - began < 10
    assert len(caught.value.problems) == 1000
    assert len(str(caught.value).splitlines()) == 101


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: None, "there is no such file"),
        (lambda file: file.mkdir(), "this is a folder"),
        (lambda file: file.write_bytes(b"a: \xe4\n"), "the byte E4 is no UTF-8"),
        (lambda file: file.write_text("a: 1", "utf-16"), "UTF-16"),
        (lambda file: file.write_text(""), "the file is empty"),
        (lambda file: file.write_bytes(b"#" * (MAX_BYTES + 1)), "larger than 10 MB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(make: object, says: str, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    assert callable(make)
    make(file)
    with pytest.raises(ConfigError, match=says) as caught:
        load(file)
    assert str(caught.value).startswith(str(file))
    assert caught.value.problems[0].remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(PRODUCT)
    file.chmod(0)
    with pytest.raises(ConfigError, match="may not be read"):
        load(file)


def test_latin_1_is_said_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes("device:\n  name: Gebäude\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"site\.yaml:2:12: the byte E4") as caught:
        load(file)
    assert caught.value.problems[0].remedy.startswith("save the file as UTF-8")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + meters("m: {address: 1}").replace("\n", "\r\n").encode())
    assert load(file).buses["b"].meters["m"].address == 1


# --- anything at all -------------------------------------------------------------------------

# A list of forty short words reads better as one text.
WORDS = (
    "device bacnet buses state instance name address port foreign bbmd ttl baudrate parity every "
    "timeout tries meters secondary model between key file env max_age points quantity storage "
    "dif vif scale unit object cov_increment low_limit m b volume <<"
)
VALUES = (
    "1 0 -1 250 15m 192.168.1.10/24 /dev/ttyUSB0 12345678 current all volume energy 0.1 1e99 "
    "accumulator itron-cyble 02:00-04:00 ~ null '' &a *a !!int even"
)
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.sampled_from(VALUES.split()),
)


def quote(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{plain}"'


def as_yaml(tree: object) -> str:
    if isinstance(tree, dict):
        inner = ", ".join(f"{quote(key)}: {as_yaml(value)}" for key, value in tree.items())
        return "{" + inner + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(as_yaml(item) for item in tree) + "]"
    return quote(str(tree))


TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, st.text(max_size=4)), inner)
    ),
    max_leaves=25,
)
POINTS = st.dictionaries(st.text(max_size=4), st.dictionaries(KEYS, SCALARS, max_size=5))
METERS = st.dictionaries(
    st.sampled_from(["m", "n", "answering", "a b", ""]),
    st.dictionaries(KEYS, st.one_of(SCALARS, POINTS, TREES), max_size=5),
    max_size=3,
)
SITES = st.fixed_dictionaries(
    {
        "device": st.dictionaries(KEYS, SCALARS, max_size=3),
        "bacnet": st.dictionaries(KEYS, st.one_of(SCALARS, TREES), max_size=3),
        "buses": st.dictionaries(
            st.sampled_from(["b", "c"]),
            st.fixed_dictionaries({"port": SCALARS, "meters": METERS, "every": SCALARS}),
        ),
    }
)


def check_that_it_is_a_site_or_an_error(text: str) -> None:
    try:
        assert isinstance(load_text(text, HERE), Site)
        return
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        line = str(problem)
        assert line.isprintable()
        assert problem.message
        assert problem.remedy
        # Pydantic's own way of speaking
        assert "Input should" not in line
        assert "Field required" not in line


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_is_a_site_or_an_error(text: str) -> None:
    check_that_it_is_a_site_or_an_error(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#?,<\\ \n\t~", max_size=60))
def test_any_text_of_yaml_signs_is_a_site_or_an_error(text: str) -> None:
    check_that_it_is_a_site_or_an_error(text)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TREES, SITES))
def test_any_tree_is_a_site_or_an_error(tree: object) -> None:
    check_that_it_is_a_site_or_an_error(as_yaml(tree))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_line_damaged_in_a_good_file_is_a_site_or_an_error(data: st.DataObject) -> None:
    lines = PRODUCT.splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[index])))
    with_what = data.draw(st.text(max_size=3))
    lines[index] = lines[index][:place] + with_what + lines[index][place + len(with_what) :]
    check_that_it_is_a_site_or_an_error("\n".join(lines))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n "])
def test_deep_nesting_does_not_exhaust_the_stack(opening: str) -> None:
    text = opening * 20_000
    if opening == "a:\n ":
        text = "".join(" " * n + "a:\n" for n in range(1000))
    assert problems_of(text)


def test_what_cannot_be_printed_is_not_repeated_in_a_remedy() -> None:
    check_that_it_is_a_site_or_an_error(
        "device: {instance: 1}\nbuses:\n  b:\n    port: tcp://10.0.000\ud7fc10001\n    meters: {}\n"
    )
