import ipaddress
import socket

import pytest

from bridge.bacnet.errors import AddressError, NotOurAddressError, PortTakenError
from bridge.bacnet.udp import bind_client, bind_device, parse_interface, parse_station

LOOPBACK = ipaddress.IPv4Interface("127.0.0.1/8")


def test_an_interface_is_written_with_its_prefix_length() -> None:
    assert parse_interface("192.168.1.10/24") == ipaddress.IPv4Interface("192.168.1.10/24")


def test_without_one_the_operating_system_is_asked() -> None:
    assert parse_interface("127.0.0.5") == ipaddress.IPv4Interface("127.0.0.5/8")


@pytest.mark.parametrize("text", ["", "eth0", "10.0.0.1/33", "10.0.0.1:47808", "0.0.0.0"])
def test_what_is_no_address_says_how_to_write_one(text: str) -> None:
    with pytest.raises(AddressError, match=r"192\.168\.1\.10/24"):
        parse_interface(text)


def test_an_address_of_another_machine_is_not_ours() -> None:
    with pytest.raises(NotOurAddressError, match="ip -4 address"):
        parse_interface("192.0.2.1")


def test_two_devices_of_one_subnet_share_broadcasts_but_no_address() -> None:
    first = bind_device(LOOPBACK, 0)
    port = first.address[1]
    second = bind_device(ipaddress.IPv4Interface("127.0.0.2/8"), port)
    with pytest.raises(PortTakenError) as caught:
        bind_device(LOOPBACK, port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    first.close()
    second.close()


def test_a_port_that_another_program_would_share_is_taken_all_the_same() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(PortTakenError):
            bind_device(LOOPBACK, other.getsockname()[1])


def test_a_client_finds_room_beside_a_device() -> None:
    device = bind_device(LOOPBACK, 0)
    client = bind_client(LOOPBACK, device.address[1])
    assert client.address[1] != device.address[1]
    assert client.broadcast_to == ("127.255.255.255", device.address[1])
    client.close()
    device.close()


@pytest.mark.parametrize("text", ["", "meter", "10.0.0", "10.0.0.1:0", "10.0.0.1:bacnet", "::1"])
def test_a_target_that_is_none_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(AddressError, match=r"192\.168\.1\.10:47808"):
        parse_station(text)
