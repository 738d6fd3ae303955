"""`python -m app.cli`: the same as the `clusterkit` command; `up` starts its nodes this way."""

from . import main

main()
