"""What ends a measurement: a promise that a contender broke."""


class Violation(Exception):
    """A message was lost, came twice or out of order, or a connection ended or fell silent."""
