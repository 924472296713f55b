"""Imports go down, never up or sideways: this reads them and holds them to the plan."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bridge"

# What each floor may import of ours. ``app`` alone sees every part; ``cli`` stands on top of it.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "units": {"errors"},
    "mbus": {"errors", "units"},
    "transport": {"errors"},
    "points": {"errors", "units", "mbus"},
    "polling": {"errors", "units", "mbus", "transport"},
    "bacnet": {"errors", "units", "points"},
    "config": {"errors", "units"},
    "sim": {"errors", "units", "mbus"},
    "app": {"errors", "units", "mbus", "transport", "points", "polling", "bacnet", "config", "sim"},
    "cli": {
        *("errors", "units", "mbus", "transport", "points", "polling", "bacnet", "config", "sim"),
        "app",
    },
    "__main__": {"cli"},
    "__init__": set(),
}

# A foreign package that has one home.
ONLY_IN: dict[str, set[str]] = {
    "bacpypes3": {"bacnet"},
    "serial": {"transport"},
    "yaml": {"config"},
    "pydantic": {"config"},
    "cryptography": {"mbus"},
    "typer": {"cli"},
    "rich": {"cli"},
    "asyncio": {"transport", "polling", "bacnet", "sim", "app", "cli"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def floor_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}: write imports in full, so that this test can read them"
            )
            assert node.module is not None
            if node.module == "bridge":
                names |= {f"bridge.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def test_every_floor_is_on_the_plan() -> None:
    assert {floor_of(path) for path in MODULES} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    floor = floor_of(path)
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("bridge.")}
    ours.discard("__version__")
    assert ours <= MAY_IMPORT[floor] | {floor}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_foreign_package_stays_in_its_home(path: Path) -> None:
    for name in imports_of(path):
        homes = ONLY_IN.get(name.split(".")[0])
        assert homes is None or floor_of(path) in homes, name


def test_the_plan_itself_only_points_down() -> None:
    order = list(MAY_IMPORT)
    for floor, below in MAY_IMPORT.items():
        if floor in {"__init__", "__main__"}:
            continue
        assert all(order.index(name) < order.index(floor) for name in below), floor
