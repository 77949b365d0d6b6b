"""Networks of other makes, to compare with."""
