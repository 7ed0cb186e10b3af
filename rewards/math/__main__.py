"""`python -m rewards.math`: answers or completions and golds in, verdicts out, as JSON lines."""

import sys

from rewards.math.grader import main

sys.exit(main(sys.argv[1:]))
