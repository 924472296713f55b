"""What is known of makers and their meters: names, models, own codes, each with its source."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bridge.mbus.address import SecondaryAddress, decode_secondary
from bridge.mbus.makers import (
    OwnVif,
    OwnVifes,
    maker_name,
    model_name,
    own_vif,
    own_vifes,
    product_name,
    status_bits,
)
from bridge.mbus.makers.manufacturers import take_names
from bridge.mbus.makers.models import take_models
from bridge.mbus.makers.quirks import take_quirks
from bridge.units import Unit

TELEGRAMS = sorted((Path(__file__).parents[3] / "shared/vectors/telegrams").glob("*.hex"))

ABB_A41 = SecondaryAddress("00217819", "ABB", 0x20, 0x02)
ABB_DELTA = SecondaryAddress("78563412", "ABB", 0x02, 0x02)
ALE3 = SecondaryAddress("19000055", "SBC", 0x16, 0x02)
IEM3155 = SecondaryAddress("12345678", "SEC", 0x15, 0x02)
MULTICAL_603 = SecondaryAddress("66666666", "KAM", 0x35, 0x0C)
MULTICAL_21 = SecondaryAddress("76348799", "KAM", 0x1B, 0x16)
HYDROCAL = SecondaryAddress("71727374", "BMT", 0x0B, 0x0D)
NEMO = SecondaryAddress("00067609", "IME", 0x1D, 0x02)


def content(name: str) -> dict[str, Any]:
    return tomllib.loads((files("bridge.mbus.makers") / name).read_text(encoding="utf-8"))


# Manufacturers


def test_three_letters_are_a_company() -> None:
    assert maker_name("KAM") == "Kamstrup"
    assert maker_name("LUG") == "Landis+Gyr"
    assert maker_name("ZRI") == "Zenner International"


def test_letters_that_nobody_has_are_none() -> None:
    assert maker_name("TST") is None


def test_a_word_with_bit_15_is_named_and_one_without_letters_is_not() -> None:
    assert maker_name("AC2D") == "Kamstrup"
    assert maker_name("0000") is None


def test_every_common_maker_of_wired_meters_is_named() -> None:
    for code in (
        *("ABB", "ACW", "AMT", "APA", "APT", "AXI", "BMT", "DME", "EFE", "ELS", "ELV", "EMH"),
        *("EMU", "ESY", "FFD", "FIN", "GAV", "GMC", "GWF", "HYD", "INM", "INV", "ISK", "IST"),
        *("ITR", "ITW", "JAN", "KAM", "LAS", "LGB", "LGZ", "LSE", "LSZ", "LUG", "MAD", "NZR"),
        *("PAD", "PIP", "QDS", "RAM", "REL", "RKE", "SAP", "SBC", "SEN", "SPX", "SLB", "SON"),
        *("SVM", "TCH", "TEC", "WEP", "ZPA", "ZRI", "ZRM"),
    ):
        assert maker_name(code), code


# Models


def test_a_model_goes_by_manufacturer_and_version() -> None:
    assert model_name(SecondaryAddress("12345678", "KAM", 0x08, 0x04)) == "Kamstrup Multical 601"
    assert model_name(SecondaryAddress("12345678", "AMT", 0xB0, 0x04)) == "Aquametro CALEC MB"
    assert model_name(SecondaryAddress("12345678", "KAM", 0x77, 0x04)) is None
    assert model_name(SecondaryAddress("12345678")) is None


def test_the_device_type_decides_where_a_version_has_two_models() -> None:
    heat = SecondaryAddress("24083345", "EFE", 0x00, 0x04)
    water = SecondaryAddress("04990254", "EFE", 0x00, 0x06)
    assert model_name(heat) == "Engelmann / Elster SensoStar 2"
    assert model_name(water) == "Engelmann WaterStar"


def test_saia_burgess_tells_its_models_by_the_identification_number() -> None:
    assert model_name(ALE3) == "Saia-Burgess ALE3"
    assert model_name(SecondaryAddress("11000055", "SBC", 0x16, 0x02)) == "Saia-Burgess AWD3"
    assert model_name(SecondaryAddress("00110011", "SBC", 0x24, 0x02)) is None


def test_a_name_that_several_models_share_is_only_what_libmbus_says() -> None:
    assert model_name(ABB_A41) is None
    assert product_name(ABB_A41) == "ABB B21 113-100"


@pytest.mark.parametrize(
    ("manufacturer", "version", "is_one", "is_none", "name"),
    [
        ("KAM", 0x01, 0x02, 0x16, "Kamstrup 382 (6850-005)"),
        ("KAM", 0x08, 0x0C, 0x07, "Kamstrup Multical 601"),
        ("ELS", 0x0A, 0x07, 0x03, "Elster Falcon"),
        ("LSE", 0x99, 0x06, 0x04, "Siemens WFH21"),
        ("ELV", 0x16, 0x1B, 0x04, "Elvaco CMa10"),
        ("EFE", 0x00, 0x0D, 0x02, "Engelmann / Elster SensoStar 2"),
    ],
)
def test_a_meter_of_another_medium_is_another_model(
    manufacturer: str, version: int, is_one: int, is_none: int, name: str
) -> None:
    meter = SecondaryAddress("12345678", manufacturer, version, is_one)
    other = SecondaryAddress("12345678", manufacturer, version, is_none)
    assert (model_name(meter), model_name(other)) == (name, None)
    assert product_name(meter) == product_name(other) == name


def test_what_libmbus_does_not_name_has_no_name_of_its() -> None:
    assert model_name(MULTICAL_603) == "Kamstrup Multical 603"
    assert product_name(MULTICAL_603) is None


@pytest.mark.skipif(not TELEGRAMS, reason="no recorded telegrams in ../shared")
def test_recorded_meters_have_the_names_that_libmbus_gives_them() -> None:
    named = 0
    for path in TELEGRAMS:
        frame = bytes.fromhex(path.read_text())
        product = ElementTree.parse(path.with_suffix(".xml")).findtext(".//ProductName")
        if frame[6] != 0x72 or product is None:
            continue
        assert (product_name(decode_secondary(frame[7:15])) or "") == product, path.stem
        named += bool(product)
    assert named > 30


# Own VIFs and VIFEs


def test_an_own_vif_says_name_unit_and_power_of_ten() -> None:
    assert own_vif(ABB_A41, bytes.fromhex("FF D9 00")) == OwnVif(
        "frequency", Unit.HERTZ, -2, "abb-b23"
    )
    assert own_vif(NEMO, bytes.fromhex("FF 5A")) == OwnVif("frequency", Unit.HERTZ, -1, "nemo")


def test_the_phase_stands_behind_an_own_vif() -> None:
    own = own_vif(ABB_A41, bytes.fromhex("FF E0 FF 81 00"))
    assert own == OwnVif("power factor", Unit.NONE, -3, "abb-a43", ("L1",))


def test_a_code_of_two_bytes_is_one_code() -> None:
    own = own_vif(ABB_A41, bytes.fromhex("FF F9 C4 00"))
    assert own is not None
    assert (own.name, own.unit, own.exponent) == ("energy in CO2", None, None)


def test_abb_sends_a_record_error_as_the_last_vife_of_its_own() -> None:
    own = own_vif(ABB_A41, bytes.fromhex("FF A0 15"))
    assert own is not None
    assert (own.name, own.error) == ("current transformer ratio, numerator", 0x15)


def test_the_error_of_an_unknown_code_is_not_lost() -> None:
    own = own_vif(ABB_A41, bytes.fromhex("FF F9 8A 18"))
    assert own == OwnVif("manufacturer VIF 79 0A", None, None, "abb-b23", (), 0x18)


def test_what_is_not_known_is_none() -> None:
    assert own_vif(ABB_A41, bytes.fromhex("FF AD 00")) is None
    assert own_vif(ABB_DELTA, bytes.fromhex("FF 93 00")) is None
    assert own_vif(None, bytes.fromhex("FF 93 00")) is None
    assert own_vif(SecondaryAddress("12345678"), bytes.fromhex("FF 93 00")) is None
    assert own_vif(ABB_A41, bytes.fromhex("FD 48")) is None
    assert own_vif(ABB_A41, b"") is None


def test_the_same_code_means_what_its_maker_says() -> None:
    ale3, iem = own_vif(ALE3, bytes.fromhex("FF 13")), own_vif(IEM3155, bytes.fromhex("FF 10"))
    assert ale3 is not None
    assert iem is not None
    assert ale3.name == iem.name == "active tariff"
    assert own_vif(ALE3, bytes.fromhex("FF 10")) is None


def test_own_vifes_behind_a_standard_vif() -> None:
    assert own_vifes(ABB_A41, bytes.fromhex("81 00")) == OwnVifes(("L1",), None, "abb-b23")
    assert own_vifes(ABB_A41, bytes.fromhex("F2 15")) == OwnVifes(("resettable",), 0x15, "abb-b23")
    assert own_vifes(ALE3, bytes.fromhex("00")) == OwnVifes(("all phases",), None, "sbc-ale3")
    assert own_vifes(IEM3155, bytes.fromhex("0D")) == OwnVifes(("partial",), None, "iem3100")


def test_own_vifes_that_are_not_known_are_none() -> None:
    assert own_vifes(NEMO, bytes.fromhex("04")) is None
    assert own_vifes(None, bytes.fromhex("01")) is None
    assert own_vifes(ABB_A41, b"") is None


def test_bits_of_an_information_code_have_names() -> None:
    heat = own_vif(MULTICAL_603, bytes.fromhex("FF 22"))
    water = own_vif(MULTICAL_21, bytes.fromhex("FF 20"))
    assert heat is not None
    assert water is not None
    assert len(heat.bits) == 32
    assert heat.bits[1] == "low battery"
    assert heat.bits[10] == ""
    assert water.bits == ("dry", "reverse flow", "leak", "burst")


def test_bits_of_the_status_byte_that_are_the_makers() -> None:
    assert status_bits(HYDROCAL) == {7: "enclosure opened"}
    assert status_bits(ABB_A41) == {}
    assert status_bits(None) == {}


# The files


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("manufacturers.toml", take_names),
        ("models.toml", take_models),
        ("quirks.toml", take_quirks),
    ],
)
def test_a_file_holds_and_every_source_in_it_is_used(
    name: str, take: Callable[[dict[str, Any]], dict[str, object]]
) -> None:
    data = content(name)
    assert take(data)
    for source in data["sources"]:
        less = copy.deepcopy(data)
        del less["sources"][source]
        with pytest.raises(ValueError, match=f"no source '{source}' in the file"):
            take(less)


def test_every_quirk_and_model_is_of_a_maker_with_a_name() -> None:
    makers = take_quirks(content("quirks.toml")).keys() | take_models(content("models.toml")).keys()
    assert all(maker_name(code) for code in makers)


SOURCES = {"s": {"title": "a list", "address": "somewhere", "date": "2024"}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sources": {}, "names": {}}, "no sources"),
        ({"sources": {"s": {"title": "a list"}}, "names": {}}, "source 's' has no address"),
        ({"sources": SOURCES, "names": {"t": {"KAM": "Kamstrup"}}}, "no source 't'"),
        ({"sources": SOURCES, "names": {"s": {"Kam": "Kamstrup"}}}, "'Kam' is no manufacturer"),
        ({"sources": SOURCES, "names": {"s": {"KAM": " "}}}, "KAM: ' ' is no name"),
        (
            {
                "sources": {**SOURCES, "t": SOURCES["s"]},
                "names": {"s": {"AAA": "x"}, "t": {"AAA": "y"}},
            },
            "AAA stands in two tables",
        ),
    ],
)
def test_a_list_of_names_that_contradicts_itself_is_refused(
    data: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        take_names(data)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"versions": [1], "name": ""}], "'' is no name"),
        ([{"versions": [255], "name": "x"}], "255 is not within 0 to 254"),
        ([{"versions": [[5, 4]], "name": "x"}], r"\[5, 4\] is not within"),
        ([{"versions": [], "name": "x"}], "versions: empty"),
        ([{"media": [256], "name": "x"}], "media: 256 is not within"),
        ([{"identification": "1", "name": "x"}], "'1' is not two digits"),
        ([{"version": 1, "name": "x"}], "unknown key 'version'"),
        (
            [{"versions": [[1, 9]], "name": "x"}, {"versions": [9], "name": "y"}],
            "'x' and 'y' are about the same meter",
        ),
    ],
)
def test_models_that_contradict_each_other_are_refused(
    rows: list[dict[str, Any]], message: str
) -> None:
    models = {"s": [{"manufacturer": "KAM", "names": rows}]}
    with pytest.raises(ValueError, match=message):
        take_models({"sources": SOURCES, "models": models})


TARIFF = {"code": "13", "name": "active tariff", "unit": "", "exponent": 0}


@pytest.mark.parametrize(
    ("quirk", "message"),
    [
        ({}, "KAM: says nothing"),
        ({"source": "t", "vif": [TARIFF]}, "no source 't'"),
        ({"vif": [TARIFF, TARIFF]}, "VIF 13 stands twice"),
        ({"vif": [{"code": "93", "name": "x"}]}, "code 93 has an extension bit"),
        ({"vif": [{"code": "", "name": "x"}]}, "'' is no code in hexadecimal"),
        ({"vif": [{"code": "13", "name": "x", "unit": ""}]}, "unit and exponent go together"),
        ({"vif": [{**TARIFF, "unit": "furlong"}]}, "'furlong' is not a valid Unit"),
        ({"vif": [{**TARIFF, "factor": 2}]}, "unknown key 'factor'"),
        ({"vife": [{"code": "01 02", "name": "L1"}]}, "VIFE 01 02 is not one byte"),
        ({"status": [{"bit": 4, "name": "x"}]}, "status bit 4 is not the maker's"),
    ],
)
def test_a_quirk_that_cannot_be_is_refused(quirk: dict[str, Any], message: str) -> None:
    entry = {"manufacturer": "KAM", "source": "s", **quirk}
    with pytest.raises(ValueError, match=message):
        take_quirks({"sources": SOURCES, "quirk": [entry]})


def test_two_quirks_about_the_same_meter_are_refused() -> None:
    one = {"manufacturer": "KAM", "source": "s", "versions": [1, 2], "vif": [TARIFF]}
    other = {**one, "versions": [2], "device_types": [4]}
    with pytest.raises(ValueError, match="two quirks are about the same meter"):
        take_quirks({"sources": SOURCES, "quirk": [one, other]})


def test_who_names_no_maker_reads_no_file() -> None:
    script = "import sys, bridge.mbus.makers; assert 'tomllib' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
