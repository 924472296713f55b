"""The normalized XML form of libmbus: its words and layout, and our values."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.normalized import to_xml
from bridge.mbus.telegram import Telegram, decode_telegram

TELEGRAMS = sorted((Path(__file__).parents[3] / "shared" / "vectors" / "telegrams").glob("*.hex"))
needs_telegrams = pytest.mark.skipif(not TELEGRAMS, reason="no recorded telegrams in ../shared")

_NO_DATE = "day and month are 0, and it writes them as a date"
_BCD = "it makes numbers of BCD digits above 9"


def _no_value(reason: str) -> str:
    return f"<Value></Value>\n        <Invalid>{reason}</Invalid>"


# What it writes in a telegram, what we write, and why. This list only shrinks.
KNOWN = {
    ("ACW_Itron-BM-plus-m", "<Value>2000-00-00</Value>"): (_no_value("no date"), _NO_DATE),
    ("siemens_water", "<Value>2000-00-00</Value>"): (_no_value("no date"), _NO_DATE),
    ("siemens_wfh21", "<Value>2000-00-00</Value>"): (_no_value("no date"), _NO_DATE),
    ("ELS_Elster-F96-Plus", "<Value>13131113.000000</Value>"): (_no_value("BCD DDDDEBBD"), _BCD),
    ("ELS_Elster-F96-Plus", "<Value>131.113000</Value>"): (_no_value("BCD DDEBBD"), _BCD),
    ("abb_f95", "<Value>1311041.300000</Value>"): (_no_value("BCD DDEBB4DD"), _BCD),
    ("abb_f95", "<Value>11.041300</Value>"): (_no_value("BCD EBB4DD"), _BCD),
    ("REL-Relay-Padpuls2", "<Value>1900-01-00T00:00:00Z</Value>"): (
        _no_value("marked invalid"),
        "it does not look at the bit that marks a clock as invalid",
    ),
    ("sen_pollutherm", '<DataRecord id="2">\n'): (
        '<DataRecord id="2">\n'
        "        <Function>Instantaneous value</Function>\n"
        "        <StorageNumber>0</StorageNumber>\n"
        "        <Unit></Unit>\n"
        "        <Quantity>Unknown</Quantity>\n"
        "        <Value>302.000000</Value>\n",
        "VIF 7B is in no table, and it leaves the record empty",
    ),
}


def telegram_of(records: str, *, access: str = "05") -> Telegram:
    header = bytes.fromhex(f"78563412 2D2C 07 07 {access} 00 0000")
    return decode_telegram(LongFrame(8, 1, 0x72, header + bytes.fromhex(records)))


def record_of(record: str) -> list[tuple[str, str]]:
    """Element and text of the only record."""
    (found,) = ElementTree.fromstring(to_xml([[telegram_of(record)]])).iter("DataRecord")
    return [(child.tag, child.text or "") for child in found]


@needs_telegrams
@pytest.mark.parametrize("path", TELEGRAMS, ids=lambda path: path.stem)
def test_a_recorded_telegram_reads_as_libmbus_writes_it(path: Path) -> None:
    frame = take_frame(bytearray.fromhex(path.read_text()))
    assert isinstance(frame, LongFrame)
    ours = to_xml([[decode_telegram(frame)]])
    # It declares ISO 8859-1 and writes UTF-8.
    theirs = path.with_suffix(".xml").read_bytes().decode("utf-8")
    theirs = theirs.encode("ascii", "xmlcharrefreplace").decode("ascii")
    for (name, written), (right, _) in KNOWN.items():
        if name == path.stem:
            assert written in theirs
            theirs = theirs.replace(written, right)
    # It tells nothing of combinable VIFEs, and has no element for them.
    assert re.sub(r" +<Modifier>.*</Modifier>\n", "", ours) == theirs


@needs_telegrams
def test_the_known_differences_are_of_telegrams_that_exist() -> None:
    assert {name for name, _ in KNOWN} <= {path.stem for path in TELEGRAMS}


def test_a_telegram_becomes_this_document() -> None:
    assert to_xml([[telegram_of("8C10 13 56341200  0F AB CD")]]) == (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        "<MBusData>\n"
        "\n"
        "    <SlaveInformation>\n"
        "        <Id>12345678</Id>\n"
        "        <Manufacturer>KAM</Manufacturer>\n"
        "        <Version>7</Version>\n"
        "        <ProductName></ProductName>\n"
        "        <Medium>Water</Medium>\n"
        "        <AccessNumber>5</AccessNumber>\n"
        "        <Status>00</Status>\n"
        "        <Signature>0000</Signature>\n"
        "    </SlaveInformation>\n"
        "\n"
        '    <DataRecord id="0">\n'
        "        <Function>Instantaneous value</Function>\n"
        "        <StorageNumber>0</StorageNumber>\n"
        "        <Tariff>1</Tariff>\n"
        "        <Device>0</Device>\n"
        "        <Unit>m^3</Unit>\n"
        "        <Quantity>Volume</Quantity>\n"
        "        <Value>123.456000</Value>\n"
        "    </DataRecord>\n"
        "\n"
        '    <DataRecord id="1">\n'
        "        <Function>Manufacturer specific</Function>\n"
        "        <StorageNumber>0</StorageNumber>\n"
        "        <Unit></Unit>\n"
        "        <Quantity></Quantity>\n"
        "        <Value>AB CD</Value>\n"
        "    </DataRecord>\n"
        "\n"
        "</MBusData>\n"
    )


def test_the_telegrams_of_an_answer_are_one_document_with_records_numbered_on() -> None:
    first = telegram_of("0413 01000000 1F", access="05")
    last = telegram_of("0413 02000000", access="06")
    root = ElementTree.fromstring(to_xml([[first, last]]))
    assert root.findtext("SlaveInformation/AccessNumber") == "5"
    records = root.findall("DataRecord")
    assert [record.attrib for record in records] == [
        {"id": "0", "frame": "0"},
        {"id": "1", "frame": "0"},
        {"id": "2", "frame": "1"},
    ]
    assert records[1].findtext("Function") == "More records follow"
    assert [record.findtext("Value") for record in records] == ["0.001000", "", "0.002000"]


def test_several_answers_are_a_list_that_names_their_files() -> None:
    answers = [[telegram_of("0413 01000000")], [telegram_of("0413 02000000")]]
    root = ElementTree.fromstring(to_xml(answers, ["a.hex", 'b"<ü>.hex']))
    assert root.tag == "MBusDataList"
    assert [each.get("file") for each in root.findall("MBusData")] == ["a.hex", 'b"<ü>.hex']
    assert len(list(ElementTree.fromstring(to_xml(answers)))) == 2
    assert list(ElementTree.fromstring(to_xml([]))) == []


@pytest.mark.parametrize(
    ("record", "unit", "quantity", "value"),
    [
        ("0C 05 23 01 00 00", "Wh", "Energy", "12300.000000"),
        ("0B 3B 12 00 F0", "m^3/h", "Volume flow", "-0.012000"),
        ("02 5A 6D 00", "°C", "Flow temperature", "10.900000"),
        ("04 FD40 01 00 00 00", "V", "Voltage", "0.000000001"),  # it would write 0.000000
        ("05 5B 14 59 26 42", "°C", "Flow temperature", "41.586990"),
        ("02 6C 3F 3C", "-", "Time point (date)", "2025-12-31"),
        ("04 6D 05 0E 49 33", "-", "Time point (date & time)", "2026-03-09T14:05:00Z"),
        ("02 6C FF FC", "-", "Time point (date)", "XXXX-12-31"),
        ("04 6D 00 00 FF FC", "-", "Time point (date & time)", "XXXX-12-31T00:00:00Z"),
        ("01 FD 09 07", "", "Medium", "7.000000"),
        ("0D FD 11 05 4F 4C 4C 45 48", "", "Customer", "HELLO"),
        ("02 7C 02 57 50 D4 11", "-", "PW", "4564.000000"),
        ("02 FC 03 48 52 25 74 D4 11", "-", "%RH", "45.640000"),
        ("02 FB 09 02 00", "J", "Energy", "2000000000.000000"),  # it has no unit for it
        ("01 FD 31 05", "s", "tariff-duration", "300.000000"),  # it calls that a storage interval
        ("0D FD 3B 03 01 AB FF", "", "data-container", "01 AB FF"),
    ],
)
def test_units_quantities_and_values_are_in_its_words(
    record: str, unit: str, quantity: str, value: str
) -> None:
    says = dict(record_of(record))
    assert (says["Unit"], says["Quantity"], says["Value"]) == (unit, quantity, value)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("78563412 2D2C 08 04", "Kamstrup Multical 601"),
        ("78563412 2D2C 09 04", ""),
        ("78563412 B405 7F 04", "Aquametro SAPHIR"),
        ("78563412 C514 00 06", "Engelmann WaterStar"),
        ("78563412 C514 00 04", "Engelmann / Elster SensoStar 2"),
        ("78563419 434C 16 02", "Saia-Burgess ALE3"),
        ("78563412 434C 16 02", ""),
    ],
)
def test_products_have_its_names(address: str, name: str) -> None:
    data = bytes.fromhex(f"{address} 05 00 0000")
    text = to_xml([[decode_telegram(LongFrame(8, 1, 0x72, data))]])
    assert f"<ProductName>{name}</ProductName>" in text


def test_no_value_is_empty_and_says_why() -> None:
    assert record_of("0A 5A EE EE")[-2:] == [("Value", ""), ("Invalid", "BCD EEEE")]


def test_combinable_vifes_are_told() -> None:
    assert record_of("04 93 3C 01 00 00 00")[-2:] == [
        ("Value", "0.001000"),
        ("Modifier", "backward"),
    ]


def test_a_character_that_xml_cannot_hold_is_a_blank() -> None:
    (*_, (_, text)) = record_of("0D FD 11 06 3C 26 22 1B 00 FC")
    assert text == 'ü  "&<'


@pytest.mark.parametrize(
    ("ci", "data"),
    [
        (0x73, "78 56 34 12 0A 00 E9 7E 01 00 00 00 35 01 00 00"),
        (0x77, "12 34 56 78 0A 00 E9 7E 00 00 00 01 00 00 01 35"),
    ],
)
def test_the_fixed_data_structure_has_units_of_its_own(ci: int, data: str) -> None:
    telegram = decode_telegram(LongFrame(8, 5, ci, bytes.fromhex(data)))
    root = ElementTree.fromstring(to_xml([[telegram]]))
    information = root.find("SlaveInformation")
    assert information is not None
    assert [(child.tag, child.text) for child in information] == [
        ("Id", "12345678"),
        ("Medium", "Water"),
        ("AccessNumber", "10"),
        ("Status", "00"),
    ]
    # Counter 2 has the unit of counter 1, and was stored at the due date.
    assert [[child.text for child in record] for record in root.iter("DataRecord")] == [
        ["Actual value", "l", "1"],
        ["Stored value", "l", "135"],
    ]


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        (0x02, "Wh", "12"),
        (0x0D, "100 kJ", "12"),  # libmbus has this and the next in each other's place
        (0x0E, "MJ", "12"),
        (0x1B, "10 MW", "12"),
        (0x37, "100 m^3/h", "12"),
        (0x38, "1e-3 °C", "12"),
        (0x3F, "without units", "12"),
        (0x01, "D,M,Y", "00000012"),
    ],
)
def test_a_counter_of_the_fixed_data_structure_is_in_the_meters_unit(
    unit: int, name: str, value: str
) -> None:
    data = (
        bytes.fromhex("78 56 34 12 0A 00") + bytes((unit, unit)) + bytes.fromhex("12 00 00 00" * 2)
    )
    root = ElementTree.fromstring(to_xml([[decode_telegram(LongFrame(8, 5, 0x73, data))]]))
    assert [record.findtext("Unit") for record in root.iter("DataRecord")] == [name, name]
    assert [record.findtext("Value") for record in root.iter("DataRecord")] == [value, value]


@pytest.mark.parametrize(
    ("ci", "data", "element", "text"),
    [
        (0x70, "08", "Error", "Application too busy for handling readout request"),
        (0x70, "", "Error", "Unspecified error"),
        (0x70, "77", "Error", "Unknown error (0x77)"),
        (0x71, "04 80", "Alarm", "04 80"),
        (0x78, "04 13 01", "Error", "byte 0: premature end of record: 041301"),
        (0x69, "08 31 3B 02 02 02 15 02 2A", "Format", "3B31: 0202 0215 022A"),
    ],
)
def test_what_is_no_record_is_an_element_of_the_header(
    ci: int, data: str, element: str, text: str
) -> None:
    telegram = decode_telegram(LongFrame(8, 5, ci, bytes.fromhex(data)))
    root = ElementTree.fromstring(to_xml([[telegram]]))
    assert [(each.tag, each.text) for each in root.iterfind("SlaveInformation/*")] == [
        (element, text)
    ]


def test_a_masters_command_is_an_element_of_the_header() -> None:
    select = LongFrame(0x53, 253, 0x52, bytes.fromhex("78563412 2D2C 07 FF"))
    root = ElementTree.fromstring(to_xml([[decode_telegram(select)]]))
    assert [(each.tag, each.text) for each in root.iterfind("SlaveInformation/*")] == [
        ("Command", "selection of 12345678-KAM-07-FF (CI 52)")
    ]


@given(st.sampled_from((0x72, 0x73, 0x78, 0x7A)), st.binary(min_size=12, max_size=240))
def test_whatever_a_telegram_holds_is_well_formed(ci: int, data: bytes) -> None:
    telegram = decode_telegram(LongFrame(8, 1, ci, data))
    text = to_xml([[telegram]])
    assert text.isascii()
    root = ElementTree.fromstring(text)
    records = root.findall("DataRecord")
    assert len(records) == len(telegram.records) + (telegram.manufacturer_data is not None)
    if ci != 0x73:
        for record, element in zip(telegram.records, records, strict=False):
            if isinstance(record.value, Decimal) and len(record.data) < 17:
                assert Decimal(element.findtext("Value", "")) == record.value
