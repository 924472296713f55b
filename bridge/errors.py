"""The root of our errors.

One family for each floor: ``bridge.mbus.errors``, ``bridge.transport.base``, and so on. A message
stands alone in a log; the facts it was made of are attributes.
"""


class BridgeError(Exception):
    """Something that the bridge was asked to do cannot be done; the message says what and why."""
