from __future__ import annotations

from typing import Any

import pytest
import yaml

from bridge.config.tree import LOADER, Mapping, Problems, Scalar, Sequence, read_tree

LOADERS = [yaml.SafeLoader] if LOADER is yaml.SafeLoader else [yaml.SafeLoader, LOADER]


@pytest.mark.parametrize("loader", LOADERS)
def test_everything_knows_its_place_and_its_text(loader: Any) -> None:
    problems = Problems("t.yaml")
    root = read_tree("a: 012\nb:\n  - 'x'\n  - {c: }\n", problems, loader=loader)
    assert problems.found == []
    assert isinstance(root, Mapping)
    key, value = root.entries["a"]
    assert (key.line, key.column) == (1, 1)
    assert isinstance(value, Scalar)
    assert (value.text, value.plain, value.line, value.column) == ("012", True, 1, 4)
    items = root.entries["b"].value
    assert isinstance(items, Sequence)
    quoted, group = items.items
    assert isinstance(quoted, Scalar)
    assert not quoted.plain
    assert isinstance(group, Mapping)
    empty = group.entries["c"].value
    assert isinstance(empty, Scalar)
    assert empty.is_null


@pytest.mark.parametrize("loader", LOADERS)
def test_a_quoted_null_is_a_text(loader: Any) -> None:
    root = read_tree('a: "null"', Problems("t.yaml"), loader=loader)
    assert isinstance(root, Mapping)
    value = root.entries["a"].value
    assert isinstance(value, Scalar)
    assert not value.is_null


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n\tb: 2\n", 2),
        ('a: "\n\n', 3),
        ("a: {b: 1\nc: [", 2),
        ("a:\n  - b\n c: 1\n", 3),
        ('a: "\\q"\n', 1),
        ('a: "\\U00110000"\n', None),
        ("%YAML 1.2 x\n---\na: 1\n", 1),
        ("a: &b\n*c : 1\n", 2),
    ],
)
def test_both_scanners_say_in_which_line_they_fail(
    loader: Any, text: str, line: int | None
) -> None:
    problems = Problems("t.yaml")
    assert read_tree(text, problems, loader=loader) is None
    (problem,) = problems.found
    assert problem.remedy
    if line is not None:
        assert problem.line == line


def test_an_alias_as_a_key_stands_where_it_was_written() -> None:
    problems = Problems("t.yaml")
    root = read_tree("a: &x b\n*x : 1\n", problems)
    assert isinstance(root, Mapping)
    assert root.entries["b"].key.line == 2


def test_a_merge_takes_the_first_of_several_and_never_an_own_key() -> None:
    root = read_tree("a: {<<: [{x: 1, y: 1}, {y: 2, z: 2}], x: 0}", Problems("t.yaml"))
    assert isinstance(root, Mapping)
    merged = root.entries["a"].value
    assert isinstance(merged, Mapping)
    texts = {key: entry.value for key, entry in merged.entries.items()}
    assert {key: node.text for key, node in texts.items() if isinstance(node, Scalar)} == {
        "x": "0",
        "y": "1",
        "z": "2",
    }
