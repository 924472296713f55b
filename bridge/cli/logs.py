"""The log on stderr: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import datetime
import json
import logging
from typing import Any

from bridge.cli.options import LogFormat
from bridge.cli.output import say_by_log

_TEXT = "%(asctime)s %(levelname)-7s %(message)s"

# What a record has by itself; all else stands there because somebody said so with ``extra``.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"asctime", "message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    ``time`` (ISO 8601, with milliseconds and the offset to UTC), ``level``, ``logger``,
    ``message``; ``exception`` and ``stack`` where there is one, as Python prints them; and what
    the record carries as ``extra`` by its own name: ``segment``, ``meter``, ``kind``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.datetime.fromtimestamp(record.created).astimezone()
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in _OWN:
                line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(*, verbose: bool, format: LogFormat) -> None:
    """Log to stderr: of others what is a warning, of ours what changes, or all."""
    handler = logging.StreamHandler()
    if format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter(_TEXT, datefmt="%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bridge").setLevel(logging.DEBUG if verbose else logging.INFO)
    say_by_log(format is LogFormat.JSON)
