"""Rules of the whole house, and the faults it survives."""
