"""Telegrams that no meter sends: recorded and made-up ones, with damage done to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from bridge.mbus.control import CI_FIELDS
from bridge.mbus.dif import EXTENSION, FUNCTIONS, LENGTHS, DataField, encode_dib
from bridge.mbus.frame import LONG_START, MAXIMUM_DATA, STOP
from bridge.mbus.security import configuration_mode_5, encrypt_mode_5
from bridge.mbus.values import variable_length

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ROOT / "tests" / "vectors",
    ROOT.parent / "shared" / "vectors" / "telegrams",
    ROOT.parent / "shared" / "vectors" / "damaged",
)

KEY = bytes(range(16))
_ADDRESS = bytes.fromhex("4523618974520804")  # 89612345-TST-08-04
_MODE_7 = bytes.fromhex(  # its records are encrypted with KEY, behind an AFL
    "0803900F002C25D20400006C3A713EF757BF517202090051745221045B00200710965F512D24FDF86993B2B626A479"
    "92095D3A421DD86B86F70FE7FA91DFE73ADFB3"
)
_HEAD = 3  # C, A and CI
_LONGEST = _HEAD + MAXIMUM_DATA

# Bytes that mean something special somewhere: the extension bit and its edges, special DIFs, LVAR
# bounds, extension tables, plain text, limits.
_TELLING = bytes.fromhex(
    "00 01 0D 0F 16 1F 2F 3F 68 6C 6D 70 7C 7E 7F 80 8D 8F 90 BF C0 C9 CA CF D0 D9 E0 EF F0 F6 FA"
    "FB FC FD FE FF 10 E5"
)
_CIS = bytes(row.first for row in CI_FIELDS)


class Mutant(NamedTuple):
    """Bytes for a receiver.

    ``whole`` says that they are a frame with the right lengths, checksum and stop, so that the
    damage gets past the link layer; ``touched`` counts the bytes of a true frame that were changed
    in place and nothing else done, and is None for other damage.
    """

    data: bytes
    whole: bool
    touched: int | None = None


def seeds(folders: Iterable[Path] = FOLDERS) -> list[bytes]:
    """The .hex files of the folders, as they are: one or the other is not even a frame."""
    found: list[bytes] = []
    for folder in folders:
        for path in sorted(folder.glob("*.hex")):
            found.append(bytes(int(byte, 16) for byte in path.read_text().split()))
    return found


def framed(body: bytes) -> bytes:
    """C, A, CI and user data as a long frame; 3 to 255 bytes."""
    head = bytes((LONG_START, len(body), len(body), LONG_START))
    return head + body + bytes((sum(body) & 0xFF, STOP))


def made_up(random: Random) -> bytes:
    """C, A, CI and user data of a telegram that is well formed, or nearly so."""
    records = bytearray()
    most = random.choice((20, 60, 120, 237))
    while len(records) < most:
        record = made_up_record(random)
        if len(records) + len(record) > 237:
            break
        records += record
        if random.random() < 0.05:
            records += b"\x2f" * random.randint(1, 5)
    if random.random() < 0.2:
        records += random.choice((b"\x0f", b"\x1f")) + random.randbytes(random.randrange(20))
    kind = random.random()
    access_number, status = random.randrange(256), random.randrange(256)
    if kind < 0.6:
        header = b"\x72" + _ADDRESS + bytes((access_number, status, 0, 0))
    elif kind < 0.75:
        header = b"\x7a" + bytes((access_number, status, 0, 0))
    elif kind < 0.85:
        header = b"\x78"
    else:
        plain = bytes(records[:220])
        secret = encrypt_mode_5(plain, KEY, _ADDRESS, access_number)
        records = bytearray(secret)
        configuration = configuration_mode_5(secret).to_bytes(2, "little")
        header = b"\x72" + _ADDRESS + bytes((access_number, status)) + configuration
    body = bytes((random.choice((0x08, 0x18, 0x28, 0x38)), random.randrange(256))) + header
    return (body + records)[:_LONGEST]


def made_up_record(random: Random) -> bytes:
    """A data record; all data fields, any DIB, every kind of VIB, data of the right length."""
    field = DataField(random.choice(range(DataField.SPECIAL)))
    storage = random.choice((0, 0, 0, 1, random.getrandbits(5), random.getrandbits(41)))
    tariff = random.choice((0, 0, 0, 1, random.getrandbits(4), random.getrandbits(20)))
    subunit = random.choice((0, 0, 0, 1, random.getrandbits(10)))
    dib = encode_dib(field, random.choice(FUNCTIONS), storage, tariff, subunit)
    return dib + made_up_vib(random) + made_up_data(random, field)


def made_up_vib(random: Random) -> bytes:
    """A VIF of any table, with up to three VIFEs."""
    table = random.choice((b"", b"", b"", b"", b"\xfd", b"\xfb", b"\xfd\xfd", b"\xef"))
    codes = [random.randrange(0x80)]
    if random.random() < 0.3:
        codes += [random.randrange(0x80) for _ in range(random.randint(1, 3))]
    vib = bytes(code | EXTENSION for code in codes[:-1]) + bytes(codes[-1:])
    if not table and codes[0] == 0x7C:
        text = random.randbytes(random.randrange(8))
        text = bytes(byte & 0x7F | 0x20 for byte in text)
        place = random.choice((1, len(vib)))
        return vib[:place] + bytes((len(text),)) + text + vib[place:]
    return table + vib


def made_up_data(random: Random, field: DataField) -> bytes:
    """Data of a data field: any bytes, digits, or what says "no value"."""
    if field is DataField.VARIABLE:
        lvar = random.choice((random.randrange(12), 0xC0 + random.randrange(64)))
        return bytes((lvar,)) + random.randbytes(variable_length(lvar) or 0)
    length = LENGTHS[field]
    match random.randrange(4):
        case 0:
            digits = "".join(random.choices("0123456789", k=2 * length))
            return bytes.fromhex(digits)
        case 1:
            return random.choice((b"\xff" * length, bytes(length), bytes(length)[1:] + b"\x80"))[
                :length
            ]
        case _:
            return random.randbytes(length)


class Mutator:
    """An endless row of mutants; the same seed gives the same row.

    Args:
        recorded: frames to begin with.
        seed: of the row.
    """

    def __init__(self, recorded: Sequence[bytes], seed: int) -> None:
        self._random = Random(seed)
        self._frames = list(recorded)
        self._bodies = [_MODE_7] + [body for frame in recorded if len(body := frame[4:-2]) > _HEAD]

    def mutant(self) -> Mutant:
        """The next one."""
        random = self._random
        chance = random.random()
        if chance < 0.08:
            return self._damaged_on_the_line()
        if chance < 0.12:
            return Mutant(framed(made_up(random)), whole=True)
        body = bytearray(self._body())
        while True:
            self._mutate(body)
            if random.random() < 0.5:
                break
        if random.random() < 0.15:
            body[2:3] = bytes((random.choice(_CIS),))
        del body[_LONGEST:]
        body += bytes(max(0, _HEAD - len(body)))
        return Mutant(framed(bytes(body)), whole=True)

    def _body(self) -> bytes:
        random = self._random
        return made_up(random) if random.random() < 0.4 else random.choice(self._bodies)

    def _damaged_on_the_line(self) -> Mutant:
        """A frame with damage of a line: nobody puts its lengths and its checksum right again."""
        random = self._random
        whole = framed(made_up(random)) if random.random() < 0.4 else random.choice(self._frames)
        frame = bytearray(whole)
        match random.randrange(4):
            case 0:  # some bytes are others now
                for _ in range(random.choice((1, 1, 2, 3, 8))):
                    frame[random.randrange(len(frame))] = random.randrange(256)
                return Mutant(
                    bytes(frame),
                    whole=False,
                    touched=sum(a != b for a, b in zip(whole, frame, strict=True)),
                )
            case 1:  # bytes are missing, or there are too many
                self._mutate(frame)
            case 2:  # noise before and behind
                noise = bytes(random.choices(_TELLING, k=random.randint(1, 12)))
                frame = bytearray(noise) + frame + random.randbytes(random.randrange(12))
            case _:  # two frames run into each other
                other = random.choice(self._frames)
                frame = frame[: random.randrange(len(frame))] + other
        return Mutant(bytes(frame), whole=False)

    def _mutate(self, body: bytearray) -> None:
        random = self._random
        if not body:
            body += random.randbytes(4)
        # Behind C and A: these decide nothing.
        at = random.randrange(min(2, len(body) - 1), len(body))
        match random.randrange(10):
            case 0 | 1:
                body[at] ^= 1 << random.randrange(8)
            case 2:
                body[at] = random.choice(_TELLING)
            case 3:
                body[at] = random.randrange(256)
            case 4:
                body[at:at] = random.randbytes(random.randint(1, 4))
            case 5:
                body[at:at] = bytes(random.choices(_TELLING, k=random.randint(1, 4)))
            case 6:
                del body[at : at + random.choice((1, 1, 2, 4, 8, 250))]
            case 7:
                last = at + random.randint(1, 24)
                body[at:at] = body[at:last] * random.choice((1, 1, 2, 10))
            case 8:
                other = random.choice(self._bodies)
                body[at:] = other[random.randrange(len(other)) :]
            case _:
                for place in range(at, min(len(body), at + random.randint(1, 14))):
                    body[place] |= EXTENSION
