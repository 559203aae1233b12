"""The consistency controller: measure, repair, draw again."""
