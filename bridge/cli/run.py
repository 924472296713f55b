"""``run``: the bridge."""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.logs import set_up
from bridge.cli.names import counted
from bridge.cli.options import LogFormat, Verbose
from bridge.cli.output import command_name, say
from bridge.config.load import elsewhere, load_with_warnings
from bridge.config.model import Site
from bridge.config.values import BACNET_PORT, format_duration
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.app.bridge import Bridge
    from bridge.app.readings import FirstRound

log = logging.getLogger(__name__)


def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The site's YAML file.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Simulated meters instead of a site.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS/PREFIX",
            help="This machine's address on the BACnet network, in place of the file's: "
            "192.168.1.10/24.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=1,
            max=65535,
            help="UDP port of the device, in place of the file's.",
        ),
    ] = None,
    verbose: Verbose = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(metavar="text|json", help="How the log on stderr is written."),
    ] = None,
) -> None:
    """Run the bridge until SIGTERM or Ctrl-C. SIGHUP has it read CONFIG again.

    Examples:

      mbus-bacnet run site.yaml
      mbus-bacnet run --demo
    """
    # Before there is anything to reload, it is no reason to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if demo == (config is not None):
        raise typer.BadParameter("name the site's file, or say --demo for simulated meters")
    if log_format is not None:
        verbose = verbose or logging.getLogger("bridge").level == logging.DEBUG
        set_up(verbose=verbose, format=log_format)
    elif verbose:
        logging.getLogger("bridge").setLevel(logging.DEBUG)
    if config is None:
        asyncio.run(_run_demo(address, port))
        return
    site, warnings, _ = load_with_warnings(config)
    for warning in warnings:
        say(str(warning), logging.WARNING)
    site = elsewhere(site, address=address, port=port)
    reload = _Reload(config, address, port, [str(warning) for warning in warnings])
    asyncio.run(_serve(site, state=site.state, reload=reload))


class _Reload:
    """Reads the file again, as it was read at the start."""

    def __init__(
        self, config: Path, address: str | None, port: int | None, said: list[str]
    ) -> None:
        self._config = config
        self._address = address
        self._port = port
        self._said = said  # warnings of the file as it is
        self._running: asyncio.Task[None] | None = None
        self._again = False

    def ask(self, bridge: Bridge) -> None:
        """SIGHUP: once more after the present time, where one goes on."""
        if self._running is not None and not self._running.done():
            self._again = True
            return
        self._running = asyncio.create_task(self._work(bridge), name="reload")

    async def _work(self, bridge: Bridge) -> None:
        self._again = True
        while self._again:
            self._again = False
            try:
                # Reading and checking a large file takes a second that the buses should not wait.
                site, warnings = await asyncio.to_thread(self._load)
                for warning in warnings:
                    if warning not in self._said:
                        log.warning("%s", warning)
                self._said = warnings
                changes = await bridge.reload(site)
            except BridgeError as error:
                for line in str(error).splitlines():
                    # With what is wrong in a file comes what is only doubtful.
                    level = logging.WARNING if ": warning: " in line else logging.ERROR
                    log.log(level, "%s", line)
                log.error("not reloaded: the configuration from before goes on")
                continue
            except Exception:
                log.exception("an error in the bridge, reloading its configuration")
                continue
            log.info("reloaded %s: %s", self._config, "; ".join(changes) or "nothing has changed")

    def _load(self) -> tuple[Site, list[str]]:
        site, warnings, _ = load_with_warnings(self._config)
        site = elsewhere(site, address=self._address, port=self._port)
        return site, [str(warning) for warning in warnings]


async def _run_demo(address: str | None, port: int | None) -> None:
    from bridge.app.demo import Demo

    demo = await Demo.start()
    try:
        site = elsewhere(demo.site, address=address, port=port)
        # What simulated meters say need not survive.
        await _serve(site, state=None, reload=None)
    finally:
        await demo.stop()


async def _serve(site: Site, *, state: Path | None, reload: _Reload | None) -> None:
    from bridge.app.bridge import Bridge

    bridge = Bridge(site, state=state)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    early = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, _nothing if reload is None else early.set)
    bridge.on_first_round = lambda first: _say_first_round(bridge, first)
    await bridge.start()
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, partial(reload.ask, bridge))
        if early.is_set():
            reload.ask(bridge)
    _say_what_runs(site, demo=reload is None)
    await bridge.run(stop)
    say("stopped")


def _nothing() -> None:
    log.info("SIGHUP: there is no file to read again")


def _say_what_runs(site: Site, *, demo: bool) -> None:
    address = site.bacnet.address.partition("/")[0]
    say(
        f'BACnet device {site.device.instance} "{site.device.name}" answers at '
        f"{address}, UDP port {site.bacnet.port}."
    )
    for name, bus in site.buses.items():
        every = format_duration(bus.every)
        count = counted(len(bus.meters), "meter")
        say(f"Bus {name}: {count} on {bus.port}, {bus.baudrate} baud, every {every}.")
    if not demo:
        return
    command = command_name()
    here = address.startswith("127.")
    device = "" if here and site.bacnet.port == BACNET_PORT else f" {address}:{site.bacnet.port}"
    say(
        "\nThe meters are simulated: telegrams like those of real ones, at the speed of a real bus."
        + (" Nothing leaves this machine." if here else "")
        + "\nTry next, in a second terminal:\n"
        f"  {command} browse{device}\n      every value, as a BMS sees it\n"
        f"  {command} simulate\n      a bus of your own, to read, break and play with\n"
        f"  {command} --help\n      all commands\n"
        "Ctrl-C ends it.\n"
    )


def _say_first_round(bridge: Bridge, first: FirstRound) -> None:
    answered = first.answered + len(first.without_data)
    total = answered + len(first.failed)
    say(
        f"First round complete: {answered} of {counted(total, 'meter')} answered, "
        f"{counted(len(bridge.store.points), 'object')}."
    )
    if first.without_data:
        say(f"Answered without data: {', '.join(first.without_data)}.")
    if first.failed:
        say(f"Without an answer: {', '.join(first.failed)}.")
    faults = bridge.faults()
    if faults:
        reasons = ", ".join(f"{count} ({fault})" for fault, count in faults.most_common())
        say(f"{counted(faults.total(), 'point')} in fault: {reasons}.")
