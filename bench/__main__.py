"""``python -m bench`` is the trtbench command."""

import sys

from bench.cli import main

sys.exit(main())
