"""What is known of makers and their meters, beyond the standard: names, models, own codes.

The knowledge stands in data files beside the code, each entry with its source. A file is read at
its first use, checked whole, and kept; one that contradicts itself is refused.
"""

from __future__ import annotations

from bridge.mbus.makers.manufacturers import maker_name
from bridge.mbus.makers.models import model_name, product_name
from bridge.mbus.makers.quirks import (
    OwnVif,
    OwnVifes,
    has_record_errors,
    own_vif,
    own_vifes,
    status_bits,
)

__all__ = [
    "OwnVif",
    "OwnVifes",
    "has_record_errors",
    "maker_name",
    "model_name",
    "own_vif",
    "own_vifes",
    "product_name",
    "status_bits",
]
