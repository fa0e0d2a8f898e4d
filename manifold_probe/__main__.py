"""``python -m manifold_probe`` is ``probe``."""

from manifold_probe.cli import main

if __name__ == "__main__":
    main()
