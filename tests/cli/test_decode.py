"""``decode``: the same bytes, however a user has them."""

from __future__ import annotations

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
    assert done.err == f"{paths[1]}: short frame: C 5B, address 1\n"
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
    assert done.status == 0
    assert done.err == (
        f"25 bytes of no frame (checksum 0x3d, but bytes add up to 0x3c): {FIXED_WRONG_CHECKSUM}\n"
    )
    assert "561.080 m³" in done.out
    assert "0.135" not in done.out
    alone = begun.result()
    assert alone.status == 1
    assert alone.out == ""
    assert alone.err.endswith("mbus-bacnet: there is no whole frame in these bytes\n")


def test_a_truncated_telegram_says_how_much_of_it_is_there(program: Program) -> None:
    done = program.run("decode", *FIXED.split()[:-8], "-f", "json")
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith(
        "17 bytes of no frame (a frame that ends too early, with 17 of 25 bytes): 68 13 13 68"
    )


def test_noise_around_frames_is_shown_and_is_no_acknowledgement(program: Program) -> None:
    done = program.run("decode", "E5 FF E5 00", FIXED, "00")
    assert done.status == 0
    assert "0.135 m³" in done.out
    assert done.err.splitlines() == [
        "3 bytes of no frame (0xff stands where a start character should): FF E5 00",
        "1 byte of no frame (0x00 stands where a start character should): 00",
        "acknowledgement: E5",
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


def test_the_telegrams_of_one_answer_are_numbered(program: Program, tmp_path: Path) -> None:
    begun = program.begin("decode", *HEAT, "-f", "json")
    both = tmp_path / "both.hex"
    both.write_text("".join(Path(each).read_text() + WATER for each in HEAT[::-1]))
    done = program.run("decode", *HEAT)
    headlines = [line for line in done.out.splitlines() if "access number" in line]
    assert [line.split(", ")[-1] for line in headlines] == ["telegram 1 of 2", "telegram 2 of 2"]
    assert [(each["telegram"], each["telegrams"]) for each in telegrams(begun.result().out)] == [
        (1, 2),
        (2, 2),
    ]
    apart = program.run("decode", str(both), "-f", "json")
    assert [each.get("telegram") for each in telegrams(apart.out)] == [None] * 4


def test_csv_has_one_line_for_each_record(program: Program) -> None:
    done = program.run("decode", *FIXED.split(), *WATER.split(), "--format", "csv")
    assert done.status == 0
    assert done.err == ""
    assert done.out.split("\r\n") == [
        "file,telegram,address,meter,key,dib,vib,data,function,storage,tariff,subunit,quantity,"
        "modifiers,value,unit,invalid,time",
        ",1,5,12345678-FFF-FF-07,E9,,E9,01000000,instantaneous,0,0,0,volume,,0.001,m3,,",
        ",1,5,12345678-FFF-FF-07,7E,,7E,35010000,instantaneous,1,0,0,volume,,0.135,m3,,",
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


def test_xml_is_one_document_for_an_answer_and_a_list_for_several(program: Program) -> None:
    begun = program.begin("decode", *HEAT, "--format", "xml")
    listed = program.begin("decode", str(VECTORS), "--format", "xml")
    done = program.run("decode", *WATER.split(), "--format", "xml")
    assert done.status == 0
    assert done.err == ""
    root = ElementTree.fromstring(done.out)
    assert root.tag == "MBusData"
    assert [each.text for each in root.iter("Value")] == ["561.080000"]
    heat = ElementTree.fromstring(begun.result().out)
    (answer,) = heat.findall("MBusData")
    assert answer.get("file") == HEAT[0]
    assert {each.get("frame") for each in answer.iter("DataRecord")} == {"0", "1"}
    folder = listed.result()
    assert len(ElementTree.fromstring(folder.out).findall("MBusData")) == 15
    assert "16 files; 17 other files passed over" in folder.err


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
    (made / "deeper").mkdir()
    (made / "deeper" / "x.hex").write_text(WATER)
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
        f"mbus-bacnet: {folder}/f-header.hex: CI 72 wants a header of 12 bytes, but there are 2",
    ]
    lines = done.out.splitlines()
    head = "6 files, 3 without a telegram; 1 other file passed over; 4 telegrams; 3 records"
    summary = lines[lines.index(head) + 1 :]
    assert summary[:4] == [
        "manufacturers   KAM: 1",
        "device types    water: 2",
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
    ]
    assert files[2]["problems"] == ["there is no whole frame in these bytes"]
    assert last["summary"] == {
        "files": 6,
        "files_without_telegram": 3,
        "files_passed_over": 1,
        "telegrams": 4,
        "records": 3,
        "manufacturers": {"KAM": 1},
        "device_types": {"water": 2},
        "without_value": {},
        "not_understood": {},
        "application_errors": {"application too busy": 1},
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
    assert "which a short header does not tell" in begun.result().out
