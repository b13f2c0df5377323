"""`python -m planet` is the command `planet`."""

from planet.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
