"""``decode``: the same bytes, however a user has them."""

from __future__ import annotations

from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import simplejson

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
        "function       st/ta/su  quantity     value  bytes",
        "instantaneous  0/0/0     volume    0.001 m³  E901000000",
        "instantaneous  1/0/0     volume    0.135 m³  7E35010000",
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
                    "dib": "04",
                    "vib": "13",
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
    assert done.err == "short frame: C 5B, address 1\n"
    assert [each["ci"] for each in telegrams(done.out)] == ["73", "72"]


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
    assert closed.status == 0
    assert "encrypted, and there is no key" in closed.out
    assert "--key FILE" in closed.err
    wrong = failing.result()
    assert wrong.status == 0
    assert "the key does not fit" in wrong.out
    for done in (opened, closed, wrong):
        assert KEY not in (done.out + done.err).upper()
        assert KEY[::-1] not in (done.out + done.err).upper()


def test_in_a_narrow_terminal_bytes_and_words_fold_and_values_never(program: Program) -> None:
    done = program.run("decode", str(VECTORS / "variable-length.hex"), columns=50)
    assert done.status == 0
    assert "0F0E0D0C0B0A09080706050403020100" in done.out
    assert "1234567890.123 m³" in done.out
    assert "…" not in done.out


def test_a_text_of_a_meter_is_shown_as_it_is(program: Program) -> None:
    # Customer (FD 11): "[/b]:key:", which is markup to the terminal library, and an escape.
    record = bytes.fromhex("0D FD 11 0A") + b"\x1b:yek:]b/["
    body = bytes.fromhex("08 01 72 78 56 34 12 2D 2C 07 07 05 00 00 00") + record
    frame = bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))
    done = program.run("decode", frame.hex())
    assert done.status == 0
    assert "[/b]:key:\ufffd" in done.out
