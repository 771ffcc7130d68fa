"""Calibrations that ship, and what was tried around them."""
