"""`credax` and `python -m benchmarks`."""

import sys


def main() -> int:
    """Runs the command line; see `benchmarks.cli.main`."""
    from benchmarks.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
