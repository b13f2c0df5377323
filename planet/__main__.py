"""`python -m planet` is the command `planet`."""

from planet.cli import main

raise SystemExit(main())
