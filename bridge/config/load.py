"""A configuration file into a `Site`, or all that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from bridge.config.base import Model
from bridge.config.check import check
from bridge.config.errors import ConfigError, Problem, quoted
from bridge.config.errors import Path as Keys
from bridge.config.fill import Values, fill
from bridge.config.model import SELECTING, Bacnet, Key, Meter, Point, Site
from bridge.config.templates import Template, names, template
from bridge.config.tree import Mapping, Problems, Source, read_tree
from bridge.config.values import choose
from bridge.config.ways import Ways

# Some hundred times the largest site that one bridge can serve.
MAX_BYTES = 10_000_000


class Loaded(NamedTuple):
    """A site that works, and what is doubtful in its file; ``source`` knows its lines.

    What the caller finds to be doubtful it can add to ``source``, and have all of it from there.
    """

    site: Site
    warnings: tuple[Problem, ...]
    source: Source


def load(path: Path) -> Site:
    """Read a configuration file.

    Raises:
        ConfigError: with all that is wrong, each with its line.
    """
    return load_with_warnings(path).site


def load_text(text: str, path: Path) -> Site:
    """Read a configuration from text; ``path`` is what relative paths and messages refer to.

    Raises:
        ConfigError: with all that is wrong, each with its line.
    """
    return load_text_with_warnings(text, path).site


def load_with_warnings(path: Path) -> Loaded:
    """As `load`, with the warnings beside the site.

    Raises:
        ConfigError: with all that is wrong, each with its line, and the warnings.
    """
    return load_text_with_warnings(_read_file(path), path)


def load_text_with_warnings(text: str, path: Path) -> Loaded:
    """As `load_text`, with the warnings beside the site.

    Raises:
        ConfigError: with all that is wrong, each with its line, and the warnings.
    """
    problems = Problems(str(path))
    root = read_tree(text, problems)
    if root is None and not problems.errors:
        problems.add(
            0, 0, (), "the file is empty", "write device, bacnet and buses; see config/example.yaml"
        )
    elif root is not None and not isinstance(root, Mapping):
        problems.add(
            root.line,
            root.column,
            (),
            "this is no configuration: keys like device: and buses: must stand at the beginning "
            "of their lines",
            "see config/example.yaml",
        )
    if not isinstance(root, Mapping):
        raise ConfigError(problems.in_order())
    source = Source(root, problems)
    site = fill(Site, root, (), source, _SiteHook(source, path))
    check(site, source)
    found = problems.in_order()
    if problems.errors:
        raise ConfigError(found)
    return Loaded(site, found, source)


def elsewhere(site: Site, *, address: str | None, port: int | None) -> Site:
    """The same site on another BACnet network, as the command line asks; None changes nothing.

    Raises:
        ConfigError: ``address`` is no IPv4 address with its prefix length.
    """
    fields = {"address": address, "port": port}
    changed = {name: value for name, value in fields.items() if value is not None}
    if not changed:
        return site
    try:
        bacnet = Bacnet.model_validate({**dict(site.bacnet), **changed})
    except ValidationError as error:
        context = error.errors(include_url=False)[0].get("ctx", {})
        problem = Problem(
            "--address", 0, 0, "", context.get("message", str(error)), context.get("remedy", "")
        )
        raise ConfigError([problem]) from None
    return site.model_copy(update={"bacnet": bacnet})


class _SiteHook:
    """Puts in what the file refers to: templates, and the folder that its paths start from."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path

    def begin(self, model: type[Model], path: Keys, around: Values) -> Values:
        if model is not Point or (name := around.get("model")) is None:
            return {}
        known = _template_of(around)
        point = known.points.get(str(path[-1])) if known else None
        if point is not None:
            # A record by its bytes is named in place of the template's words.
            named = self._source.has((*path, "record"))
            return {
                key: getattr(point, key)
                for key in point.model_fields_set
                if not (named and key in SELECTING)
            }
        if name not in names() and not self._source.has((*path, "quantity")):
            # The template that was meant would say it.
            self._source.excuse((*path, "quantity"))
        return {}

    def end(self, model: type[Model], path: Keys, values: Values) -> None:
        if model is Meter:
            self._add_template(path, values)
        elif model is Key and isinstance(values.get("file"), Path):
            values["file"] = self._path.parent / values["file"]
        elif model is Site:
            state = values.get("state") or f"{self._path.stem or 'site'}.state"
            values["state"] = self._path.parent / state

    def _add_template(self, path: Keys, values: Values) -> None:
        name = values.get("model")
        if name is None:
            return
        known = _template_of(values)
        if known is None:
            self._source.error(
                (*path, "model"),
                f"there is no meter template {quoted(name)}",
                choose(name, names()),
            )
            return
        own: Any = values.get("points", {})
        if not isinstance(own, str):
            values["points"] = MappingProxyType({**known.points, **own})
        for key in Ways.model_fields.keys() & known.model_fields_set:
            if not self._source.has((*path, key)):
                values[key] = getattr(known, key)


def _template_of(values: Values) -> Template | None:
    name = values.get("model")
    return template(name) if name in names() else None


def _read_file(path: Path) -> str:
    problems = Problems(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.add(
            0,
            0,
            (),
            "there is no such file",
            "check the path; README shows the smallest file",
        )
    except IsADirectoryError:
        problems.add(0, 0, (), "this is a folder", f"name the file in it: {path}/site.yaml, say")
    except PermissionError:
        problems.add(
            0, 0, (), "it may not be read", "give the user that runs this the right to read it"
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        problems.add(0, 0, (), f"it cannot be read ({why})", "check the path and the disk")
    else:
        if len(data) <= MAX_BYTES:
            return _decode(data, problems)
        problems.add(
            0,
            0,
            (),
            f"the file is larger than {MAX_BYTES // 1_000_000} MB",
            "check that it is a configuration; the largest sites need a tenth of that",
        )
    raise ConfigError(problems.in_order())


def _decode(data: bytes, problems: Problems) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        start = before.rfind(b"\n") + 1
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            problems.add(1, 1, (), "the file is in UTF-16", "save it as UTF-8")
        else:
            problems.add(
                before.count(b"\n") + 1,
                len(before[start:].decode("utf-8")) + 1,
                (),
                f"the byte {data[error.start]:02X} is no UTF-8",
                "save the file as UTF-8; older editors write Latin-1",
            )
        raise ConfigError(problems.in_order()) from None
