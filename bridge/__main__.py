"""``python -m bridge`` is the command ``mbus-bacnet``."""

from bridge.cli import main

if __name__ == "__main__":
    main()
