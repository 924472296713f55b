"""How meters want to be read, and when: what the field needs beyond the standard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from bridge.config.base import Contradiction, Model
from bridge.config.errors import quoted
from bridge.config.values import (
    HEX,
    Parity,
    ParityWord,
    Timeout,
    Tries,
    choose,
    decimal_number,
    duration,
    duration_schema,
    member,
    name_of,
    text_of,
    wrong,
)

# More than any meter is known to send; a readout ends there (bridge.mbus.way).
MOST_TELEGRAMS = 16
MOST_PREPARATIONS = 8

# EN 13757-2: a long frame has 255 bytes between the two checked lengths and the checksum, of which
# three are C, A and CI; in all it has 261.
_MOST_USER_DATA = 252
_MOST_RAW = 261


class Connection(StrEnum):
    """Whether the port stays open between the turns of its meters."""

    HOLD = "hold"
    RELEASE = "release"


class OnExchange(StrEnum):
    """What becomes of a meter that stands in another's place."""

    ACCEPT = "accept"
    HOLD = "hold"


class Priority(StrEnum):
    """Whose turn goes first."""

    NORMAL = "normal"
    HIGH = "high"


class Nke(StrEnum):
    """When SND_NKE goes before a readout."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Step(StrEnum):
    """What can be sent to a meter before it is asked."""

    APPLICATION_RESET = "application-reset"
    SELECT = "select"
    DATA = "data"
    RAW = "raw"


class Preparation(NamedTuple):
    """One thing that is sent before a readout: a subcode, record bytes, or bytes as they are."""

    step: Step
    data: bytes = b""


_EXAMPLES_OF_STEPS = {
    Step.SELECT: '"select 50"',
    Step.DATA: '"data 0813"',
    Step.RAW: '"raw 107B017C16"',
}


def _preparation(value: object) -> Preparation:
    if isinstance(value, Preparation):
        return value
    if not isinstance(value, str):
        raise wrong(
            f"{name_of(value)} stands where something to send belongs",
            f"write it as one text: {_EXAMPLES_OF_STEPS[Step.SELECT]}",
        )
    word, _, digits = value.strip().partition(" ")
    known = [step.value for step in Step]
    if word not in known:
        hint = choose(word, known)
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2} ?)+", value.strip()):
            hint = f'for bytes as they are, write "raw {value.strip()}"'
        raise wrong(f"{quoted(value)} cannot be sent to a meter", hint)
    step, digits = Step(word), digits.replace(" ", "")
    if step is Step.APPLICATION_RESET:
        if digits:
            raise wrong(
                f"{quoted(value)} says more than the reset takes",
                f'write application-reset alone, or "select {digits}" for a reset with subcode',
            )
        return Preparation(step)
    example = _EXAMPLES_OF_STEPS[step]
    if not digits:
        lacking = "its subcode" if step is Step.SELECT else "its bytes"
        raise wrong(f"{word} lacks {lacking}", f"write it in hex behind it: {example}")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
        raise wrong(
            f"{quoted(value)} has no row of bytes behind {word}",
            f"write two hex digits a byte: {example}",
        )
    data = bytes.fromhex(digits)
    most = {Step.SELECT: 1, Step.DATA: _MOST_USER_DATA, Step.RAW: _MOST_RAW}[step]
    if len(data) > most:
        raise wrong(
            f"{word} has {len(data)} bytes behind it", f"it takes {most} at most: {example}"
        )
    return Preparation(step, data)


def _before(value: object) -> tuple[Preparation, ...]:
    if isinstance(value, str):
        raise wrong(f"{quoted(value)} is no list", f"write [{quoted(value)}]")
    if not isinstance(value, list | tuple):
        raise wrong(
            f"{name_of(value)} stands where a list belongs", "write [application-reset], say"
        )
    if len(value) > MOST_PREPARATIONS:
        raise wrong(
            f"{len(value)} things are to be sent before each readout",
            f"{MOST_PREPARATIONS} are the most",
        )
    return tuple(_preparation(each) for each in value)


def _telegrams(value: object) -> object:
    if value == "all":
        return value
    if isinstance(value, str):
        number = re.fullmatch("[0-9]{1,3}", value)
        raise wrong(
            f"{quoted(value)} is no list of telegrams",
            f"write [{value}]" if number else "write all, or their numbers: [1, 3]",
        )
    if not isinstance(value, list | tuple):
        raise wrong(f"{name_of(value)} stands where telegrams belong", "write all, or [1, 3]")
    if not value:
        raise wrong("no telegram is left to read", "write all, or their numbers: [1, 3]")
    numbers = set()
    for each in value:
        text = text_of(each, "the number of a telegram")
        if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_TELEGRAMS:
            raise wrong(
                f"{quoted(text)} is the number of no telegram",
                f"they count from 1 to {MOST_TELEGRAMS}",
            )
        numbers.add(int(text))
    return tuple(sorted(numbers))


def _byte(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFF:
        return value  # of Python; what stands in a file is a text
    text = text_of(value, "a byte in hex")
    if re.fullmatch("[0-9A-Fa-f]{2}", text):
        return int(text, 16)
    bare = re.fullmatch("(?:0[xX])?([0-9A-Fa-f]{1,2})[hH]?", text)
    raise wrong(
        f"{quoted(text)} is no byte in hex",
        f"write two hex digits: {bare[1].upper():0>2}" if bare else "write two hex digits, like 55",
    )


def _fabrication(value: object) -> str:
    text = text_of(value, "a fabrication number").strip().upper()
    if re.fullmatch("[0-9F]{8}", text):
        return text
    if re.fullmatch("[0-9]{1,7}", text):
        raise wrong(
            f"{quoted(text)} has {len(text)} digits",
            f'a fabrication number has eight; with its leading zeros: "{text:0>8}"',
        )
    raise wrong(
        f"{quoted(text)} is no fabrication number",
        'write its eight digits, with F for any: "12345678"',
    )


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise wrong(f"{value} is no size of a meter", "write what its plate says, above 0")
    return value


Gap = Annotated[float, BeforeValidator(duration("0s", "366d")), duration_schema()]
Pause = Annotated[float, BeforeValidator(duration("0s", "10s")), duration_schema()]
WakeTime = Annotated[float, BeforeValidator(duration("10ms", "10s")), duration_schema()]
ConnectionWord = Annotated[Connection, *member(Connection, "way to use a port")]
OnExchangeWord = Annotated[OnExchange, *member(OnExchange, "answer to an exchange")]
PriorityWord = Annotated[Priority, *member(Priority, "priority")]
NkeWord = Annotated[Nke, *member(Nke, "rule for SND_NKE")]
Before = Annotated[
    tuple[Preparation, ...],
    BeforeValidator(_before),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MOST_PREPARATIONS,
            "items": {
                "type": "string",
                "pattern": f"^(application-reset|select [0-9A-Fa-f]{{2}}|(data|raw) {HEX})$",
            },
        }
    ),
]
Telegrams = Annotated[
    Literal["all"] | tuple[int, ...],
    BeforeValidator(_telegrams),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "integer", "minimum": 1, "maximum": MOST_TELEGRAMS},
                },
            ]
        }
    ),
]
# Unquoted, digits alone are a number to other YAML readers.
Byte = Annotated[
    int,
    BeforeValidator(_byte),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9A-Fa-f]{2}$"},
                {"type": "integer", "minimum": 0, "maximum": 99},
            ]
        }
    ),
]
Fabrication = Annotated[
    str,
    BeforeValidator(_fabrication),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9Ff]{8}$"},
                {"type": "integer", "minimum": 0, "maximum": 99999999},
            ]
        }
    ),
]
Size = Annotated[
    Decimal,
    BeforeValidator(decimal_number),
    AfterValidator(_positive),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]


class WakeUp(Model):
    """Characters that wake a meter, or an optical head, before the first frame."""

    byte: Byte = Field(
        default=0x55, description="The byte that is sent over and over, in two hex digits."
    )
    duration: WakeTime = Field(
        default=2.2, validation_alias="for", description="How long it is sent, up to 10s."
    )
    parity: ParityWord = Field(
        default=Parity.NONE,
        description="Parity of these characters: none or even. A transparent gateway sends them "
        "with its own.",
    )
    pause: Pause = Field(
        default=0.05, description="Silence between them and the first frame, up to 10s."
    )


def _wake_up_word(value: object) -> object:
    if value == "none" or isinstance(value, Mapping | WakeUp):
        return value
    what = quoted(value) if isinstance(value, str) else name_of(value)
    raise wrong(
        f"{what} is no wake-up", "write none, or {byte: 55, for: 2.2s}, or {} for just that"
    )


WakeUpOrNone = Annotated[WakeUp | Literal["none"], BeforeValidator(_wake_up_word)]


class Ways(Model):
    """How one meter is read, where that is not as the standard has it.

    A meter has these keys, and so has its template: the meter's own go before the template's,
    and those before the bus's. None is what the bus says.
    """

    min_gap: Gap | None = Field(
        default=None,
        description="Time between two readouts at least, whoever asks for them: most batteries "
        "allow one in 15m. Without it, as the bus says.",
    )
    timeout: Timeout | None = Field(
        default=None,
        description="How long this meter may take to begin its answer; without it, as the bus "
        "says. The time that the standard allows is never shortened.",
    )
    tries: Tries | None = Field(
        default=None,
        description="How often this meter is asked before it counts as silent; without it, as "
        "the bus says.",
    )
    nke: NkeWord = Field(
        default=Nke.AUTO,
        description="When SND_NKE goes before a readout by primary address: auto (at first "
        "contact, after a fault, and where a meter has several telegrams), always or never.",
    )
    pause: Pause = Field(
        default=0.0,
        description="How long the meter is left alone after SND_NKE or its selection, up to 10s.",
    )
    before: Before = Field(
        default=(),
        description="What is sent before each readout, in order: application-reset, select and a "
        "subcode, data and the bytes of a record, raw and whole frames; all in hex.",
    )
    wake_up: WakeUpOrNone | None = Field(
        default=None,
        description="Characters that wake the meter first; none where only the others of its bus "
        "need them. Without it, as the bus says.",
    )
    telegrams: Telegrams = Field(
        default="all",
        description="Which telegrams of the answer are used, by their numbers from 1: nothing is "
        "fetched behind the last of them.",
    )
    nominal_flow: Size | None = Field(
        default=None,
        description="Nominal flow of the meter in m³/h; a flow beyond twice that is asked for "
        "once more before it is believed.",
    )
    nominal_power: Size | None = Field(
        default=None,
        description="Nominal power of the meter in kW; a power beyond twice that is asked for "
        "once more before it is believed.",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        # A meter that is selected has its pause after that.
        if self.nke is Nke.NEVER and self.pause and getattr(self, "secondary", None) is None:
            yield Contradiction(
                ("pause", "nke"),
                "a pause after SND_NKE, which is never sent",
                "remove it, or write nke: always",
            )
