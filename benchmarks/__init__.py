"""Measurements of padecast, by study; README.md says which script makes which file and page."""
