"""A tree of YAML into a model, with every mistake noted and none of them the last.

Pydantic validates a model as a whole: one bad key hides the rules that need the others. Here each
key is read by itself, what is right is kept, and the rules of the model and of the file run on
that. A model with a mistake in it is good for finding more mistakes, and for nothing else.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping as AnyMapping
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from bridge.config.base import Model
from bridge.config.billing import Billing
from bridge.config.errors import Path, quoted
from bridge.config.model import Bacnet, Bus, Device, Foreign, History, Key, Meter, Point
from bridge.config.tree import Mapping, Node, Scalar, Sequence, Source
from bridge.config.values import Name, suggestion
from bridge.config.ways import WakeUp

_NAME: TypeAdapter[str] = TypeAdapter(Name)

M = TypeVar("M", bound=Model)

Values = dict[str, Any]

# How a group of keys begins, for a remedy.
_EXAMPLES: dict[type[Model], str] = {
    Device: "{instance: 260001}",
    Bacnet: "{address: 192.168.1.10/24}",
    Foreign: "{bbmd: 10.1.0.5}",
    Bus: "{port: /dev/ttyUSB0, meters: {...}}",
    Meter: "{address: 1}",
    Point: "{quantity: volume}",
    Key: "{file: keys/name}",
    History: "{keep: 400d}",
    WakeUp: "{byte: 55, for: 2.2s}",
    Billing: "{at: monthly 1 00:00}",
}

# What other programs call our keys.
_OTHER_WORDS = {
    "baud": "baudrate",
    "bps": "baudrate",
    "speed": "baudrate",
    "interval": "every",
    "period": "every",
    "poll-interval": "every",
    "schedule": "between",
    "window": "between",
    "id": "instance",
    "device-id": "instance",
    "primary": "address",
    "primary-address": "address",
    "secondary-address": "secondary",
    "serial": "secondary",
    "template": "model",
    "type": "model",
    "url": "port",
    "device": "port",
    "retries": "tries",
    "ip": "address",
    "units": "unit",
    "factor": "scale",
    "multiplier": "scale",
    "object-type": "object",
    "cov": "cov_increment",
    "storage-number": "storage",
    "dib": "dif",
    "vib": "vif",
    "gap": "min_gap",
    "minimum-gap": "min_gap",
    "min-interval": "min_gap",
    "wakeup": "wake_up",
    "preamble": "wake_up",
    "duration": "for",
    "fabrication-number": "fabrication",
    "init": "before",
    "snd-nke": "nke",
    "delay-after-nke": "pause",
    "delay": "pause",
    "when": "at",
    "retention": "keep",
    "min": "min_value",
    "minimum": "min_value",
    "max": "max_value",
    "maximum": "max_value",
}


class Hook(Protocol):
    """What a caller adds while models are filled."""

    def begin(self, model: type[Model], path: Path, around: Values) -> Values:
        """Values that a model has before its own keys; ``around`` are those of the one above."""

    def end(self, model: type[Model], path: Path, values: Values) -> None:
        """Complete a model's values, all of its own keys being read."""


class _Slot(NamedTuple):
    """How the value of one key is read."""

    adapter: TypeAdapter[Any]
    group: type[Model] | None  # the value is a group of keys
    named: type[Model] | None  # the value is a group of names, each with a group of keys
    only_group: bool  # and cannot be a word instead


def fill(model: type[M], node: Mapping, path: Path, source: Source, hook: Hook | None = None) -> M:
    """Make a model of a group of keys, and note all mistakes in ``source``.

    Where none was noted, the model is whole. Else it lacks what was wrong (None stands where
    there is no default), and only rules about the rest may use it.
    """
    return _Filler(source, hook).model(model, node, path, {})


class _Filler:
    def __init__(self, source: Source, hook: Hook | None) -> None:
        self._source = source
        self._hook = hook

    def model(self, model: type[M], node: Mapping, path: Path, around: Values) -> M:
        errors_before = self._source.errors
        values = self._hook.begin(model, path, around) if self._hook else {}
        slots = _slots(model)
        for key in node.entries:
            if key not in slots:
                self._unknown(key, model, node, path)
        # In the order of the model: a template is known before the points that change it.
        for key, slot in slots.items():
            entry = node.entries.get(key)
            if entry is None:
                continue
            here = (*path, key)
            if self._has_value(entry.value, here):
                value = self._value(slot, entry.value, here, values)
                if not self._source.is_broken(here):
                    values[key] = value
        if self._hook:
            self._hook.end(model, path, values)
        for key, name in model.names_by_key().items():
            info = model.model_fields[name]
            if info.is_required() and key not in values:
                values[key] = None
                if key not in node.entries:
                    example = (info.examples or ["..."])[0]
                    self._source.error(
                        (*path, key), f"{key} is missing", f"write it, like {key}: {example}"
                    )
        if self._source.errors == errors_before and (whole := _make(model, values)) is not None:
            return whole
        partial = model.model_construct(**values)
        spoilt = False
        for contradiction in partial.contradictions():
            spoilt = True
            if any(self._source.is_broken((*path, key)) for key in contradiction.keys):
                continue  # no wonder
            written = [key for key in contradiction.keys if key in node.entries]
            place = (*path, (written or contradiction.keys)[0])
            self._source.error(place, contradiction.message, contradiction.remedy)
        # Whatever still makes no model, though nobody said why, is our own mistake: it is raised.
        spoilt = spoilt or self._source.errors > errors_before
        return partial if spoilt else model(**values)

    def _value(self, slot: _Slot, node: Node, path: Path, around: Values) -> Any:
        if slot.group is not None and (slot.only_group or isinstance(node, Mapping)):
            return self._group(slot.group, node, path, around)
        if slot.named is not None and isinstance(node, Mapping):
            return self._named(slot.named, node, path, around)
        if slot.named is not None and slot.only_group:
            what = slot.named.__name__.lower()
            self._source.error(
                path,
                f"{_shown(node)} stands where names belong",
                f"write the name of each {what} and its keys: "
                f"{{name-1: {_EXAMPLES.get(slot.named, '{...}')}}}",
            )
            return None
        return self._read(slot.adapter, _plain(node), path)

    def _group(self, model: type[Model], node: Node, path: Path, around: Values) -> Model | None:
        if isinstance(node, Mapping):
            return self.model(model, node, path, around)
        if model is Key:
            # What stands here may be the key itself: not a word of it.
            message = "this does not name a file or an environment variable with the key in it"
        else:
            message = f"{_shown(node)} stands where the keys of a {model.__name__.lower()} belong"
        example = _EXAMPLES.get(model, "{...}")
        self._source.error(path, message, f"write {quoted(str(path[-1]))}: {example}")
        return None

    def _named(
        self, model: type[Model], node: Mapping, path: Path, around: Values
    ) -> AnyMapping[str, Model]:
        models: dict[str, Model] = {}
        for key, entry in node.entries.items():
            here = (*path, key)
            errors_before = self._source.errors
            name = self._read(_NAME, key, here)
            if self._source.errors == errors_before and name in models:
                self._source.error(here, f"{quoted(key)} stands twice", "give it another name")
            if not self._has_value(entry.value, here):
                continue
            filled = self._group(model, entry.value, here, around)
            if filled is not None:
                models[name or key] = filled
        return types.MappingProxyType(models)

    def _read(self, adapter: TypeAdapter[Any], value: object, path: Path) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            context = first.get("ctx", {})
            if first["type"] == "configuration":
                message, remedy = context["message"], context["remedy"]
            else:
                message, remedy = first["msg"], "see what `mbus-bacnet schema` says of this key"
            self._source.error(path, message, remedy)
            return None

    def _has_value(self, node: Node, path: Path) -> bool:
        if isinstance(node, Scalar) and node.is_null:
            self._source.error(
                path, "there is no value", "write one, or remove the key to have its default"
            )
            return False
        return True

    def _unknown(self, key: str, model: type[Model], node: Mapping, path: Path) -> None:
        known = list(model.names_by_key())
        other = _OTHER_WORDS.get(key.casefold().replace("_", "-"))
        meant = other if other in known else None
        if meant is None and not self._source.full:
            meant = suggestion(key, known)
        if meant is None:
            where = f"a {model.__name__.lower()}" if path else "the file"
            remedy = f"the keys of {where} are {', '.join(known)}"
        elif meant in node.entries:
            remedy = f"remove it: `{meant}` is there already"
        else:
            remedy = f"did you mean `{meant}`?"
            self._source.excuse((*path, meant))  # nor is it missing
        self._source.error((*path, key), "there is no such key", remedy)


def _make(model: type[M], values: Values) -> M | None:
    """The model, or None where its values contradict each other."""
    try:
        return model(**values)
    except ValidationError:
        return None


@functools.cache
def _slots(model: type[Model]) -> dict[str, _Slot]:
    slots = {}
    for key, name in model.names_by_key().items():
        info = model.model_fields[name]
        annotation: Any = info.annotation
        for extra in info.metadata:
            annotation = Annotated[annotation, extra]
        group, named, words = _shape(info.annotation)
        slots[key] = _Slot(TypeAdapter(annotation), group, named, not words)
    return slots


def _shape(annotation: Any) -> tuple[type[Model] | None, type[Model] | None, bool]:
    """The model in an annotation, the model by name in it, and whether it may be a word too."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, None, False
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0])
    if origin is AnyMapping:
        return None, _shape(arguments[1])[0], False
    group = named = None
    words = False
    for argument in arguments if origin in (Union, types.UnionType) else ():
        if argument is types.NoneType:
            continue
        inner_group, inner_named, inner_words = _shape(argument)
        group, named = group or inner_group, named or inner_named
        words = words or inner_words or (inner_group is None and inner_named is None)
    return group, named, words


def _plain(node: Node) -> object:
    """A node as lists, dictionaries and texts; what is too deep was refused before."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return {key: _plain(entry.value) for key, entry in node.entries.items()}


def _shown(node: Node) -> str:
    if isinstance(node, Scalar):
        return quoted(node.text) if node.text else "an empty text"
    return "a list" if isinstance(node, Sequence) else "a group of keys"
