"""How a run ends, for whoever started it; 0 is VALID with all gates passed."""

GATE_FAILED = 1
INVALID = 2
NOTHING = 3  # options that cannot be, a cluster that did not start, nobody connected, or no report
