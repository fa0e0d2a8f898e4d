"""Rows are read here, in blocks, into summaries that merge: everything measured is a function of these."""
