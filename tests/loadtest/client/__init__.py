"""The load client against the kit's own nodes, and against servers that break the rules."""
