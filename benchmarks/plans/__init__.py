"""Plans of the rule, and searched ones."""
