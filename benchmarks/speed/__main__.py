"""`python -m twinset.benchmarks.speed`."""

from twinset.benchmarks.speed.run import main

main()
