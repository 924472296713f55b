"""What the bridge offers, before any BACnet: points, their readings, and who hears of a change."""
