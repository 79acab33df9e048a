"""How long a process may take: a guard against hanging, and nothing else. A busy machine never reaches it."""

import os

# BIASJAX_DEADLINE_SCALE=10 for a machine that is slower still.
DEADLINE_S = 900 * float(os.environ.get("BIASJAX_DEADLINE_SCALE", "1"))
