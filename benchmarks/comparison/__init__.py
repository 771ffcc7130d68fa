"""Everything at equal numbers of computed steps."""
