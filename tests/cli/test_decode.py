"""``decode``: the same bytes, however a user has them."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import simplejson

from bridge.mbus.crc import checksum

if TYPE_CHECKING:
    from tests.cli.conftest import Done, Program

VECTORS = Path(__file__).parents[1] / "vectors"

# A water meter with the fixed structure: 1 l, and 135 l at the due date (libmbus has it too).
FIXED = "68 13 13 68 08 05 73 78 56 34 12 0A 00 E9 7E 01 00 00 00 35 01 00 00 3C 16"
FIXED_WRONG_CHECKSUM = FIXED.replace("3C 16", "3D 16")
# 12345678-KAM-07-07: 561.080 m3
WATER = "68 15 15 68 08 01 72 78 56 34 12 2D 2C 07 07 05 00 00 00 04 13 B8 8F 08 00 61 16"
# Mode 5 (EN 13757-7, 7.6.5) with two blocks
ENCRYPTED = (
    "682F2F6808037202090051745221045A002005CBE277F4EF86CC56C9312E94DBAAE98D037B977A288E16183AF68183"
    "F011E1DB0D16"
)
KEY = "00112233445566778899AABBCCDDEEFF"


def telegrams(out: str) -> list[dict[str, Any]]:
    """One JSON object a line; numbers with every digit."""
    return [simplejson.loads(line, use_decimal=True) for line in out.splitlines()]


WRITTEN = {
    "bytes": FIXED.split(),
    "one argument": [FIXED],
    "without blanks": [FIXED.replace(" ", "").lower()],
    "as in C": ["0x" + FIXED.replace(" ", ", 0x")],
    "colons": [FIXED.replace(" ", ":")],
}


@pytest.fixture(scope="module")
def decoded(program: Program) -> dict[str, Future[Done]]:
    """All of them begun, to use both cores."""
    return {how: program.begin("decode", *written) for how, written in WRITTEN.items()}


@pytest.mark.parametrize("how", WRITTEN)
def test_hex_digits_are_taken_as_people_write_them(
    decoded: dict[str, Future[Done]], how: str
) -> None:
    done = decoded[how].result()
    assert done.status == 0
    assert done.err == ""
    assert done.out.splitlines() == [
        "12345678-FFF-FF-07, address 5, CI 73, water, access number 10, status 00",
        "bytes        function       storage  quantity     value",
        "E9 01000000  instantaneous  0        volume    0.001 m³",
        "7E 35010000  instantaneous  1        volume    0.135 m³",
    ]


def test_json_is_one_object_a_telegram_with_exact_numbers(program: Program) -> None:
    done = program.run("decode", *WATER.split(), "--format", "json")
    assert done.status == 0
    assert done.err == ""
    assert telegrams(done.out) == [
        {
            "control": "08",
            "address": 1,
            "ci": "72",
            "header": {
                "identification": "12345678",
                "manufacturer": "KAM",
                "maker": "Kamstrup",
                "model": None,
                "version": 7,
                "device_type": "water",
                "device_type_code": 7,
                "access_number": 5,
                "status": 0,
                "configuration": "0000",
                "encryption": "none",
            },
            "records": [
                {
                    "key": "0413",
                    "dib": "04",
                    "vib": "13",
                    "data": "B88F0800",
                    "function": "instantaneous",
                    "storage": 0,
                    "tariff": 0,
                    "subunit": 0,
                    "quantity": "volume",
                    "unit": "m3",
                    "value": Decimal("561.080"),
                    "modifiers": [],
                    "invalid": None,
                }
            ],
            "more_records_follow": False,
            "manufacturer_data": None,
            "errors": [],
        }
    ]
    assert '"value": 561.080,' in done.out, "as the meter's digits, not as the nearest float"


def test_a_file_of_hex_digits_may_have_comments_and_several_telegrams(
    program: Program, tmp_path: Path
) -> None:
    path = tmp_path / "meter.hex"
    path.write_text(f"# Wasserzähler, Keller: 12:30\n{FIXED}\n\n{WATER}  # the new one\n")
    done = program.run("decode", str(path), "-f", "json")
    assert done.status == 0
    assert done.err == ""
    assert [each["header"]["version"] for each in telegrams(done.out)] == [None, 7]


def test_several_files_and_one_with_the_bytes_themselves(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.hex").write_text(FIXED)
    # Nothing in it is beyond ASCII.
    (tmp_path / "b.bin").write_bytes(bytes.fromhex("10 5B 01 5C 16"))
    (tmp_path / "c.bin").write_bytes(bytes.fromhex(WATER))
    paths = [str(tmp_path / name) for name in ("a.hex", "b.bin", "c.bin")]
    done = program.run("decode", *paths, "-f", "json")
    assert done.status == 0
    assert done.err == f"{paths[1]}: short frame: REQ_UD2, C 5B, address 1\n"
    assert [(each["file"], each["ci"]) for each in telegrams(done.out)] == [
        (paths[0], "73"),
        (paths[2], "72"),
    ]


@pytest.mark.parametrize("data", [FIXED.encode(), bytes.fromhex(FIXED)], ids=["hex", "binary"])
def test_standard_input_is_a_dash(program: Program, data: bytes) -> None:
    done = program.run("decode", "-", stdin=data)
    assert done.status == 0
    assert "0.135 m³" in done.out


def test_a_wrong_checksum_is_named_and_the_next_telegram_is_still_read(program: Program) -> None:
    begun = program.begin("decode", FIXED_WRONG_CHECKSUM)
    done = program.run("decode", FIXED_WRONG_CHECKSUM, WATER)
    assert done.status == 1
    damaged = "damaged frame, checksum 0x3d, but bytes add up to 0x3c"
    assert done.err == f"mbus-bacnet: byte 0: {damaged}: {FIXED_WRONG_CHECKSUM}\n"
    assert "561.080 m³" in done.out
    assert "0.135" not in done.out
    alone = begun.result()
    assert alone.status == 1
    assert alone.out == ""
    assert alone.err.endswith("mbus-bacnet: there is no whole frame in these bytes\n")


def test_a_truncated_telegram_says_how_much_of_it_is_there(program: Program) -> None:
    done = program.run("decode", *FIXED.split()[:-8], "-f", "json")
    assert done.status == 1
    early = "a frame that ends too early, with 17 of 25 bytes"
    assert done.err.startswith(f"mbus-bacnet: byte 0: {early}: 68 13 13 68")
    (told,) = telegrams(done.out)
    assert told["problems"] == [
        {"offset": 0, "reason": early, "data": FIXED.replace(" ", "")[:34]},
        {"offset": None, "reason": "there is no whole frame in these bytes", "data": None},
    ]


def test_noise_around_frames_is_shown_and_is_no_acknowledgement(program: Program) -> None:
    done = program.run("decode", "E5 FF E5 00", FIXED, "00")
    assert done.status == 0
    assert "0.135 m³" in done.out
    assert done.err.splitlines() == [
        "acknowledgement: E5",
        "3 bytes of no frame (0xff stands where a start character should): FF E5 00",
        "1 byte of no frame (0x00 stands where a start character should): 00",
    ]


def test_a_key_opens_an_encrypted_telegram_and_is_never_shown(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "other").write_text(KEY[::-1])
    closing = program.begin("decode", ENCRYPTED)
    failing = program.begin("decode", ENCRYPTED, "--key", str(tmp_path / "other"))
    opened = program.run("decode", ENCRYPTED, "--key", str(tmp_path / "key"), "-f", "json")
    assert opened.status == 0
    assert opened.err == ""
    (telegram,) = telegrams(opened.out)
    assert telegram["header"]["encryption"] == "mode 5"
    assert [(each["value"], each["unit"]) for each in telegram["records"]] == [
        (Decimal(45120000), "Wh"),
        (Decimal("2213.30"), "m3"),
        (Decimal(12500), "W"),
        (Decimal("71.2"), "Cel"),
        (Decimal("45.5"), "Cel"),
    ]
    closed = closing.result()
    assert closed.status == 1, "not all was decoded"
    assert "encrypted, and there is no key" in closed.out
    assert "--key FILE" in closed.err
    wrong = failing.result()
    assert wrong.status == 1
    assert "the key does not fit" in wrong.out
    for done in (opened, closed, wrong):
        assert KEY not in (done.out + done.err).upper()
        assert KEY[::-1] not in (done.out + done.err).upper()


def test_in_a_narrow_terminal_values_stay_whole_and_bytes_and_words_too(program: Program) -> None:
    begun = program.begin("decode", str(VECTORS / "variable-length.hex"), columns=50)
    done = program.run("decode", str(VECTORS / "heat-cooling.hex"), columns=80)
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 80
    words = set(re.split(r"[\s,()]+|(?<=-)", done.out))
    assert words >= {"volume-", "flow", "temperature", "backward", "no", "value:", "BCD", "integer"}
    rows = done.out.splitlines()
    assert [row.split()[0] for row in rows if row.startswith(("04 863C", "3A20"))]
    assert "3A200000" in done.out, "the data of a record, all of it on one line"
    narrow = begun.result()
    assert "0F0E0D0C0B0A09080706050403020100" in narrow.out
    assert "1234567890.123 m³" in narrow.out
    assert "…" not in narrow.out
    for line in narrow.out.splitlines()[2:]:
        hexes = re.match(r"[0-9A-F ]+", line[:12])
        assert hexes is None or all(len(each) % 2 == 0 for each in hexes[0].split()), line


def test_a_text_of_a_meter_is_shown_as_it_is(program: Program) -> None:
    # Customer (FD 11): "[/b]:key:", which is markup to the terminal library, and an escape.
    record = bytes.fromhex("0D FD 11 0A") + b"\x1b:yek:]b/["
    body = bytes.fromhex("08 01 72 78 56 34 12 2D 2C 07 07 05 00 00 00") + record
    frame = bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    done = program.run("decode", frame.hex())
    assert done.status == 0
    assert "[/b]:key:\ufffd" in done.out


HEAT = [str(VECTORS / f"heat-{n}-of-2.hex") for n in (1, 2)]


@pytest.fixture
def heat(tmp_path: Path) -> str:
    """An answer of two telegrams in one file."""
    path = tmp_path / "heat.hex"
    path.write_text("".join(Path(each).read_text() for each in HEAT))
    return str(path)


def test_the_telegrams_of_one_answer_are_numbered(
    program: Program, tmp_path: Path, heat: str
) -> None:
    begun = program.begin("decode", heat, "-f", "json")
    both = tmp_path / "both.hex"
    both.write_text("".join(Path(each).read_text() + WATER for each in HEAT[::-1]))
    done = program.run("decode", heat)
    headlines = [line for line in done.out.splitlines() if "access number" in line]
    assert [line.split(", ")[-1] for line in headlines] == ["telegram 1 of 2", "telegram 2 of 2"]
    assert [(each["telegram"], each["telegrams"]) for each in telegrams(begun.result().out)] == [
        (1, 2),
        (2, 2),
    ]
    apart = program.run("decode", str(both), "-f", "json")
    assert [each.get("telegram") for each in telegrams(apart.out)] == [None] * 4


# Time and first value of a profile, and the profile in the next telegram (EN 13757-3, F.2.7).
BASE = "78563412 2D2C 01 07 05 00 0000 8404 6D 0020{day:02X}11 8B0415 {volume} 1F"
PROFILE = "78563412 2D2C 01 07 06 00 0000 8D04951F 05 6901 030211"


def frame(data: str, *, ci: int = 0x72, control: int = 0x08, address: int = 1) -> str:
    """Hex digits of a long frame."""
    body = bytes((control, address, ci)) + bytes.fromhex(data)
    return (
        bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    ).hex()


def test_telegrams_of_different_files_are_never_one_answer(
    program: Program, tmp_path: Path
) -> None:
    for day, volume in ((1, "003012"), (2, "009912")):
        first = frame(BASE.format(day=0x40 | day, volume=volume))
        (tmp_path / f"a-first-{day}.hex").write_text(first)
        (tmp_path / f"b-second-{day}.hex").write_text(frame(PROFILE))
    whole = tmp_path / "c-whole.hex"
    whole.write_text(first + frame(PROFILE))
    listed = program.begin("decode", str(tmp_path), "-f", "xml")
    done = program.run("decode", str(tmp_path), "-f", "json")
    found = [each for file in telegrams(done.out)[:-1] for each in file["telegrams"]]
    assert [each.get("telegrams") for each in found] == [None, None, None, None, 2, 2]
    for alone in found[2:4]:
        (profile,) = alone["profiles"]
        assert profile["base"] is None
        assert {each["value"] for each in profile["values"]} == {None}
    assert found[5]["profiles"][0]["values"][0] == {
        "time": "2010-01-02T00:00:00",
        "value": Decimal("12990.0"),
        "invalid": None,
    }
    assert len(ElementTree.fromstring(listed.result().out).findall("MBusData")) == 5


def test_profiles_of_many_telegrams_take_no_longer_than_they_are(
    program: Program, tmp_path: Path
) -> None:
    # 600 telegrams with 36 profiles each; in the square of their number that were minutes.
    header, profiles = "78563412 2D2C 01 07 {:02X} 00 0000", "0D9B1F02 6901" * 36
    path = tmp_path / "profiles.hex"
    path.write_text(
        "\n".join(
            frame(f"{header.format(n & 255)} 046D 00204111 {profiles} 1F") for n in range(600)
        )
    )
    done = program.run("decode", str(path), "-f", "json")
    assert done.status == 0
    assert len(done.out.splitlines()) == 600


@pytest.mark.parametrize("format", ["text", "json", "csv", "xml"])
def test_a_damaged_frame_among_good_ones_is_status_1(
    program: Program, tmp_path: Path, format: str
) -> None:
    (tmp_path / "a.hex").write_text(f"{WATER} {FIXED_WRONG_CHECKSUM} {FIXED}")
    done = program.run("decode", str(tmp_path / "a.hex"), "-f", format)
    assert done.status == 1
    reason = "damaged frame, checksum 0x3d, but bytes add up to 0x3c"
    assert done.err == f"mbus-bacnet: byte 27: {reason}: {FIXED_WRONG_CHECKSUM}\n"
    if format == "json":
        assert telegrams(done.out)[-1] == {
            "problems": [
                {"offset": 27, "reason": reason, "data": FIXED_WRONG_CHECKSUM.replace(" ", "")}
            ]
        }


def test_damaged_frames_are_counted_by_what_is_wrong(program: Program, tmp_path: Path) -> None:
    wrong_stop = FIXED.replace("3C 16", "3C 17")
    (tmp_path / "a.hex").write_text(f"{WATER} {FIXED_WRONG_CHECKSUM} {wrong_stop} {FIXED[:30]}")
    done = program.run("decode", str(tmp_path), "-f", "json")
    assert done.status == 1
    *_, last = telegrams(done.out)
    assert last["summary"]["errors"] == {
        "damaged frame: ends too early": 1,
        "damaged frame: wrong checksum": 1,
        "damaged frame: wrong stop character": 1,
    }


@pytest.mark.parametrize("arguments", [[""], [" "], ["", WATER], ["", "."]])
def test_an_empty_argument_is_wrong_usage(program: Program, arguments: list[str]) -> None:
    done = program.run("decode", *arguments)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("mbus-bacnet: an argument is empty; give hex digits")


@pytest.mark.parametrize("format", ["text", "json", "csv", "xml"])
def test_the_name_of_a_file_may_have_any_bytes(
    program: Program, tmp_path: Path, format: str
) -> None:
    name = os.fsencode(tmp_path) + b"/a\xe4.hex"
    try:
        Path(os.fsdecode(name)).write_text(WATER)
    except OSError:
        pytest.skip("this file system takes no such name")
    done = program.shell(
        f"export PYTHONIOENCODING=utf-8:strict; mbus-bacnet decode {tmp_path} -f {format}"
    )
    assert done.status == 0
    assert "a\\xe4.hex" in done.out.replace("\\\\", "\\")


def test_a_terminal_of_another_encoding_gets_escapes(program: Program) -> None:
    done = program.shell(f"export PYTHONIOENCODING=ascii:strict; mbus-bacnet decode {WATER}")
    assert done.status == 0
    assert "561.080 m\\xb3" in done.out


def test_a_folder_without_a_recording_is_status_1(program: Program, tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "year.txt").write_text("2024")
    (tmp_path / "deeper" / "back").symlink_to(tmp_path)
    done = program.run("decode", str(tmp_path), "-f", "json")
    assert done.status == 1
    assert done.err == f"mbus-bacnet: {tmp_path}: there is no recording in this folder\n"
    (last,) = telegrams(done.out)
    assert (last["summary"]["files"], last["summary"]["files_passed_over"]) == (0, 2)


# Records, manufacturer data, and more in a telegram that is not here. The configuration field could
# mean encryption.
MUCH = frame("78563412 2D2C 07 07 05 00 FFFF 0413 01000000 1F AB CD")
# EN 13757-3, G.4: format 3B31, and a compact frame of it.
FORMAT = frame("08 313B 0202 0215 022A", ci=0x69)
COMPACT = frame("313B 42A6 D204 2E16 3423", ci=0x79)


def test_csv_and_xml_lose_nothing_in_silence(program: Program) -> None:
    begun = program.begin("decode", MUCH, FORMAT, "-f", "xml")
    done = program.run("decode", MUCH, FORMAT, "-f", "csv")
    assert done.status == 0
    note = "note: configuration field FFFF, yet not encrypted"
    assert done.err.splitlines() == [
        "telegram 1: manufacturer data: AB CD",
        "telegram 1: more records follow in the next telegram, which is not here",
        f"telegram 1: {note}",
        "telegram 2: format 3B31: 0202 0215 022A",
    ]
    xml = begun.result()
    assert xml.err == f"telegram 1: {note}\n"
    assert "<Value>AB CD</Value>" in xml.out
    assert "<Function>More records follow</Function>" in xml.out
    assert "<Format>3B31: 0202 0215 022A</Format>" in xml.out


@pytest.mark.parametrize("told", [f"{COMPACT} {FORMAT}", f"{FORMAT} {COMPACT}"])
def test_a_format_may_be_told_before_a_compact_frame_or_behind_it(
    program: Program, told: str
) -> None:
    done = program.run("decode", *told.split(), "-f", "json")
    assert done.status == 0
    (values,) = [each["records"] for each in telegrams(done.out) if each["records"]]
    assert [each["value"] for each in values] == [
        Decimal("123.4"),
        Decimal("567.8"),
        Decimal("901.2"),
    ]


def test_a_format_of_another_file_counts_only_where_it_is_the_same_meter(
    program: Program, tmp_path: Path
) -> None:
    header, other = "78563412 2D2C 01 07 05 00 0000", "79563412 2D2C 01 07 05 00 0000"
    content = "313B 42A6 D204 2E16 3423"
    files = {
        "a-same.hex": frame(f"{header} {content}", ci=0x73),
        "b-other.hex": frame(f"{other} {content}", ci=0x73),
        "c-nobody.hex": COMPACT,
        "d-told.hex": frame(f"{header} 08 313B 0202 0215 022A", ci=0x6B),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = program.run("decode", str(tmp_path), "-f", "json")
    assert done.status == 1
    same, strange, nobody, _, _ = telegrams(done.out)
    assert len(same["telegrams"][0]["records"]) == 3
    for file in (strange, nobody):
        assert file["telegrams"][0]["records"] == []
        assert "is not known yet" in file["telegrams"][0]["errors"][0]["reason"]


def test_what_a_master_says_is_shown_and_is_no_failure(program: Program, tmp_path: Path) -> None:
    select = frame("78563412 FFFF FF FF", ci=0x52, control=0x53, address=253)
    (tmp_path / "bus.hex").write_text(f"1040014116 E5 {select} E5 {WATER}")
    begun = program.begin("decode", str(tmp_path / "bus.hex"))
    done = program.run("decode", str(tmp_path), "-f", "json")
    assert done.status == 0
    file, last = telegrams(done.out)
    assert file["telegrams"][0]["command"]["meter"] == "12345678"
    assert (last["summary"]["commands"], last["summary"]["errors"]) == (
        {"selection of slave": 1},
        {},
    )
    text = begun.result()
    assert text.status == 0
    assert "address 253, CI 52, from a master\nselection of 12345678 (CI 52)\n" in text.out
    assert text.err.splitlines()[0] == "short frame: SND_NKE, C 40, address 1"


def test_a_fixed_data_structure_of_a_wrong_length_says_which_it_should_have(
    program: Program,
) -> None:
    begun = program.begin("decode", frame("1234", ci=0x73))
    done = program.run("decode", frame("1234", ci=0x77))
    assert "it wants 16 bytes, but there are 2" in done.out
    assert "it wants 16 bytes, but there are 2" in begun.result().out


def test_a_key_for_what_is_not_encrypted_is_noted(program: Program, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    done = program.run("decode", WATER, "--key", str(tmp_path / "key"))
    assert done.status == 0
    assert done.out.endswith("note: a key was given, but the telegram is not encrypted\n")


def test_csv_has_one_line_for_each_record(program: Program) -> None:
    done = program.run("decode", *FIXED.split(), *WATER.split(), "--format", "csv")
    assert done.status == 0
    assert done.err == ""
    assert done.out.split("\r\n") == [
        "file,telegram,address,meter,key,dib,vib,data,function,storage,tariff,subunit,quantity,"
        "modifiers,value,unit,invalid,time",
        ",1,5,12345678-FFF-FF-07,E9,,E9,01000000,instantaneous,0,0,0,volume,,0.001,m3,,",
        ",1,5,12345678-FFF-FF-07,7E/1,,7E,35010000,instantaneous,1,0,0,volume,,0.135,m3,,",
        ",2,1,12345678-KAM-07-07,0413,04,13,B88F0800,instantaneous,0,0,0,volume,,561.080,m3,,",
        "",
    ]


def test_what_has_no_line_in_csv_is_told_on_stderr(program: Program) -> None:
    begun = program.begin("decode", BUSY, "-f", "csv")
    done = program.run("decode", CUT_SHORT, "-f", "csv")
    assert done.status == 1
    assert done.out.count("\r\n") == 1
    assert done.err == "telegram 1: not decoded: byte 0: premature end of record: 041301\n"
    busy = begun.result()
    assert busy.status == 0, "the meter says so, and that is decoded"
    assert busy.err == "telegram 1: application error 08: application too busy\n"


# Without header: a record that ends too early; "application too busy".
CUT_SHORT = "68 06 06 68 08 01 78 04 13 01 99 16"
BUSY = "68 04 04 68 08 01 70 08 81 16"


def test_xml_is_one_document_for_an_answer_and_a_list_for_several(
    program: Program, heat: str
) -> None:
    begun = program.begin("decode", heat, "--format", "xml")
    listed = program.begin("decode", str(VECTORS), "--format", "xml")
    done = program.run("decode", *WATER.split(), "--format", "xml")
    assert done.status == 0
    assert done.err == ""
    root = ElementTree.fromstring(done.out)
    assert root.tag == "MBusData"
    assert [each.text for each in root.iter("Value")] == ["561.080000"]
    answer = ElementTree.fromstring(begun.result().out)
    assert answer.tag == "MBusData"
    assert {each.get("frame") for each in answer.iter("DataRecord")} == {"0", "1"}
    folder = listed.result()
    assert len(ElementTree.fromstring(folder.out).findall("MBusData")) == 16
    assert "16 files; 17 other files passed over" in folder.err


SHORTER = "CI 72 wants a header of 12 bytes, but there are 2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad recordings, and files that are none."""
    made = tmp_path_factory.mktemp("recordings")
    (made / "a-good.hex").write_text(f"{WATER}\n{FIXED}\n")
    (made / "b-cut.txt").write_text(CUT_SHORT)
    (made / "c-noise.hex").write_text("FF FF")
    (made / "d-odd.hex").write_text("68 1")
    (made / "e-good.bin").write_bytes(bytes.fromhex(BUSY))
    (made / "f-header.hex").write_text("68 05 05 68 08 01 72 01 02 7E 16")
    (made / "notes.txt").write_text("Read on a Tuesday.")
    (made / "year.txt").write_text("2024")
    (made / "g").mkdir()
    (made / "g" / "x.hex").write_text(WATER)
    return made


def test_a_folder_is_decoded_whatever_is_wrong_with_one_file(
    program: Program, folder: Path
) -> None:
    done = program.run("decode", str(folder), columns=100)
    assert done.status == 1
    assert "561.080 m³" in done.out
    assert "application error 08: application too busy" in done.out
    assert done.err.splitlines() == [
        f"{folder}/c-noise.hex: 2 bytes of no frame (0xff stands where a start character should): "
        "FF FF",
        f"mbus-bacnet: {folder}/c-noise.hex: there is no whole frame in these bytes",
        f"mbus-bacnet: {folder}/d-odd.hex: 3 hex digits make no whole bytes: one is missing",
        f"mbus-bacnet: {folder}/f-header.hex: byte 0: {SHORTER}: 68 05 05 68 08 01 72 01 02 7E 16",
    ]
    lines = done.out.splitlines()
    head = "7 files, 3 without a telegram; 2 other files passed over; 5 telegrams; 4 records"
    summary = lines[lines.index(head) + 1 :]
    assert summary[:4] == [
        "manufacturers   KAM: 2",
        "device types    water: 3",
        "meters report   application too busy: 1",
        "errors          3 hex digits make no whole bytes: one is missing: 1; CI 72 wants a header "
        "of 12",
    ]


def test_json_of_a_folder_is_an_object_for_each_file_and_a_summary(
    program: Program, folder: Path
) -> None:
    done = program.run("decode", str(folder), "-f", "json")
    *files, last = telegrams(done.out)
    assert [(Path(each["file"]).name, len(each["telegrams"])) for each in files] == [
        ("a-good.hex", 2),
        ("b-cut.txt", 1),
        ("c-noise.hex", 0),
        ("d-odd.hex", 0),
        ("e-good.bin", 1),
        ("f-header.hex", 0),
        ("x.hex", 1),
    ]
    nothing = {"offset": None, "reason": "there is no whole frame in these bytes", "data": None}
    assert files[2]["problems"] == [nothing]
    header = {"offset": 0, "reason": SHORTER, "data": "6805056808017201027E16"}
    assert files[5]["problems"] == [header]
    assert last["summary"] == {
        "files": 7,
        "files_without_telegram": 3,
        "files_passed_over": 2,
        "telegrams": 5,
        "records": 4,
        "manufacturers": {"KAM": 2},
        "device_types": {"water": 3},
        "without_value": {},
        "not_understood": {},
        "application_errors": {"application too busy": 1},
        "commands": {},
        "errors": {
            "3 hex digits make no whole bytes: one is missing": 1,
            "CI 72 wants a header of 12 bytes, but there are 2": 1,
            "premature end of record": 1,
            "there is no whole frame in these bytes": 1,
        },
    }


def test_a_summary_counts_what_has_no_value_and_what_is_in_no_table(
    program: Program, tmp_path: Path
) -> None:
    # Twice error digits, a reserved VIF and a reserved VIFE.
    records = "0A5AEEEE 0A5ADDDD 017B01 01FB2701 01931501"
    body = bytes.fromhex(f"08 01 78 {records}")
    frame = bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    (tmp_path / "odd.hex").write_text(frame.hex())
    done = program.run("decode", str(tmp_path), "-f", "json")
    summary = telegrams(done.out)[-1]["summary"]
    assert summary["without_value"] == {"BCD digits above 9": 2, "no data available": 1}
    assert summary["not_understood"] == {"VIB 7B": 1, "VIB FB27": 1}


def test_a_missing_file_is_status_2_and_the_others_are_decoded(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "water.hex").write_text(WATER)
    done = program.run("decode", str(tmp_path / "nobody.hex"), str(tmp_path / "water.hex"))
    assert done.status == 2
    assert "561.080 m³" in done.out
    assert "nobody.hex' is neither hex digits nor a file that is there" in done.err


def test_compact_frames_are_read_with_the_format_told_before(program: Program) -> None:
    # A full frame with 0413; a compact frame of that format (EN 13757-3, annex G).
    block, data = bytes.fromhex("0413"), bytes.fromhex("B98F0800")
    full = bytes.fromhex("08 01 78") + block + data
    content = checksum(block).to_bytes(2, "little") + checksum(block + data).to_bytes(2, "little")
    compact = bytes.fromhex("08 01 79") + content + data
    frames = [
        (bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))).hex()
        for body in (full, compact)
    ]
    begun = program.begin("decode", frames[1])
    done = program.run("decode", *frames, "-f", "json")
    assert done.status == 0
    assert [each["records"][0]["value"] for each in telegrams(done.out)] == [Decimal("561.081")] * 2
    unknown = begun.result()
    assert unknown.status == 1
    assert "is not known yet" in unknown.out


def test_a_long_row_of_hex_digits_is_no_name_of_a_file(program: Program) -> None:
    done = program.run("decode", "00" * 300 + WATER.replace(" ", ""))
    assert done.status == 0
    assert "561.080 m³" in done.out


def test_the_status_is_told_in_words(program: Program) -> None:
    done = program.run("decode", str(VECTORS / "invalid-values.hex"))
    assert "status 18 (permanent error, temporary error)" in done.out
    assert "no value: BCD digits DDDDDDDD" in done.out


@pytest.mark.parametrize("format", ["text", "json", "csv", "xml"])
def test_a_full_disk_is_said_in_a_line(program: Program, format: str) -> None:
    done = program.shell(f"mbus-bacnet decode {FIXED} --format {format} > /dev/full")
    assert done.status == 1
    assert done.err == "mbus-bacnet: the output cannot be written: No space left on device\n"


def test_the_meter_of_an_encrypted_telegram_is_named_in_full(program: Program) -> None:
    done = program.run("decode", ENCRYPTED, "--meter", "12345678")
    assert done.status == 2
    assert "the whole secondary address is needed, like 12345678-KAM-1B-04" in done.err


def test_the_address_of_the_meter_opens_what_does_not_tell_it(
    program: Program, tmp_path: Path
) -> None:
    # The same as ENCRYPTED, with a short header (CI 7A).
    long = bytes.fromhex(ENCRYPTED)
    body = long[4:6] + b"\x7a" + long[15:-2]
    frame = bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    (tmp_path / "key").write_text(KEY)
    key = ["--key", str(tmp_path / "key")]
    begun = program.begin("decode", frame.hex(), *key)
    done = program.run("decode", frame.hex(), *key, "--meter", "51000902-TST-21-04", "-f", "json")
    assert done.status == 0
    assert telegrams(done.out)[0]["records"][0]["value"] == 45120000
    assert begun.result().status == 1
    assert "which the telegram does not tell" in begun.result().out
    assert "name the meter, --meter ADDRESS" in begun.result().err
