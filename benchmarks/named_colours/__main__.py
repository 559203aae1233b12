"""`python -m twinset.benchmarks.named_colours`."""

from twinset.benchmarks.named_colours.run import main

main()
