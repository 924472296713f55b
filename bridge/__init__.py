"""A bridge from M-Bus (EN 13757) to BACnet/IP."""

__version__ = "0.1.0"
