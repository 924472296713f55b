"""What can go wrong with M-Bus bytes, and with the addresses that a user writes."""

from __future__ import annotations

from bridge.errors import BridgeError


class MBusError(BridgeError):
    """Root of everything that this floor raises."""


class FrameError(MBusError):
    """These bytes cannot be a frame, whatever comes after them."""


class StartError(FrameError):
    """No frame begins with this byte, or the second start of a long frame is wrong."""

    def __init__(self, byte: int, *, second: bool = False) -> None:
        what = "the second start character" if second else "a start character"
        super().__init__(f"{byte:#04x} stands where {what} should")
        self.byte = byte
        self.is_second = second


class LengthError(FrameError):
    """The two length bytes of a long frame differ, or say a length that cannot be."""

    def __init__(self, first: int, second: int | None = None) -> None:
        if second is not None and first != second:
            message = f"the length is given as {first} and then as {second}"
        else:
            message = f"a length of {first}, where 3 to 255 can be"
        super().__init__(message)
        self.first = first
        self.second = second


class ChecksumError(FrameError):
    """The checksum does not fit the bytes before it."""

    def __init__(self, *, sent: int, counted: int) -> None:
        super().__init__(f"checksum {sent:#04x}, but bytes add up to {counted:#04x}")
        self.sent = sent
        self.counted = counted


class StopError(FrameError):
    """The frame does not end where its length says."""

    def __init__(self, byte: int) -> None:
        super().__init__(f"{byte:#04x} stands where the stop character 0x16 should")
        self.byte = byte


class TelegramError(MBusError):
    """The content of a frame cannot be a telegram."""


class HeaderError(TelegramError):
    """The user data are too short for the header that the CI field promises."""

    def __init__(self, *, needed: int, found: int, ci: int) -> None:
        super().__init__(f"CI {ci:02X} wants a header of {needed} bytes, but there are {found}")
        self.needed = needed
        self.found = found
        self.ci = ci


class KeyLengthError(MBusError):
    """A key that AES-128 cannot take. The key itself is never part of the message."""

    def __init__(self, length: int) -> None:
        super().__init__(f"an AES-128 key has 16 bytes (32 hex digits), this one has {length}")
        self.length = length


class EncodeError(MBusError):
    """A value that the wanted coding cannot say."""


class AddressError(MBusError):
    """A text that is no M-Bus address; the message says what would be one."""


class LinkBusyError(MBusError):
    """A request was to begin while the answer to another one is still awaited."""

    def __init__(self, address: int) -> None:
        super().__init__(f"the answer of address {address} is still awaited")
        self.address = address
