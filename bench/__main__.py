"""``python -m bench`` is the trtbench command."""

import sys

from bench.cli.commands import main

sys.exit(main())
