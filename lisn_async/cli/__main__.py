"""`python -m lisn_async.cli`: the `lisn` command without its script."""

from lisn_async.cli import main

raise SystemExit(main())
