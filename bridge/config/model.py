"""The configuration as frozen models: each key with its default and what it means.

The descriptions are what `mbus-bacnet schema` and an editor show. Durations are seconds here, and
``15m`` in the file. Rules between the keys of one model stand in its ``contradictions``; rules
across the file stand in `bridge.config.check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bridge.config.base import Contradiction, Model
from bridge.config.billing import Billing
from bridge.config.errors import quoted
from bridge.config.places import (
    Bbmd,
    BusPort,
    FilePath,
    Interface,
    KeyPath,
    Primary,
    Secondary,
    Variable,
)
from bridge.config.records import Dif, Modifiers, RecordKey, Vif
from bridge.config.values import (
    BACNET_PORT,
    Age,
    Baudrate,
    DeviceName,
    FileSize,
    Frozen,
    Function,
    FunctionWord,
    Increment,
    Instance,
    Interval,
    Keep,
    Latency,
    Name,
    Number,
    ObjectType,
    ObjectWord,
    Ordinal,
    Parity,
    ParityWord,
    QuantityWord,
    Scale,
    Storage,
    Subunit,
    Tariff,
    Text,
    Timeout,
    TimeToLive,
    Tries,
    UdpPort,
    UnitWord,
    Window,
    choose,
    wrong,
)
from bridge.config.ways import (
    Connection,
    ConnectionWord,
    Fabrication,
    Gap,
    OnExchange,
    OnExchangeWord,
    Priority,
    PriorityWord,
    WakeUp,
    WakeUpOrNone,
    Ways,
)


class Device(Model):
    """The BACnet device that the bridge is."""

    instance: Instance = Field(
        examples=[260001],
        description="Instance number of the device, 0 to 4194302; no two devices of the whole "
        "BACnet network may share one.",
    )
    name: DeviceName = Field(
        default="M-Bus bridge",
        description="Object name of the device; no two devices of the network may share one.",
    )
    location: Text = Field(default="", description="Where the bridge stands, for the operator.")
    description: Text = Field(default="", description="What the device serves, for the operator.")


class Foreign(Model):
    """Registration as a foreign device (ASHRAE 135, J.5): the BMS is in another subnet."""

    bbmd: Bbmd = Field(
        examples=["10.1.0.5"],
        description="IPv4 address of the BBMD to register with; its UDP port is 47808 unless "
        "written, as in 10.1.0.5:47809.",
    )
    ttl: TimeToLive = Field(
        default=300,
        description="How long a registration lasts, in seconds (10 to 65535); it is renewed in "
        "time.",
    )


class Bacnet(Model):
    """The BACnet/IP side."""

    address: Interface = Field(
        examples=["192.168.1.10/24"],
        description="IPv4 address of this machine's port to the BACnet network, with the prefix "
        "length of the subnet: 192.168.1.10/24.",
    )
    port: UdpPort = Field(
        default=BACNET_PORT, description="UDP port; 47808 is BAC0 in hexadecimal."
    )
    foreign: Foreign | None = Field(
        default=None,
        description="Register with a BBMD in another subnet; without it, the bridge is found by "
        "broadcast in its own.",
    )


class Key(Model):
    """Where the AES-128 key of a meter is kept: a file or an environment variable."""

    file: KeyPath | None = Field(
        default=None,
        description="File with the key in 32 hex digits, relative to this file; nobody but the "
        "bridge should be able to read it.",
    )
    env: Variable | None = Field(
        default=None, description="Environment variable that holds the key in 32 hex digits."
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if (self.file is None) == (self.env is None):
            yield Contradiction(
                ("file", "env"),
                "both a file and a variable are named" if self.file else "no key is named",
                "write {file: keys/name} or {env: NAME}, one of the two",
            )


class Point(Model):
    """One value of a meter: which data record it is, and how it is offered.

    The record is named by what it says, never by its position. ``modifiers`` None takes only a
    record that has none, as [] does.
    """

    quantity: QuantityWord | None = Field(
        default=None,
        description="What the record measures; this, vif or record says which record it is.",
    )
    storage: Storage = Field(
        default=0, description="Storage number: 0 is now, 1 usually the last due date."
    )
    tariff: Tariff = Field(default=0, description="Tariff: 0 is the total.")
    subunit: Subunit = Field(default=0, description="Subunit of the device: 0 is the meter itself.")
    function: FunctionWord = Field(
        default=Function.INSTANTANEOUS,
        description="What the value is: the one of now, the maximum or minimum of a period, or "
        "one kept while the meter was in error.",
    )
    modifiers: Modifiers | None = Field(
        default=None,
        description="What the record adds to its quantity, in the words that `read` shows; "
        "without it, only a record that adds nothing is taken.",
    )
    dif: Dif | None = Field(
        default=None,
        description="The record's DIF and DIFEs in hex, where storage, tariff, subunit and "
        "function do not tell it from another.",
    )
    vif: Vif | None = Field(
        default=None,
        description="The record's VIF and VIFEs in hex, where there is no word for its quantity.",
    )
    ordinal: Ordinal | None = Field(
        default=None,
        description="Which one, from 1 in the order of the telegram, where the meter sends several "
        "that say the same.",
    )
    record: RecordKey | None = Field(
        default=None,
        description="The record's key as `read` shows it, its DIB and VIB in hex: 0C06, or 0C06#2 "
        "for the second of two equal ones, and E9/1 for a stored counter of the fixed data "
        "structure; in place of all words from quantity to ordinal.",
    )
    scale: Scale = Field(
        default=Decimal(1),
        description="Factor on what the meter says, before the unit is converted: for a pulse "
        "adapter that was set up wrongly.",
    )
    unit: UnitWord | None = Field(
        default=None,
        description="Unit in which the value is offered, by its BACnet name; without it, the "
        "usual one of the quantity.",
    )
    object: ObjectWord | None = Field(
        default=None,
        description="BACnet object for a number: analog-input (REAL, 24 bits; the default), "
        "large-analog-value (double) or accumulator (whole counts). Texts and dates find their "
        "own.",
    )
    instance: Instance | None = Field(
        default=None,
        description="Instance number of the object, 0 to 4194302; without it, one that follows "
        "from the names and never moves.",
    )
    cov_increment: Increment | None = Field(
        default=None,
        description="By how much the value must change before subscribers are told, in its unit; "
        "without it, the meter's own resolution.",
    )
    description: Text = Field(default="", description="What the operator reads beside the value.")
    low_limit: Number | None = Field(
        default=None, description="Below this, in the value's unit, the object is in alarm."
    )
    high_limit: Number | None = Field(
        default=None, description="Above this, in the value's unit, the object is in alarm."
    )
    min_value: Number | None = Field(
        default=None,
        description="What is below this, in the value's unit, cannot be true: it is asked for once "
        "more, and is in fault if it comes again.",
    )
    max_value: Number | None = Field(
        default=None,
        description="What is above this, in the value's unit, cannot be true: it is asked for once "
        "more, and is in fault if it comes again.",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if self.record is not None:
            yield from self._contradictions_of_record()
        elif self.quantity is None and self.vif is None:
            yield Contradiction(
                ("quantity", "vif", "record"),
                "nothing says which record this is",
                "write quantity: volume, say, or record: 0C13, the record's bytes as `read` shows "
                "them",
            )
        if self.quantity is not None and self.vif is not None:
            yield Contradiction(
                ("vif", "quantity"),
                "both quantity and vif say which record this is",
                "keep one of the two",
            )
        if self.vif is not None and self.modifiers is not None:
            yield Contradiction(
                ("modifiers", "vif"), "vif says the modifiers already", "remove modifiers"
            )
        if self.dif is not None:
            for key, usual in (("storage", 0), ("tariff", 0), ("subunit", 0),
                               ("function", Function.INSTANTANEOUS)):  # fmt: skip
                if getattr(self, key) != usual:
                    yield Contradiction(
                        (key, "dif"), f"dif says the {key} already", f"remove {key} or dif"
                    )
        for low, high in (("low_limit", "high_limit"), ("min_value", "max_value")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least >= most:
                yield Contradiction(
                    (low, high),
                    f"{low} {least} is not below {high} {most}",
                    "exchange the two, or remove one",
                )
        if self.object is ObjectType.ACCUMULATOR and self.cov_increment is not None:
            # ASHRAE 135, 12.1 (accumulator) has no such property.
            yield Contradiction(
                ("cov_increment", "object"),
                "an accumulator has no COV increment",
                "remove it: an accumulator tells every change of its count",
            )

    def _contradictions_of_record(self) -> Iterator[Contradiction]:
        for key in SELECTING:
            if getattr(self, key) != type(self).model_fields[key].default:
                yield Contradiction(
                    (key, "record"),
                    f"record says already which record this is, and {key} says it again",
                    f"remove {key}, or record",
                )


# The keys of a point by which it names its record in words or in bytes, but for `record`.
SELECTING = (
    *("quantity", "storage", "tariff", "subunit", "function"),
    *("modifiers", "dif", "vif", "ordinal"),
)


def _points_word(value: object) -> object:
    """Refuse what is neither a word nor a group, before pydantic tries both kinds."""
    if value in ("current", "all") or isinstance(value, Mapping):
        return value
    if isinstance(value, str):
        raise wrong(
            f"{quoted(value)} is no choice of points",
            f"{choose(value, ('current', 'all'))} Or name each point with what it measures: "
            "{volume: {quantity: volume}}",
        )
    raise wrong(
        "a list stands where points belong", "name each point: {volume: {quantity: volume}}"
    )


Points = Literal["current", "all"] | Annotated[Mapping[Name, Point], *Frozen]


class _Placed(Model):
    """Where a meter is on the bus, and when it is read."""

    address: Primary | None = Field(
        default=None, description="Primary address, 0 to 250; this or secondary, one of the two."
    )
    secondary: Secondary | None = Field(
        default=None,
        description="Secondary address: the eight digits on the meter, 12345678, or in full "
        "12345678-KAM-1B-04 (identification, manufacturer, version, device type), with F as the "
        "wildcard digit.",
    )
    fabrication: Fabrication | None = Field(
        default=None,
        description="Fabrication number of the meter, eight digits with F as the wildcard digit: "
        "selects one of several that share a secondary address.",
    )
    model: Name | None = Field(
        default=None,
        description="Name of a meter template, whose points this meter then has, and which is read "
        "as such meters need it; what is written here goes before it.",
    )
    every: Interval | None = Field(
        default=None,
        description="How often the meter is read; without it, as often as its bus says.",
    )
    between: Window | None = Field(
        default=None,
        description='Window of the day, local time, in which the meter may be read: "02:00-04:00". '
        "Without it, at any time.",
    )
    priority: PriorityWord = Field(
        default=Priority.NORMAL,
        description="high where the meter's turn goes before those of others on its bus.",
    )
    baudrate: Baudrate | None = Field(
        default=None,
        description="Baud rate of this meter, where it is not the one of its bus; a transparent "
        "gateway cannot change its own.",
    )
    on_exchange: OnExchangeWord | None = Field(
        default=None,
        description="What becomes of a meter that answers in this one's place: accept (one of the "
        "same kind takes over the objects) or hold (no values until its address is written here); "
        "without it, as the bus says.",
    )
    key: Key | None = Field(
        default=None, description="Where the AES-128 key of an encrypted meter is kept."
    )
    max_age: Age | None = Field(
        default=None,
        description="How old a value may become before it is in fault; without it, twice the "
        "interval and one retry.",
    )
    description: Text = Field(default="", description="What the operator reads of the meter.")


class Meter(Ways, _Placed):
    """One meter: where it is on the bus, how it is read, which of its values are offered."""

    points: Annotated[Points, BeforeValidator(_points_word)] = Field(
        default="current",
        description="Which values are offered: current (all that the meter tells of now), all "
        "(also what it stored), or a name for each, with what it measures.",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        yield from super().contradictions()
        if self.address is None and self.secondary is None:
            yield Contradiction(
                ("address", "secondary"),
                "nothing says where the meter is on the bus",
                "write address: 1, say (0 to 250), or secondary: 12345678",
            )
        if self.address is not None and self.secondary is not None:
            yield Contradiction(
                ("secondary", "address"),
                "the meter has a primary and a secondary address",
                "keep one of the two: secondary where several meters share a primary address",
            )
        if self.fabrication is not None and self.secondary is None:
            yield Contradiction(
                ("fabrication", "secondary"),
                "a fabrication number adds to a secondary address, and there is none",
                "write secondary: 12345678 too, or remove it",
            )

    @property
    def where(self) -> str:
        """The address as text, whichever it is."""
        return str(self.address) if self.address is not None else self.secondary or ""


class Bus(Model):
    """One M-Bus segment: how to reach it, and the meters on it."""

    port: BusPort = Field(
        examples=["/dev/ttyUSB0"],
        description="Where the segment is: /dev/ttyUSB0, tcp://host:port (a transparent gateway) "
        "or rfc2217://host:port.",
    )
    baudrate: Baudrate = Field(default=2400, description="Baud rate of the segment.")
    parity: ParityWord = Field(
        default=Parity.EVEN, description="even as the standard says; none for some converters."
    )
    every: Interval = Field(
        default=900.0,
        description="How often each meter is read, unless the meter says otherwise: 15m, 24h, or "
        "continuous for one round after the other.",
    )
    timeout: Timeout | None = Field(
        default=None,
        description="How long a meter may take to begin its answer; without it, what the standard "
        "allows at the baud rate: 330 bit times and 50 ms.",
    )
    latency: Latency | None = Field(
        default=None,
        description="What converter, gateway and network add to every answer, there and back; "
        "without it, what is usual: 20ms for a serial port, 500ms over a network.",
    )
    tries: Tries = Field(
        default=3, description="How often a request is sent before the meter counts as silent."
    )
    connection: ConnectionWord = Field(
        default=Connection.HOLD,
        description="hold keeps the port open; release closes it while no meter has a turn, for a "
        "gateway that takes one client at a time and has several.",
    )
    min_gap: Gap = Field(
        default=0.0,
        description="Time between two readouts of a meter at least, whoever asks for them, unless "
        "the meter says otherwise.",
    )
    on_exchange: OnExchangeWord = Field(
        default=OnExchange.ACCEPT,
        description="What becomes of a meter that answers in another's place, unless the meter "
        "says otherwise: accept (one of the same kind takes over the objects) or hold (no values "
        "until its address is written here).",
    )
    wake_up: WakeUpOrNone | None = Field(
        default=None,
        description="Characters that wake the meters of this bus, unless the meter says otherwise.",
    )
    billing: Billing | None = Field(
        default=None, description="Readings of all meters of this bus at one set time."
    )
    meters: Annotated[Mapping[Name, Meter], *Frozen] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="The meters, each by a name that is unique in the whole file and never "
        "changes: what a BMS knows its values by follows from it.",
    )

    @property
    def is_transparent(self) -> bool:
        """Whether a gateway lies between that has a line of its own, out of our reach."""
        return self.port.startswith("tcp://")

    def every_of(self, meter: Meter) -> float:
        """The interval of one meter in seconds; 0 where it is read continuously."""
        return self.every if meter.every is None else meter.every

    def min_gap_of(self, meter: Meter) -> float:
        """The time between two readouts of one meter at least, in seconds."""
        return self.min_gap if meter.min_gap is None else meter.min_gap

    def interval_of(self, meter: Meter) -> float:
        """How often one meter can be read, in seconds; 0 where nothing holds it back."""
        return max(self.every_of(meter), self.min_gap_of(meter))

    def on_exchange_of(self, meter: Meter) -> OnExchange:
        """What becomes of a meter that answers in the place of one of this bus."""
        return self.on_exchange if meter.on_exchange is None else meter.on_exchange

    def wake_up_of(self, meter: Meter) -> WakeUp | None:
        """What wakes one meter; None where it needs nothing."""
        wake_up = self.wake_up if meter.wake_up is None else meter.wake_up
        return wake_up if isinstance(wake_up, WakeUp) else None


class History(Model):
    """The readings that the bridge keeps in its state folder."""

    keep: Keep = Field(
        default=400 * 86400.0,
        description="How long a reading is kept; with 0 only the last one of each point.",
    )
    max_size: FileSize = Field(
        default=1_000_000_000,
        description="How large the file may become, 10MB to 1TB; beyond it the oldest readings "
        "go first.",
    )


class Site(Model):
    """All that one bridge needs to know."""

    device: Device = Field(
        examples=["{instance: 260001}"], description="The BACnet device that the bridge is."
    )
    bacnet: Bacnet = Field(
        examples=["{address: 192.168.1.10/24}"], description="The BACnet/IP side."
    )
    buses: Annotated[Mapping[Name, Bus], *Frozen] = Field(
        examples=["{basement: {port: /dev/ttyUSB0, meters: {main-water: {address: 1}}}}"],
        description="The M-Bus segments, each by a name of its own.",
    )
    state: FilePath | None = Field(
        default=None,
        description="Folder in which the bridge keeps its readings and object identifiers, "
        "relative to this file; without it, one named after this file, with the ending .state.",
    )
    history: History = Field(
        default_factory=History,
        description="The readings that the bridge keeps, for billing and for its next start.",
    )
