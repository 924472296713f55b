"""Kinds of value that say where something is: meters, buses, networks, files."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from bridge.config.errors import quoted
from bridge.config.values import BACNET_PORT, text_of, whole_number, wrong


def _primary(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{8}(-.*)?", value):
        raise wrong(f"{quoted(value)} is a secondary address", f"write secondary: {quoted(value)}")
    number = whole_number(0, 255, "a primary address")(value)
    if number > 250:
        reserved = {
            253: "253 stands for the meter that was selected by its secondary address",
            254: "every meter answers to 254, all at once",
            255: "no meter answers to 255, which means all of them",
        }
        raise wrong(
            reserved.get(number, f"{number} is reserved"), "a meter's own address is 0 to 250"
        )
    return number


_SECONDARY = r"[0-9A-F]{8}(?:-(?:[A-Z]{3}|[0-9A-F]{4})-[0-9A-F]{2}-[0-9A-F]{2})?"


def _secondary(value: object) -> str:
    text = text_of(value, "a secondary address").strip().upper()
    if re.fullmatch(_SECONDARY, text):
        return text
    form = "write the eight digits on the meter, 12345678, or 12345678-KAM-1B-04 in full"
    if re.fullmatch(r"[0-9]{1,7}", text):
        raise wrong(
            f"{quoted(text)} has {len(text)} digits",
            f"an identification number has eight; with its leading zeros: {text:0>8}",
        )
    raise wrong(f"{quoted(text)} is no secondary address", form)


def _interface(value: object) -> str:
    text = text_of(value, "an address with its subnet").strip()
    if text.count(":") > 1:
        raise wrong(f"{quoted(text)} is an IPv6 address", "BACnet/IP needs IPv4: 192.168.1.10/24")
    if "/" not in text:
        raise wrong(
            f"{quoted(text)} does not say how large the subnet is",
            f"write the prefix length too: {text if _is_ipv4(text) else '192.168.1.10'}/24",
        )
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        raise wrong(
            f"{quoted(text)} is no IPv4 address with its subnet", "write it like 192.168.1.10/24"
        ) from None
    network = interface.network
    address = f"{interface.ip}/{network.prefixlen}"
    if network.prefixlen > 30 or network.prefixlen < 1:
        raise wrong(
            f"{address} leaves no room for a broadcast",
            "write the prefix length of your subnet, like /24",
        )
    if interface.ip in (ipaddress.IPv4Address("255.255.255.255"), network.broadcast_address):
        raise wrong(
            f"{interface.ip} is a broadcast address", "write the address of this machine's own port"
        )
    if interface.ip == network.network_address or interface.ip.is_unspecified:
        raise wrong(
            f"{interface.ip} names the whole subnet", "write the address of this machine's own port"
        )
    if interface.ip.is_multicast:
        raise wrong(
            f"{interface.ip} is a multicast address", "write the address of this machine's own port"
        )
    return address


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _bbmd(value: object) -> str:
    text = text_of(value, "the address of a BBMD").strip()
    host, _, port = text.partition(":")
    if not _is_ipv4(host) or (port and not re.fullmatch("[1-9][0-9]{0,4}", port)):
        raise wrong(
            f"{quoted(text)} is no IPv4 address", "write it like 10.1.0.5 or 10.1.0.5:47808"
        )
    if port and int(port) > 65535:
        raise wrong(f"{port} is no UDP port", "write 1 to 65535, or leave it out for 47808")
    return f"{host}:{port or BACNET_PORT}"


_URL = r"(tcp|rfc2217)://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})"


def _bus_port(value: object) -> str:
    text = text_of(value, "a port").strip()
    forms = "write /dev/ttyUSB0, tcp://host:port or rfc2217://host:port"
    if text.startswith("/"):
        if not text.isprintable() or text.endswith("/"):
            raise wrong(f"{quoted(text)} is no serial port", forms)
        return text
    match = re.fullmatch(_URL, text)
    if match is not None:
        if not 0 < int(match[3]) < 65536:
            raise wrong(f"{match[3]} is no TCP port", "write 1 to 65535")
        return text
    if re.fullmatch(r"(tcp|rfc2217)://[\w.-]+/?", text):
        raise wrong(f"{quoted(text)} lacks the TCP port", f"write {text.rstrip('/')}:10001, say")
    if re.fullmatch(r"tty\w+", text):
        raise wrong(f"{quoted(text)} lacks its folder", f"write /dev/{text}")
    if re.fullmatch(r"[\w.-]+:[0-9]{1,5}", text):
        raise wrong(f"{quoted(text)} does not say how to reach it", f"write tcp://{text}")
    raise wrong(f"{quoted(text)} is no port", forms)


def _key_file(value: object) -> object:
    if isinstance(value, Path):
        return value
    text = text_of(value, "the name of a file")
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[ :]?){16}", text.strip()):
        # Not a word of what it is: problems end in logs.
        raise wrong(
            "this looks like the key itself",
            "write it into a file of its own, readable by the bridge alone, and name the file here",
        )
    return _path(text)


def _path(value: object) -> object:
    if isinstance(value, Path):
        return value
    text = text_of(value, "a path")
    if not text or not text.isprintable():
        raise wrong(f"{quoted(text)} is no path", "write one relative to this file, or absolute")
    return Path(text)


def _variable(value: object) -> str:
    text = text_of(value, "the name of an environment variable")
    if re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        raise wrong(
            "this looks like the key itself",
            "put it into an environment variable, and name the variable here",
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise wrong(
            f"{quoted(text)} is no name of an environment variable",
            "write one of letters, digits and _, like GAS_17_KEY",
        )
    return text


Primary = Annotated[
    int,
    BeforeValidator(_primary),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 250}),
]
Secondary = Annotated[
    str,
    BeforeValidator(_secondary),
    # Unquoted, eight digits are a number to other YAML readers.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_SECONDARY}$"},
                {"type": "integer", "minimum": 0, "maximum": 99999999},
            ]
        }
    ),
]
Interface = Annotated[
    str,
    BeforeValidator(_interface),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"}),
]
Bbmd = Annotated[
    str,
    BeforeValidator(_bbmd),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?$"}),
]
BusPort = Annotated[
    str,
    BeforeValidator(_bus_port),
    WithJsonSchema({"type": "string", "pattern": f"^(/.+[^/]|{_URL})$"}),
]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
KeyPath = Annotated[Path, BeforeValidator(_key_file), WithJsonSchema({"type": "string"})]
Variable = Annotated[
    str,
    BeforeValidator(_variable),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]
