"""Finds what a cluster holds: the highest rate at which the slowest 1 % of deliveries still keep a target."""
