"""The same training step in other packages, through their public interfaces only."""
