"""`python -m twinset` is `twinset`, so that launchers of several processes can start it."""

from twinset.cli import main

main()
