"""EN 13757: pure functions and state machines. No port, no clock, no asyncio."""
