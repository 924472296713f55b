"""YAML text to a tree that remembers where everything stands.

A scalar stays the text that the user wrote. YAML 1.1 would make a number of ``01234567``, a truth
of ``on`` and 7200 of ``2:00:00``; here the key decides what its text means, not its looks.
The tree is built from parser events, without recursion: no file can exhaust the stack. Aliases
share their node, and the size that they would have if written out is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import yaml

from bridge.config.errors import Path, Problem, Severity, key_path, printable, quoted

MAX_DEPTH = 32  # a site is at most nine deep: buses, name, meters, name, points, name, list
MAX_VALUES = 2_000_000  # of a tree with all its aliases written out

# libyaml where PyYAML was built with it: some ten times as fast.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.1, 5.1: the characters that a stream may contain.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STANDARD_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset({"str", "int", "float", "bool", "null", "timestamp", "map", "seq"})


@dataclass(slots=True, eq=False)
class Scalar:
    """Text as written; ``plain`` where no quotes stood around it."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(slots=True, eq=False)
class Sequence:
    items: list[Node]
    line: int
    column: int
    size: int = 1
    height: int = 0


@dataclass(slots=True, eq=False)
class Mapping:
    entries: dict[str, Entry]
    line: int
    column: int
    size: int = 1
    height: int = 0


Node = Scalar | Sequence | Mapping


class Entry(NamedTuple):
    key: Scalar
    value: Node


class Problems:
    """Collects what is wrong in one file."""

    # A file that is no configuration at all: enough to see that.
    LIMIT = 1000

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []
        self.errors = 0
        self._seen: set[tuple[int, int, str]] = set()

    @property
    def full(self) -> bool:
        return len(self.found) >= self.LIMIT

    def add(
        self,
        line: int,
        column: int,
        path: Path,
        message: str,
        remedy: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note a problem; the same one at the same place (by way of an alias) only once."""
        if severity is Severity.ERROR:
            self.errors += 1
        if self.full or (line, column, message) in self._seen:
            return
        self._seen.add((line, column, message))
        self.found.append(
            Problem(self.file, line, column, key_path(path), message, remedy, severity)
        )

    def in_order(self) -> tuple[Problem, ...]:
        return tuple(sorted(self.found, key=lambda problem: (problem.line, problem.column)))


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Sequence | Mapping
    path: Path
    key: Scalar | None = None  # of a mapping, while its value is awaited
    bad_key: bool = False
    merges: list[tuple[Scalar, Node]] = field(default_factory=list)


class _StopReadingError(Exception):
    """The file cannot be read on; why stands among the problems."""


def read_tree(text: str, problems: Problems, *, loader: Any = None) -> Node | None:
    """Read one YAML document.

    Args:
        text: the file's content.
        problems: takes what is wrong; duplicate keys and foreign tags do not end the reading.
        loader: a PyYAML loader class, for tests.

    Returns:
        The root of the tree, or None where there is none: the document is empty, or cannot be read.
    """
    text = text.removeprefix("\ufeff")
    unreadable = _UNREADABLE.search(text)
    if unreadable is not None:
        before = text[: unreadable.start()]
        problems.add(
            before.count("\n") + 1,
            len(before) - (before.rfind("\n") + 1) + 1,
            (),
            f"the character U+{ord(unreadable.group()):04X} cannot stand in a YAML file",
            "remove it; was the file saved by a text editor, as UTF-8?",
        )
        return None
    try:
        return _Builder(problems).build(yaml.parse(text, Loader=loader or LOADER))
    except _StopReadingError:
        return None
    except yaml.MarkedYAMLError as error:
        _add_syntax_error(error, text, problems)
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML's pure-Python scanner lets the ValueError of an impossible escape out.
        problems.add(
            0, 0, (), f"this is no YAML ({printable(str(error), 120)})", "correct the file"
        )
        return None


class _Builder:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._place(self._scalar(event))
                case yaml.AliasEvent():
                    self._place_alias(event)
                case yaml.MappingStartEvent():
                    self._begin(Mapping({}, *_position(event)), event)
                case yaml.SequenceStartEvent():
                    self._begin(Sequence([], *_position(event)), event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end()
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        self._stop(
                            event,
                            "a second document begins here",
                            "keep one site to a file, and remove the line ---",
                        )
                case _:
                    pass  # start and end of stream and document carry nothing
        root = self._root
        return None if isinstance(root, Scalar) and root.is_null else root

    def _scalar(self, event: Any) -> Scalar:
        self._check_tag(event)
        # Plain is None to PyYAML's own scanner and "" to libyaml's.
        node = Scalar(event.value, not event.style, *_position(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _begin(self, node: Sequence | Mapping, event: Any) -> None:
        self._check_tag(event)
        if len(self._stack) >= MAX_DEPTH:
            self._stop(
                event,
                f"nested more than {MAX_DEPTH} deep",
                "a site needs nine levels; look for a bracket or an indentation that never ends",
            )
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._stack.append(_Open(node, self._path_of_next()))

    def _end(self) -> None:
        done = self._stack.pop()
        node = done.node
        if isinstance(node, Mapping):
            for key, source in done.merges:
                self._merge(node, key, source, done.path)
        self._place(node)

    def _place_alias(self, event: Any) -> None:
        line, column = _position(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            self._stop(
                event,
                f"*{printable(event.anchor)} names an anchor that does not stand before it",
                f"write &{printable(event.anchor)} where the value is, or put the text in quotes "
                "if it is to begin with *",
            )
        if any(open_.node is node for open_ in self._stack):
            self._stop(event, f"*{printable(event.anchor)} contains itself", "remove it")
        self._place(node, line, column)

    def _place(self, node: Node, line: int | None = None, column: int | None = None) -> None:
        """Put a finished node where it belongs: as key, value, item or root."""
        if not self._stack:
            self._root = node
            return
        open_ = self._stack[-1]
        parent = open_.node
        if isinstance(parent, Sequence):
            parent.items.append(node)
            self._grow(parent, node)
        elif open_.key is None and not open_.bad_key:
            self._take_key(open_, node, line, column)
        else:
            key, open_.key, open_.bad_key = open_.key, None, False
            if key is None:
                return
            if key.plain and key.text == "<<":
                open_.merges.append((key, node))
                return
            first = parent.entries.get(key.text)
            if first is not None:
                self._problems.add(
                    key.line,
                    key.column,
                    (*open_.path, key.text),
                    f"{quoted(key.text)} stands twice: in line {first.key.line} and in line "
                    f"{key.line}",
                    "remove one of the two, or give it another name",
                )
                return
            parent.entries[key.text] = Entry(key, node)
            self._grow(parent, node)

    def _take_key(
        self, open_: _Open, node: Node, line: int | None = None, column: int | None = None
    ) -> None:
        if isinstance(node, Scalar):
            open_.key = node
            if line is not None and column is not None:  # an alias: the key stands here
                open_.key = Scalar(node.text, node.plain, line, column)
            return
        open_.bad_key = True
        self._problems.add(
            node.line,
            node.column,
            open_.path,
            "a list or a group of keys cannot be a key",
            "write a plain word; is a text with { or [ missing its quotes?",
        )

    def _merge(self, target: Mapping, key: Scalar, source: Node, path: Path) -> None:
        sources = source.items if isinstance(source, Sequence) else [source]
        for mapping in sources:
            if not isinstance(mapping, Mapping):
                self._problems.add(
                    key.line,
                    key.column,
                    (*path, "<<"),
                    "only a group of keys can be merged",
                    "write <<: *name, where &name stands before a group of keys",
                )
                continue
            for name, entry in mapping.entries.items():
                if name not in target.entries:
                    target.entries[name] = entry
                    self._grow(target, entry.value)

    def _grow(self, parent: Sequence | Mapping, child: Node) -> None:
        if isinstance(child, Scalar):
            parent.size += 1
            return
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)
        if parent.size > MAX_VALUES or parent.height > MAX_DEPTH:
            self._problems.add(
                parent.line,
                parent.column,
                (),
                f"with all aliases written out, this holds more than {MAX_VALUES} values or is "
                f"nested more than {MAX_DEPTH} deep",
                "use fewer aliases within aliases",
            )
            raise _StopReadingError

    def _check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            return
        if tag.startswith(_STANDARD_TAG) and tag.removeprefix(_STANDARD_TAG) in _PLAIN_TAGS:
            return
        self._problems.add(
            *_position(event),
            self._path_of_next(),
            f"the tag {printable(tag)} means nothing here",
            "remove it, or put the text in quotes if it is to begin with !",
        )

    def _path_of_next(self) -> Path:
        if not self._stack:
            return ()
        open_ = self._stack[-1]
        if isinstance(open_.node, Sequence):
            return (*open_.path, len(open_.node.items))
        return open_.path if open_.key is None else (*open_.path, open_.key.text)

    def _stop(self, event: Any, message: str, remedy: str) -> NoReturn:
        self._problems.add(*_position(event), self._path_of_next()[:6], message, remedy)
        raise _StopReadingError


def _position(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


# What PyYAML says, and what a person can do about it. The first that fits is taken.
_HINTS = (
    ("mapping values are not allowed", "put a text that contains ': ' in quotes, and check that "
     "the line above is complete and the indentation right"),
    ("could not find expected ':'", "a colon and a space are missing after a key, or a quote is "
     "not closed"),
    ("expected <block end>", "indent it like the lines it belongs to"),
    ("did not find expected key", "indent it like the lines it belongs to"),
    ("did not find expected '-' indicator", "indent it like the lines it belongs to"),
    ("expected ',' or '}'", "a comma or a closing } is missing"),
    ("expected ',' or ']'", "a comma or a closing ] is missing"),
    ("unexpected end of stream", "a closing quote is missing"),
    ("while scanning a quoted scalar", "a closing quote is missing"),
    ("cannot start any token", "put the text in quotes: a plain one cannot begin with this sign"),
    ("unknown escape", "within double quotes a backslash is written twice; or use single quotes"),
    ("escape", "within double quotes a backslash is written twice; or use single quotes"),
    ("alias", "put the text in quotes if it is to begin with *"),
    ("anchor", "put the text in quotes if it is to begin with &"),
    ("block scalar", "after | or > the text begins on the next line, indented"),
)  # fmt: skip


def _add_syntax_error(error: yaml.MarkedYAMLError, text: str, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    said = " ".join(part for part in (error.context, error.problem) if part)
    lines = text.split("\n")
    current = lines[line - 1] if 0 < line <= len(lines) else ""
    indentation = current[: len(current) - len(current.lstrip())]
    if "\t" in indentation:
        problems.add(
            line,
            indentation.index("\t") + 1,
            (),
            "a tab stands in the indentation",
            "indent with spaces; YAML takes no tabs there",
        )
        return
    remedy = next((hint for words, hint in _HINTS if words in said), "correct the line")
    context = error.context_mark
    if context is not None and mark is not None and context.line != mark.line:
        remedy += f" (what is not complete here began in line {context.line + 1})"
    problems.add(line, column, (), f"this is no YAML: {printable(said, 160)}", remedy)


class Source:
    """A tree that can be asked where a key stands."""

    def __init__(self, root: Mapping, problems: Problems) -> None:
        self.root = root
        self._problems = problems
        self._broken: set[Path] = set()

    def entry(self, path: Path) -> tuple[int, int]:
        """Line and column of a key, or of the nearest one above it that was written."""
        place = self.root.line, self.root.column
        node: Node = self.root
        for part in path:
            if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
                key, node = node.entries[part]
                place = key.line, key.column
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                place = node.line, node.column
            else:
                break
        return place

    def has(self, path: Path) -> bool:
        """Whether exactly this key was written."""
        node: Node = self.root
        for part in path:
            if not isinstance(node, Mapping) or str(part) not in node.entries:
                return False
            node = node.entries[str(part)].value
        return True

    def line(self, path: Path) -> int:
        return self.entry(path)[0]

    def error(self, path: Path, message: str, remedy: str) -> None:
        """Note an error, once a key: what was wrong in itself is not judged again."""
        if not self.is_broken(path):
            self._broken.add(path)
            self._problems.add(*self.entry(path), path, message, remedy)

    def excuse(self, path: Path) -> None:
        """Let no rule judge this key: what it depends on is wrong already."""
        self._broken.add(path)

    def warn(self, path: Path, message: str, remedy: str) -> None:
        if not self.is_broken(path):
            self._problems.add(*self.entry(path), path, message, remedy, Severity.WARNING)

    @property
    def found(self) -> tuple[Problem, ...]:
        """All that is wrong or doubtful by now, in the file's order."""
        return self._problems.in_order()

    @property
    def errors(self) -> int:
        """How many errors there are by now, in the whole file."""
        return self._problems.errors

    @property
    def full(self) -> bool:
        """Whether further problems are no longer kept."""
        return self._problems.full

    def is_broken(self, path: Path) -> bool:
        """Whether an error was noted for exactly this key."""
        return path in self._broken
