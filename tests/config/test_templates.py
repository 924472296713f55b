from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import templates
from bridge.config.templates import names, template

ROOT = Path(__file__).parents[2]


def test_the_templates_of_the_package_are_those_of_the_configuration_folder() -> None:
    folder = ROOT / "config" / "meters"
    assert folder.is_symlink()
    assert not folder.readlink().is_absolute()
    assert folder.resolve() == Path(templates.__file__).parent / "meters"
    assert {file.stem for file in folder.glob("*.yaml")} == set(names())
    assert {"itron-cyble", "kamstrup-382", "kamstrup-multical"} <= set(names())


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        template("../model")


@pytest.mark.parametrize("name", names())
def test_the_telegram_of_a_template_is_a_whole_frame_of_such_a_meter(name: str) -> None:
    known = template(name)
    frame = known.proof.telegram
    # EN 13757-2, frame format: start, length twice, start; checksum, stop.
    assert frame[0] == frame[3] == 0x68
    assert frame[1] == frame[2] == len(frame) - 6
    assert frame[-2] == sum(frame[4:-2]) & 0xFF
    assert frame[-1] == 0x16
    # EN 13757-7, long header: identification, manufacturer, version, device type.
    word = int.from_bytes(frame[11:13], "little")
    letters = "".join(chr(64 + (word >> shift & 0x1F)) for shift in (10, 5, 0))
    assert letters in known.manufacturer
    assert f"{frame[14]:02X}" in known.device_types


@pytest.mark.parametrize("name", names())
def test_every_point_of_a_template_has_its_value_in_the_proof(name: str) -> None:
    known = template(name)
    assert set(known.proof.values) == set(known.points)
    for point in known.points.values():
        assert point.description
