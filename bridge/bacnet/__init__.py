"""The BACnet device: the only floor that imports bacpypes3."""
